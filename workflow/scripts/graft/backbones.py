"""Backbones: torchvision's own modules, regrouped into the named blocks of `architectures`.

A `Backbone` is an ordered list of named blocks, so that a network can be cut between any two
of them. Tensors keep torchvision's names outside (`features.0.weight`, `layer1.0.conv1.weight`),
whatever block they stand in, so weights can be exchanged with everything else that uses them.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable

import torch
from torch import nn
from torchvision import models
from torchvision.models.vgg import cfgs, make_layers

from graft.architectures import BLOCKS
from graft.errors import GraftError

# VGG-16's plan (configuration D of Simonyan and Zisserman 2015) at a quarter of its width.
VGG_MINI = [width if width == "M" else width // 4 for width in cfgs["D"]]


class Backbone(nn.Module):
    """The blocks of one architecture, as children named like the blocks, in order.

    Input float (n, 3, height, width); output of the last block float (n, channels, h, w).
    """

    def __init__(self, architecture: str):
        super().__init__()
        build, layout = _BUILDERS[architecture]
        network = build()
        self.architecture = architecture
        self.names: dict[str, str] = {}
        for block, paths in zip(BLOCKS[architecture], layout(network), strict=True):
            modules = OrderedDict()
            for path in paths:
                child = path.replace(".", "_")
                modules[child] = network.get_submodule(path)
                self.names[f"{block}.{child}."] = f"{path}."
            self.add_module(block, nn.Sequential(modules))

    @property
    def blocks(self) -> list[str]:
        return list(BLOCKS[self.architecture])

    def published_name(self, name: str) -> str:
        """torchvision's name of one of this backbone's tensors."""
        for ours, theirs in self.names.items():
            if name.startswith(ours):
                return theirs + name[len(ours) :]
        raise KeyError(name)

    def tensors(self, blocks: Iterable[str] | None = None) -> dict[str, torch.Tensor]:
        """Parameters and buffers by torchvision's names (all blocks, or those asked for).

        The tensors are the module's own, not copies.
        """
        wanted = set(self.blocks if blocks is None else blocks)
        return {
            self.published_name(name): tensor
            for name, tensor in self.state_dict().items()
            if name.split(".", 1)[0] in wanted
        }

    def load(
        self, tensors: dict[str, torch.Tensor], blocks: Iterable[str] | None = None
    ) -> list[str]:
        """Copy tensors in by torchvision's names and shapes; return the names imported.

        Every tensor of the blocks asked for must be there in the same shape; otherwise
        GraftError names the first that is not.
        """
        own = self.tensors(blocks)
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


def initialise(module: nn.Module) -> None:
    """Random weights as torchvision's VGG draws them: He et al. 2015, normal, fan-out."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
            layer.reset_running_stats()


class _Features(nn.Module):
    """A convolutional trunk under torchvision's name `features`, without the classifier.

    Building the whole VGG-16 would first draw 120 million classifier weights to throw away.
    """

    def __init__(self, features: nn.Sequential):
        super().__init__()
        self.features = features


def _vgg(plan: list, batch_norm: bool) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        network = _Features(make_layers(plan, batch_norm=batch_norm))
        initialise(network)
        return network

    return build


def _up_to_pooling(network: nn.Module) -> list[list[str]]:
    """VGG's blocks: each ends with its max-pooling."""
    blocks: list[list[str]] = [[]]
    for index, layer in network.features.named_children():
        blocks[-1].append(f"features.{index}")
        if isinstance(layer, nn.MaxPool2d):
            blocks.append([])
    return blocks[:-1]


def _starting_at(*kinds: type[nn.Module]) -> Callable[[nn.Module], list[list[str]]]:
    """Blocks that each start with a layer of one of these kinds (AlexNet, SqueezeNet)."""

    def layout(network: nn.Module) -> list[list[str]]:
        blocks: list[list[str]] = []
        for index, layer in network.features.named_children():
            if isinstance(layer, kinds):
                blocks.append([])
            blocks[-1].append(f"features.{index}")
        return blocks

    return layout


def _resnet(network: nn.Module) -> list[list[str]]:
    return [["conv1", "bn1", "relu", "maxpool"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]]


_SQUEEZENET = _starting_at(nn.Conv2d, models.squeezenet.Fire)

_BUILDERS: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], list[list[str]]]]] = {
    "vgg_mini": (_vgg(VGG_MINI, batch_norm=True), _up_to_pooling),
    "vgg16": (_vgg(cfgs["D"], batch_norm=False), _up_to_pooling),
    "alexnet": (lambda: _Features(models.alexnet().features), _starting_at(nn.Conv2d)),
    "squeezenet1_1": (lambda: _Features(models.squeezenet1_1().features), _SQUEEZENET),
    "resnet18": (models.resnet18, _resnet),
    "resnet50": (models.resnet50, _resnet),
}
