"""Backbones: torchvision's own modules, regrouped into the named blocks of `architectures`.

A `Backbone` is an ordered list of named blocks, so that a network can be cut between any two
of them (and within VGG's, behind any layer). Tensors keep torchvision's names outside
(`features.0.weight`, `layer1.0.conv1.weight`), whatever block they stand in, so weights can be
exchanged with everything else that uses them.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable

import torch
from torch import nn
from torchvision import models
from torchvision.models.vgg import cfgs, make_layers

from graft.config.architectures import BLOCKS, LAYERS, POOLS, STACK
from graft.core.errors import GraftError
from graft.core.registry import Registry
from graft.models.transforms import Transform

# VGG-16's plan (configuration D of Simonyan and Zisserman 2015) at a quarter of its width.
VGG_MINI = [width if width == "M" else width // 4 for width in cfgs["D"]]


class Backbone(nn.Module):
    """The blocks of one architecture, as children named like the blocks, in order.

    Input float (n, 3, height, width); output of the last block float (n, channels, h, w), or
    (n, width) where it is fully connected. `experts` describes the members of a `stack` (see
    `Experts`); their tensors are named `{member}.{torchvision's name}`. The weights are random
    (see `initialise`), or with `skip_init` whatever the memory held, for those that load them.
    """

    def __init__(
        self, architecture: str, experts: dict[str, dict] | None = None, *, skip_init: bool = False
    ):
        super().__init__()
        self.architecture = architecture
        self.names: dict[str, str] = {}
        if architecture == STACK:
            self._add_experts(experts or {})
        else:
            self._add_blocks()
        self.layers = self._modules_of_layers()
        if not skip_init:
            initialise(self)

    def _add_blocks(self) -> None:
        # Without memory at first: torchvision draws weights, also for layers that are left out.
        with torch.device("meta"):
            network, layout = BACKBONES[self.architecture]()
        for block, paths in zip(BLOCKS[self.architecture], layout, strict=True):
            modules = OrderedDict()
            for path in paths:
                child = path.replace(".", "_")
                modules[child] = network.get_submodule(path)
                self.names[f"{block}.{child}."] = f"{path}."
            self.add_module(block, nn.Sequential(modules))
        self.to_empty(device="cpu")
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()

    def _add_experts(self, experts: dict[str, dict]) -> None:
        if not experts or "head" in experts:
            raise GraftError(
                "a stack needs members, and none may be called head, as the classifier's layers "
                "are; name other sources in its weights.stack."
            )
        (block,) = BLOCKS[STACK]
        self.add_module(block, Experts(experts))
        for index, (name, backbone) in enumerate(
            zip(sorted(experts), self.experts.backbones, strict=True)
        ):
            for ours, theirs in backbone.names.items():
                self.names[f"{block}.backbones.{index}.{ours}"] = f"{name}.{theirs}"

    def _modules_of_layers(self) -> dict[str, list[str]]:
        """Each layer that can be named, with its modules: from its convolution to the next."""
        known = LAYERS.get(self.architecture, {})
        names, layers = iter(known), {}
        for block in dict.fromkeys(known.values()):
            for child, module in getattr(self, block).named_children():
                if isinstance(module, nn.Conv2d):
                    modules = layers[next(names)] = []
                modules.append(f"{block}.{child}")
        return layers

    @property
    def blocks(self) -> list[str]:
        return list(BLOCKS[self.architecture])

    def published_name(self, name: str) -> str:
        """torchvision's name of one of this backbone's tensors."""
        for ours, theirs in self.names.items():
            if name.startswith(ours):
                return theirs + name[len(ours) :]
        raise KeyError(name)

    def tensors(self, parts: Iterable[str] | None = None) -> dict[str, torch.Tensor]:
        """Parameters and buffers by torchvision's names (all, or of some blocks and layers).

        The tensors are the module's own, not copies.
        """
        wanted = self.blocks if parts is None else parts
        paths = tuple(f"{path}." for part in wanted for path in self.layers.get(part, [part]))
        return {
            self.published_name(name): tensor
            for name, tensor in self.state_dict().items()
            if name.startswith(paths)
        }

    def load(
        self, tensors: dict[str, torch.Tensor], parts: Iterable[str] | None = None
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
    """Maps (n, channels, h, w) -> vector (n, width): global average, or flattened.

    What is a vector already stays as it is.
    """

    def __init__(self, kind: str):
        super().__init__()
        if kind not in POOLS:
            raise GraftError(f"head.pool is {kind!r}; choose one of {', '.join(POOLS)}.")
        self.kind = kind

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.mean((2, 3)) if self.kind == "avgpool" and maps.ndim == 4 else maps.flatten(1)


class Experts(nn.Module):
    """Several backbones side by side on the same pictures, each behind its own transform.

    `experts` maps a name to {"architecture", "transform"}. Input float RGB pixels 0..255
    (n, 3, height, width); output float (n, sum of channels, 1, 1): each one's maps averaged, in
    the order of the names, which unlike a mapping's own order survives being written as JSON.
    """

    def __init__(self, experts: dict[str, dict]):
        super().__init__()
        members = [experts[name] for name in sorted(experts)]
        self.transforms = [Transform.from_dict(member["transform"]) for member in members]
        self.backbones = nn.ModuleList(
            Backbone(member["architecture"], skip_init=True) for member in members
        )
        self.pool = Pool("avgpool")

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        pooled = [
            self.pool(backbone(transform.apply(pixels)))
            for transform, backbone in zip(self.transforms, self.backbones, strict=True)
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


Built = tuple[nn.Module, list[list[str]]]
"""A network of torchvision's, and the paths of the modules that make up each block, in order."""

