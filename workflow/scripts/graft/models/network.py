"""Networks: a backbone, a pooling, and a head, cut where the frozen prefix ends.

Everything before the cut is computed once and stored (`features`); everything after it, the
suffix, is what training runs on. With the cut at `image` the suffix is the whole network.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from graft.config import architectures
from graft.config.models import Head
from graft.config.stages import BackboneSettings
from graft.core.errors import GraftError
from graft.models.backbones import Backbone, Pool
from graft.models.neighbours import NeighbourHead, Neighbours

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


class Standardize(nn.Module):
    """(x - mean) / std of each feature of (n, width); the identity until it is `fit`."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.mean) / self.std

    def fit(self, batches: Iterable[torch.Tensor]) -> None:
        """Take mean and standard deviation from features (n, width), one pass in float64.

        The moments of batches are merged as in Chan, Golub & LeVeque (1983). A feature that is
        constant, up to rounding, keeps the deviation 1.
        """
        count, mean, squares = 0, torch.zeros(()), torch.zeros(())
        for batch in batches:
            values = batch.double()
            own, n = values.mean(0), len(values)
            squares = (
                squares
                + ((values - own) ** 2).sum(0)
                + (own - mean) ** 2 * (count * n / (count + n))
            )
            mean, count = mean + (own - mean) * (n / (count + n)), count + n
        deviation = (squares / count).sqrt()
        constant = deviation <= 1e-6 * mean.abs().clamp(min=1e-6)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(constant, 1.0, deviation))


def head_layers(settings: Head | NeighbourHead, width: int, classes: int) -> nn.Sequential:
    """The layers from pooled features (n, width) to logits (n, classes), fully connected or, of a
    `NeighbourHead`, a vote of neighbours.

    Each hidden layer is followed by its activation and dropout. Without a hidden layer, dropout
    comes before the only one. `standardize` comes first where the settings have it; the other
    layers are numbered.
    """
    first = {"standardize": Standardize(width)} if settings.standardize else {}
    if isinstance(settings, NeighbourHead):
        return nn.Sequential(
            OrderedDict(first | {"neighbours": Neighbours(settings, width, classes)})
        )
    hidden, activation, dropout = settings.hidden, settings.activation, settings.dropout
    activations = (activation,) * len(hidden) if isinstance(activation, str) else activation
    shares = dropout if isinstance(dropout, tuple) else (dropout,) * max(len(hidden), 1)
    layers: list[nn.Module] = []
    for units, name, share in zip(hidden, activations, shares, strict=False):
        layers += [nn.Linear(width, units), ACTIVATIONS[name]()]
        if share:
            layers.append(nn.Dropout(share))
        width = units
    if not hidden and any(shares):
        layers.append(nn.Dropout(shares[0]))
    numbered = {str(n): layer for n, layer in enumerate([*layers, nn.Linear(width, classes)])}
    return nn.Sequential(OrderedDict(first | numbered))


def folded(head: nn.Sequential) -> nn.Sequential:
    """The same head for evaluation, its standardisation folded into the first linear layer, if it
    has one."""
    first, rest = head[0], head[1:]
    if not isinstance(first, Standardize) or not any(isinstance(x, nn.Linear) for x in rest):
        return head
    layers = copy.deepcopy(rest)
    linear = next(layer for layer in layers if isinstance(layer, nn.Linear))
    with torch.no_grad():
        linear.weight.div_(first.std)
        linear.bias.sub_(linear.weight @ first.mean)
    return layers


def split(
    backbone: Backbone, cut: str, pool: str | None = None
) -> tuple[nn.Sequential, nn.Sequential]:
    """(prefix, suffix without head), which share the backbone's modules.

    The pooling ends the prefix if it is the cut, else the suffix, if there is one.
    """
    at, traced = backbone.cut_at(cut), backbone.traced
    before: OrderedDict[str, nn.Module] = OrderedDict()
    after: OrderedDict[str, nn.Module] = OrderedDict()
    if at is not traced.pictures:
        before["body"] = backbone.body if at is traced.output else traced.before(at)
    if at is not traced.output:
        after["body"] = backbone.body if at is traced.pictures else traced.after(at)
    if cut in architectures.POOLS:
        before["pool"] = Pool(cut)
    elif cut != architectures.POOLED and pool is not None:
        after["pool"] = Pool(pool)
    return nn.Sequential(before), nn.Sequential(after)


