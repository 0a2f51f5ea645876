"""Backbones: networks without their classifiers, with their blocks and cuts.

Tensors keep the names that they have in torchvision and timm (`layer1.0.conv1.weight`), so that
weights can be exchanged with everything else that uses these names.
"""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import fx, nn

from graft.config.architectures import IMAGE, NAMED, POOLED, POOLS, STACK
from graft.config.stages import BackboneSettings
from graft.core.errors import GraftError, nearest
from graft.models import blocks, inputs, transforms, zoo
from graft.models.blocks import Block
from graft.models.cuts import Traced


class Backbone(nn.Module):
    """A network up to its classifier, which can be cut in two.

    Input float (n, 3, height, width); output float (n, channels, h, w), or (n, width) where the
    network pools itself. `experts` are the members of a `stack` (see `Experts`); their tensors are
    named `{member}.{name}`. size: the side of pictures in pixels, for networks that are built for
    one size; None: their own.

    The weights are random; with `skip_init` those of the listed architectures are undefined, for
    callers that load them.
    """

    def __init__(
        self,
        architecture: str,
        experts: Mapping[str, BackboneSettings] | None = None,
        *,
        size: int | None = None,
        skip_init: bool = False,
    ):
        super().__init__()
        self.architecture = architecture
        if architecture == STACK:
            stack = Experts(experts or {})
            self.traced = Traced(stack, STACK, size or inputs.DEFAULT_SIZE, [SideBySide])
        else:
            self.traced = zoo.traced(architecture, size)
        self.body = self.traced.before(self.traced.output)
        if architecture in NAMED and architecture != STACK:
            self._give_memory()
        self.ends = self._ends()
        """The last operation of each block, by its name, in order."""
        self._names = self._named_states()
        self._places = self.traced.states()
        if not skip_init:
            self.initialise()

    def initialise(self) -> None:
        """Draw the weights of the listed architectures; others have theirs from the start."""
        for part in self._listed():
            initialise(part)

    def _give_memory(self) -> None:
        self.body.to_empty(device="cpu")
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()

    def _listed(self) -> list[nn.Module]:
        """What has weights as `initialise` draws them."""
        if self.architecture == STACK:
            members = (m for m in self.modules() if isinstance(m, Backbone) and m is not self)
            return [part for member in members for part in member._listed()]
        return [self] if self.architecture in NAMED else []

    def _ends(self) -> dict[str, fx.Node]:
        if self.architecture in NAMED:
            listed = NAMED[self.architecture].blocks
            return {name: self.traced.end_of(path) for name, path in listed.items()}
        return blocks.ends(self.traced)

    def _named_states(self) -> dict[str, str]:
        """Parameters and buffers: their name in `body`, by their published one, in its order."""
        own = self.body.state_dict()
        names = [name for name in self.traced.network.state_dict() if name in own]
        if self.architecture != STACK:
            return {name: name for name in names}
        return {
            name.removeprefix("experts.").replace(".body.body.", ".", 1): name for name in names
        }

    @property
    def blocks(self) -> list[str]:
        return list(self.ends)

    @property
    def classifier(self) -> tuple[str, ...]:
        """How the names of the tensors begin that are the network's, but not the backbone's."""
        own = set(self.body.state_dict())
        rest = [name for name in self.traced.network.state_dict() if name not in own]
        dropped = [self.traced.classifier] if self.traced.classifier else []
        return (*rest, *dropped, *zoo.classifier_of(self.architecture))

    def cuts(self) -> dict[str, fx.Node]:
        """By the name of a block, a layer or a module, the operation that it can be cut behind."""
        found = {name: cut.node for cut in self.traced.cuts() for name in cut.names}
        if self.architecture in NAMED:
            named = NAMED[self.architecture]
            found |= {name: self.traced.end_of(path) for name, path in named.layers.items()}
        return found | self.ends

    def cut_at(self, cut: str) -> fx.Node:
        """The operation behind which a cut is; that of `image` is the picture itself.

        Raises GraftError for a name that is none of the cuts.
        """
        if cut == IMAGE:
            return self.traced.pictures
        if cut == POOLED or cut in POOLS:
            return self.traced.output
        if cut in self.ends:
            return self.ends[cut]
        cuts = self.cuts()
        if cut not in cuts:
            raise GraftError(
                f"{self.architecture} cannot be cut at {cut!r}. {nearest(cut, cuts)} `make cuts` "
                "lists them."
            )
        return cuts[cut]

    def frozen(self, cut: str) -> list[str]:
        """What is before a cut: blocks in order, then the layers of one that is cut through."""
        place = self.traced.place
        here = place[self.cut_at(cut)]
        whole = [name for name, end in self.ends.items() if place[end] <= here]
        if self.architecture not in NAMED or cut == IMAGE:
            return whole
        last = max((place[self.ends[name]] for name in whole), default=-1)
        layers = {
            name: place[self.traced.end_of(path)]
            for name, path in NAMED[self.architecture].layers.items()
        }
        return whole + [name for name, end in layers.items() if last < end <= here]

    def tensors(self, cut: str | None = None) -> dict[str, torch.Tensor]:
        """Parameters and buffers by their published names: all, or those before a cut.

        The tensors are the module's own, not copies.
        """
        own, end = self.body.state_dict(), len(self.traced.nodes)
        if cut is not None:
            end = self.traced.place[self.cut_at(cut)]
        return {name: own[key] for name, key in self._names.items() if self._places[key] <= end}

    def block_tensors(self, block: str) -> dict[str, torch.Tensor]:
        """Those of a block."""
        before = dict(pairwise([*reversed(self.blocks), IMAGE]))[block]
        others = self.tensors(before)
        return {name: tensor for name, tensor in self.tensors(block).items() if name not in others}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> list[str]:
        """Copy tensors in by their published names and shapes; return the names imported.

        Every tensor of the backbone must be there in the same shape; otherwise GraftError names
        the first that is not.
        """
        own = self.tensors()
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

    def blocks_after(self, cut: str) -> list[Block]:
        """What has weights after a cut, in blocks, in order; the first may be cut through."""
        return blocks.after(self.traced, self.cut_at(cut), self.ends)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images)

    def reference(self, images: torch.Tensor) -> torch.Tensor:
        """What the network's own forward gives, without the graph; to compare with."""
        named = NAMED.get(self.architecture)
        network = self.traced.network.train(self.training)
        if named is None or not named.blocks or self.architecture == STACK:
            return network(images)
        end = network.get_submodule(list(named.blocks.values())[-1])
        stop = end.register_forward_hook(_stop)
        try:
            network(images)
        except _Stopped as stopped:
            return stopped.output
        finally:
            stop.remove()
        raise AssertionError(f"{self.architecture} does not reach the end of its last block")