BACKBONES: Registry[Callable[[], Built]] = Registry("graft.models.backbones")
"""Backbones by architecture. To add one: its block names in config.architectures.BLOCKS, and here a
function that builds it."""


@BACKBONES.register("vgg_mini")
def vgg_mini() -> Built:
    network = models.VGG(make_layers(VGG_MINI, batch_norm=True), init_weights=False)
    return network, _up_to_pooling(network)


@BACKBONES.register("vgg16")
def vgg16() -> Built:
    network = models.vgg16()
    return network, _up_to_pooling(network)


@BACKBONES.register("vgg16_fc7")
def vgg16_fc7() -> Built:
    """VGG-16 with its first two fully connected layers, each with ReLU and dropout."""
    network = models.vgg16()
    network.flatten = nn.Flatten()
    fc6 = ["avgpool", "flatten", *(f"classifier.{i}" for i in range(3))]
    fc7 = [f"classifier.{i}" for i in range(3, 6)]
    return network, [*_up_to_pooling(network), fc6, fc7]


@BACKBONES.register("alexnet")
def alexnet() -> Built:
    network = models.alexnet()
    return network, _starting_at(network, nn.Conv2d)


@BACKBONES.register("squeezenet1_0")
def squeezenet1_0() -> Built:
    network = models.squeezenet1_0()
    return network, _starting_at(network, nn.Conv2d, models.squeezenet.Fire)


@BACKBONES.register("squeezenet1_1")
def squeezenet1_1() -> Built:
    network = models.squeezenet1_1()
    return network, _starting_at(network, nn.Conv2d, models.squeezenet.Fire)


@BACKBONES.register("inception_v3")
def inception_v3() -> Built:
    """Without the auxiliary classifier; a block for each size of the grid."""
    network = models.inception_v3(aux_logits=False, init_weights=False)
    names = [name for name, _ in network.named_children()]
    mixed = [[name for name in names if name.startswith(f"Mixed_{i}")] for i in (5, 6, 7)]
    return network, [names[: names.index("maxpool2") + 1], *mixed]


_RESNET = [["conv1", "bn1", "relu", "maxpool"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]]


@BACKBONES.register("resnet18")
def resnet18() -> Built:
    return models.resnet18(), _RESNET


@BACKBONES.register("resnet50")
def resnet50() -> Built:
    return models.resnet50(), _RESNET


@BACKBONES.register("mobilenet_v3_small")
def mobilenet_v3_small() -> Built:
    network = models.mobilenet_v3_small()
    return network, _one_by_one(network)


@BACKBONES.register("efficientnet_b0")
def efficientnet_b0() -> Built:
    network = models.efficientnet_b0()
    return network, _one_by_one(network)


@BACKBONES.register("mlp")
def mlp() -> Built:
    """No block at all: the head sees the pixels."""
    return nn.Module(), []


@BACKBONES.register("cnn3")
def cnn3() -> Built:
    """Three times 32 filters of 5 x 5 without padding, ReLU, and max-pooling by 4."""
    network, blocks = nn.Module(), []
    for number, channels in enumerate((3, 32, 32), start=1):
        network.add_module(f"conv{number}", nn.Conv2d(channels, 32, 5))
        network.add_module(f"relu{number}", nn.ReLU(inplace=True))
        network.add_module(f"pool{number}", nn.MaxPool2d(4))
        blocks.append([f"conv{number}", f"relu{number}", f"pool{number}"])
    return network, blocks


def _up_to_pooling(network: models.VGG) -> list[list[str]]:
    """VGG's blocks: each ends with its max-pooling."""
    blocks: list[list[str]] = [[]]
    for index, layer in network.features.named_children():
        blocks[-1].append(f"features.{index}")
        if isinstance(layer, nn.MaxPool2d):
            blocks.append([])
    return blocks[:-1]


def _starting_at(
    network: models.AlexNet | models.SqueezeNet, *kinds: type[nn.Module]
) -> list[list[str]]:
    """Blocks that each start with a layer of one of these kinds."""
    blocks: list[list[str]] = []
    for index, layer in network.features.named_children():
        if isinstance(layer, kinds):
            blocks.append([])
        blocks[-1].append(f"features.{index}")
    return blocks


def _one_by_one(network: models.MobileNetV3 | models.EfficientNet) -> list[list[str]]:
    """Each of the features' children is a block."""
    return [[f"features.{index}"] for index, _ in network.features.named_children()]