class Network(nn.Module):
    """A backbone cut at `cut`, with its head. `forward` runs the suffix; `whole` everything.

    `input_size` is the side in pixels of the square pictures that the backbone receives; the
    head's input width depends on it if the pooling is `flatten`. With `skip_init` the backbone's
    weights are undefined; the head's random weights are the same with and without it.
    """

    prefix: nn.Sequential
    suffix: nn.Sequential

    def __init__(
        self,
        backbone: BackboneSettings,
        cut: str,
        head: Head | NeighbourHead,
        classes: int,
        input_size: int,
        *,
        skip_init: bool = False,
    ):
        super().__init__()
        self.backbone = Backbone(
            backbone.architecture, backbone.experts, size=input_size, skip_init=True
        )
        self.cut, self.classes = cut, classes
        self._frozen_blocks = 0
        self._statistics_frozen = False
        self.head = head_layers(head, self._width(head.pool, input_size), classes)
        if not skip_init:
            self.backbone.initialise()
        if taken := self.backbone.tensors().keys() & self._head_tensors().keys():
            raise GraftError(
                f"{backbone.architecture} has tensors with the names of the head's, such as "
                f"{min(taken)}. Choose another architecture."
            )
        # Not registered as children: they share the backbone's modules.
        before, after = split(self.backbone, cut, head.pool)
        object.__setattr__(self, "prefix", before)
        object.__setattr__(self, "suffix", after)
        self.trained_blocks = self.backbone.blocks_after(cut)
        """What has weights after the cut, in order; the first block may be cut through."""
        self.prefix.requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Activations at the cut -> logits (n, classes)."""
        return self.head(self.suffix(inputs))

    def whole(self, images: torch.Tensor) -> torch.Tensor:
        """Transformed pictures (n, 3, h, w) -> logits (n, classes)."""
        return self(self.prefix(images))

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "Network":
        """Move the halves too: of tensors that stand in no module they hold references."""
        super()._apply(fn, recurse)
        for half in (self.__dict__.get("prefix"), self.__dict__.get("suffix")):
            if half is not None:
                half._apply(fn, recurse)
        return self

    def train(self, mode: bool = True) -> "Network":
        """Switch the suffix; what is frozen stays in evaluation mode, with its statistics."""
        super().train(mode)
        self.prefix.eval()
        for block in self.trained_blocks[: self._frozen_blocks]:
            block.eval()
        if self._statistics_frozen:
            for layer in self.suffix.modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()
        return self

    def freeze_blocks(self, count: int) -> None:
        """Freeze the first `count` of the `trained_blocks`, and no others after the cut."""
        self._frozen_blocks = count
        for number, block in enumerate(self.trained_blocks):
            block.requires_grad_(number >= count)

    def freeze_statistics(self) -> None:
        """Keep the running statistics of batch normalisations after the cut."""
        self._statistics_frozen = True

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors: the backbone's by torchvision's names, the head's as `head.*`."""
        return {**self.backbone.tensors(), **self._head_tensors()}

    def load_head(self, tensors: Mapping[str, torch.Tensor], origin: str) -> None:
        """Copy `head.*` tensors in; GraftError if the heads differ."""
        own = self._head_tensors()
        backbone = self.backbone.tensors()
        given = {n: t for n, t in tensors.items() if n.startswith("head.") and n not in backbone}
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in given.items()}:
            raise GraftError(
                f"train.head: the head of {origin} has other layers than this one. Give both "
                "modes the same head."
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(given[name])

    def _head_tensors(self) -> dict[str, torch.Tensor]:
        return {f"head.{name}": tensor for name, tensor in self.head.state_dict().items()}

    def _width(self, pool: str, input_size: int) -> int:
        """Width of the pooled features, with a black picture."""
        self.backbone.eval()
        try:
            with torch.no_grad():
                maps = self.backbone(torch.zeros(1, 3, input_size, input_size))
        except (RuntimeError, AssertionError):  # a pooling has nothing left to pool
            raise too_small(self.backbone.architecture, input_size) from None
        self.backbone.train()
        return Pool(pool)(maps).shape[1]


def too_small(architecture: str, input_size: int) -> GraftError:
    return GraftError(
        f"datasets: pictures of {input_size} pixels are too small for {architecture}. Raise the "
        "dataset's packed_size, or the source's transform.size where that is set."
    )