class _Stopped(Exception):
    """The forward of a network has come to the end of its backbone."""

    def __init__(self, output: torch.Tensor):
        super().__init__()
        self.output = output


def _stop(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
    raise _Stopped(output)


class Pool(nn.Module):
    """Maps (n, channels, h, w) -> vector (n, width): global average pooling, or flatten.

    What is a vector already stays as it is.
    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.mean((2, 3)) if self.kind == "avgpool" and maps.ndim == 4 else maps.flatten(1)


class Member(nn.Module):
    """A backbone behind its own transform, with its maps averaged: pixels to (n, channels)."""

    def __init__(self, settings: BackboneSettings):
        super().__init__()
        self.transform = settings.transform
        self.body = Backbone(settings.architecture, size=settings.transform.size, skip_init=True)
        self.pool = Pool("avgpool")

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.pool(self.body(transforms.normalise(pixels, self.transform)))


class SideBySide(nn.ModuleDict):
    """Several members on the same pictures: float RGB pixels 0..255 (n, 3, height, width) to
    float (n, sum of channels, 1, 1), in the order of their names."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.cat([member(pixels) for member in self.values()], 1)[:, :, None, None]


class Experts(nn.Module):
    """A stack: several backbones side by side.

    A mapping's own order is lost when it is written as JSON, so members are ordered by name.
    """

    def __init__(self, members: Mapping[str, BackboneSettings]):
        super().__init__()
        if not members or "head" in members:
            raise GraftError(
                "weights.stack: a stack needs members, and none may be called head, which is the "
                "name of the classifier's layers. Name other sources."
            )
        self.experts = SideBySide({name: Member(members[name]) for name in sorted(members)})

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.experts(pixels)


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
