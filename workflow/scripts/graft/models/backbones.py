"""Backbones: torchvision's networks without their classifiers, regrouped into named blocks.

The names of the blocks are in `config.architectures`. Tensors keep torchvision's names
(`features.0.weight`, `layer1.0.conv1.weight`), whatever block they are in, so that weights can be
exchanged with everything else that uses these names.

To add a backbone: register a function that builds it below, and list its blocks in
`config.architectures`.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import nn
from torchvision import models
from torchvision.models.vgg import cfgs, make_layers

from graft.config.architectures import BLOCKS, LAYERS, STACK
from graft.config.models import Transform
from graft.config.stages import BackboneSettings
from graft.core.errors import GraftError
from graft.core.registry import Registry
from graft.models import transforms


class Plan(NamedTuple):
    """A network, and for each of its blocks in order the paths of the modules that form it."""

    network: nn.Module
    blocks: list[list[str]]


BACKBONES: Registry[Callable[[], Plan]] = Registry("graft.models.backbones")
"""Functions that build a network with any weights, by the name of the architecture."""


class Backbone(nn.Module):
    """The blocks of one architecture, as children named like the blocks, in order.

    Input float (n, 3, height, width); output of the last block float (n, channels, h, w), or
    (n, width) where it is fully connected. `experts` are the members of a `stack` (see `Experts`);
    their tensors are named `{member}.{torchvision's name}`. The weights are random (see
    `initialise`), or with `skip_init` undefined, for callers that load them.
    """

    network: nn.Module
    """torchvision's network, which shares the blocks' modules. Not a child."""

    def __init__(
        self,
        architecture: str,
        experts: Mapping[str, BackboneSettings] | None = None,
        *,
        skip_init: bool = False,
    ):
        super().__init__()
        self.architecture = architecture
        if architecture == STACK:
            network, paths = self._add_experts(experts or {})
        else:
            network, paths = self._add_blocks()
        object.__setattr__(self, "network", network)
        self.paths = dict(zip(BLOCKS[architecture], paths, strict=True)) | self._layers(paths)
        """The modules of each block, and of each layer that can be named, as paths in `network`."""
        if not skip_init:
            initialise(self)

    def _add_blocks(self) -> Plan:
        # Without memory at first: torchvision draws weights, even for what is not used here.
        with torch.device("meta"):
            plan = BACKBONES[self.architecture]()
        for block, paths in zip(BLOCKS[self.architecture], plan.blocks, strict=True):
            modules = ((path.replace(".", "_"), plan.network.get_submodule(path)) for path in paths)
            self.add_module(block, nn.Sequential(OrderedDict(modules)))
        self.to_empty(device="cpu")
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()
        return plan

    def _add_experts(self, experts: Mapping[str, BackboneSettings]) -> Plan:
        if not experts or "head" in experts:
            raise GraftError(
                "weights.stack: a stack needs members, and none may be called head, which is the "
                "name of the classifier's layers. Name other sources."
            )
        (block,) = BLOCKS[STACK]
        members = Experts(experts)
        self.add_module(block, members)
        network, paths = nn.Module(), []
        for name, member in zip(sorted(experts), members.members, strict=True):
            network.add_module(name, member.network)
            paths += [f"{name}.{path}" for block in member.blocks for path in member.paths[block]]
        return Plan(network, [paths])

    def _layers(self, blocks: list[list[str]]) -> dict[str, list[str]]:
        """Each layer that can be named, with its modules: from its convolution to the next."""
        names = iter(LAYERS.get(self.architecture, {}))
        layers: dict[str, list[str]] = {}
        for name, block in zip(self.blocks, blocks, strict=True):
            for path in block if name in LAYERS.get(self.architecture, {}).values() else []:
                if isinstance(self.network.get_submodule(path), nn.Conv2d):
                    modules = layers[next(names)] = []
                modules.append(path)
        return layers

    @property
    def blocks(self) -> list[str]:
        return list(BLOCKS[self.architecture])

    def tensors(self, parts: Iterable[str] | None = None) -> dict[str, torch.Tensor]:
        """Parameters and buffers by torchvision's names (all, or of some blocks and layers).

        The tensors are the module's own, not copies.
        """
        wanted = self.blocks if parts is None else parts
        paths = tuple(f"{path}." for part in wanted for path in self.paths[part])
        return {k: v for k, v in self.network.state_dict().items() if k.startswith(paths)}

    def load(
        self, tensors: Mapping[str, torch.Tensor], parts: Iterable[str] | None = None
    ) -> list[str]:
        """Copy tensors in by torchvision's names and shapes; return the names imported.

        Every tensor of the parts asked for must be there in the same shape; otherwise
        GraftError names the first that is not.
        """
        own = self.tensors(parts)
        for name, tensor in own.items():
            if name not in tensors:
                raise GraftError(f"{self.architecture}'s {name} is missing from the weights.")
            if tensors[name].shape != tensor.shape:
                raise GraftError(
                    f"{self.architecture}'s {name} has shape {tuple(tensor.shape)}, but "
                    f"{tuple(tensors[name].shape)} in the weights."
                )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[name])
        return list(own)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for block in self.children():
            images = block(images)
        return images


class Pool(nn.Module):
    """Maps (n, channels, h, w) -> vector (n, width): global average pooling, or flatten.

    What is a vector already stays as it is.
    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.mean((2, 3)) if self.kind == "avgpool" and maps.ndim == 4 else maps.flatten(1)


class Experts(nn.Module):
    """Several backbones side by side on the same pictures, each behind its own transform.

    Input float RGB pixels 0..255 (n, 3, height, width); output float (n, sum of channels, 1, 1):
    the global average of each one's maps, in the order of their names (a mapping's own order is
    lost when it is written as JSON).
    """

    def __init__(self, experts: Mapping[str, BackboneSettings]):
        super().__init__()
        ordered = [experts[name] for name in sorted(experts)]
        self.transforms: list[Transform] = [expert.transform for expert in ordered]
        self.members = [Backbone(expert.architecture, skip_init=True) for expert in ordered]
        self.backbones = nn.ModuleList(self.members)
        self.pool = Pool("avgpool")

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        pooled = [
            self.pool(backbone(transforms.normalise(pixels, transform)))
            for transform, backbone in zip(self.transforms, self.members, strict=True)
        ]
        return torch.cat(pooled, 1)[:, :, None, None]


def initialise(module: nn.Module) -> None:
    """Random weights as torchvision's VGG draws them.

    Convolutions: He et al. 2015, normal, fan-out; fully connected layers: normal with a standard
    deviation of 0.01 (Simonyan and Zisserman 2015); biases 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, 0, 0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()


@BACKBONES.register("vgg_mini")
def vgg_mini() -> Plan:
    """VGG-16 (configuration D of Simonyan and Zisserman 2015) at a quarter of its width."""
    widths = [width if isinstance(width, str) else width // 4 for width in cfgs["D"]]
    network = models.VGG(make_layers(widths, batch_norm=True), init_weights=False)
    return Plan(network, _up_to_pooling(network))


@BACKBONES.register("vgg16")
def vgg16() -> Plan:
    network = models.vgg16()
    return Plan(network, _up_to_pooling(network))


@BACKBONES.register("vgg16_fc7")
def vgg16_fc7() -> Plan:
    """VGG-16 with its first two fully connected layers, each with ReLU and dropout."""
    network = models.vgg16()
    network.add_module("flatten", nn.Flatten())
    fc6 = ["avgpool", "flatten", *(f"classifier.{i}" for i in range(3))]
    fc7 = [f"classifier.{i}" for i in range(3, 6)]
    return Plan(network, [*_up_to_pooling(network), fc6, fc7])


@BACKBONES.register("alexnet")
def alexnet() -> Plan:
    return _starting_at(models.alexnet(), nn.Conv2d)


@BACKBONES.register("alexnet_fc7")
def alexnet_fc7() -> Plan:
    """AlexNet with its first two fully connected layers, each with dropout and ReLU."""
    network = models.alexnet()
    network.add_module("flatten", nn.Flatten())
    convolutions = _starting_at(network, nn.Conv2d).blocks
    fc6 = ["avgpool", "flatten", *(f"classifier.{i}" for i in range(3))]
    fc7 = [f"classifier.{i}" for i in range(3, 6)]
    return Plan(network, [*convolutions, fc6, fc7])


@BACKBONES.register("squeezenet1_0")
def squeezenet1_0() -> Plan:
    return _starting_at(models.squeezenet1_0(), nn.Conv2d, models.squeezenet.Fire)


@BACKBONES.register("squeezenet1_1")
def squeezenet1_1() -> Plan:
    return _starting_at(models.squeezenet1_1(), nn.Conv2d, models.squeezenet.Fire)


@BACKBONES.register("inception_v3")
def inception_v3() -> Plan:
    network = models.inception_v3(aux_logits=False, init_weights=False)
    names = [name for name, _ in network.named_children()]
    mixed = [[name for name in names if name.startswith(f"Mixed_{i}")] for i in (5, 6, 7)]
    return Plan(network, [names[: names.index("maxpool2") + 1], *mixed])


@BACKBONES.register("resnet18")
def resnet18() -> Plan:
    return _resnet(models.resnet18())


@BACKBONES.register("resnet50")
def resnet50() -> Plan:
    return _resnet(models.resnet50())


@BACKBONES.register("mobilenet_v3_small")
def mobilenet_v3_small() -> Plan:
    return _starting_at(models.mobilenet_v3_small(), nn.Module)


@BACKBONES.register("efficientnet_b0")
def efficientnet_b0() -> Plan:
    return _starting_at(models.efficientnet_b0(), nn.Module)


@BACKBONES.register("mlp")
def mlp() -> Plan:
    """No layer at all: a multilayer perceptron is its head."""
    return Plan(nn.Module(), [])


@BACKBONES.register("cnn3")
def cnn3() -> Plan:
    """Three times 32 filters of 5 x 5 without padding, ReLU, and max-pooling by 4."""
    network = nn.Module()
    for number, channels in enumerate((3, 32, 32), start=1):
        network.add_module(f"conv{number}", nn.Conv2d(channels, 32, 5))
        network.add_module(f"relu{number}", nn.ReLU(inplace=True))
        network.add_module(f"pool{number}", nn.MaxPool2d(4))
    return Plan(network, [[f"conv{i}", f"relu{i}", f"pool{i}"] for i in (1, 2, 3)])


def _resnet(network: nn.Module) -> Plan:
    stem = ["conv1", "bn1", "relu", "maxpool"]
    return Plan(network, [stem, ["layer1"], ["layer2"], ["layer3"], ["layer4"]])


def _up_to_pooling(network: models.VGG) -> list[list[str]]:
    """VGG's blocks: each ends with its max-pooling."""
    blocks: list[list[str]] = [[]]
    for index, layer in network.features.named_children():
        blocks[-1].append(f"features.{index}")
        if isinstance(layer, nn.MaxPool2d):
            blocks.append([])
    return blocks[:-1]


def _starting_at(network: nn.Module, *kinds: type[nn.Module]) -> Plan:
    """Blocks of the network's `features` that each start with a layer of one of these kinds."""
    blocks: list[list[str]] = []
    for index, layer in network.get_submodule("features").named_children():
        if isinstance(layer, kinds):
            blocks.append([])
        blocks[-1].append(f"features.{index}")
    return Plan(network, blocks)
