"""Networks: a backbone, a pooling, and a head, cut where the frozen prefix ends.

Everything before the cut is computed once and stored (`features`); everything after it, the
suffix, is what training runs on. With the cut at `image` the suffix is the whole network.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from graft.config.architectures import POOLS, frozen
from graft.config.models import Head as HeadSettings
from graft.config.stages import BackboneSettings
from graft.core.errors import GraftError
from graft.models.backbones import Backbone, Pool, initialise

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


class Head(nn.Sequential):
    """Fully connected layers from pooled features (n, width) to logits (n, classes).

    `hidden` are the widths of the layers before the last; each is followed by its activation
    and dropout, which are given once for all of them or as a list with one for each. Without a
    hidden layer, dropout stands before the only one.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        *,
        hidden: Sequence[int] = (),
        activation: str | Sequence[str] = "relu",
        dropout: float | Sequence[float] = 0.0,
    ):
        layers: list[nn.Module] = []
        activations = [activation] * len(hidden) if isinstance(activation, str) else activation
        shares = [dropout] * len(hidden) if isinstance(dropout, int | float) else dropout
        for units, name, share in zip(hidden, activations, shares, strict=True):
            layers += [nn.Linear(width, units), ACTIVATIONS[name]()]
            if share:
                layers.append(nn.Dropout(share))
            width = units
        if dropout and not hidden and isinstance(dropout, int | float):
            layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(width, classes))
        super().__init__(*layers)


def experts_of(settings: BackboneSettings) -> dict[str, dict] | None:
    """The members of a stack as `Experts` takes them, and as files describe them."""
    if settings.experts is None:
        return None
    return {
        name: member.model_dump(mode="json", include={"architecture", "transform"})
        for name, member in settings.experts.items()
    }


def prefix(backbone: Backbone, cut: str) -> nn.Sequential:
    """The frozen part: all up to and including `cut`, and the pooling if it is one."""
    return split(backbone, cut)[0]


def frozen_blocks(backbone: Backbone, cut: str) -> list[str]:
    """Names of the blocks before the cut, and of the layers before it where it is within one."""
    return frozen(backbone.architecture, cut)


def split(
    backbone: Backbone, cut: str, pool: str | None = None
) -> tuple[nn.Sequential, nn.Sequential]:
    """(prefix, suffix without head), which share the backbone's modules.

    The pooling ends the prefix if it is the cut, else the suffix, if there is one.
    """
    parts = frozen_blocks(backbone, cut)
    before, after = OrderedDict(), OrderedDict()
    for name, block in backbone.named_children():
        layers = [backbone.layers[part] for part in parts if part in backbone.layers]
        within = sum(path.startswith(f"{name}.") for layer in layers for path in layer)
        if name in parts:
            before[name] = block
        elif within:
            before[name], after[name] = block[:within], block[within:]
        else:
            after[name] = block
    if cut in POOLS:
        before["pool"] = Pool(cut)
    elif pool is not None:
        after["pool"] = Pool(pool)
    return nn.Sequential(before), nn.Sequential(after)


class Network(nn.Module):
    """A backbone cut at `cut`, with its head. `forward` runs the suffix; `whole` everything.

    The head's input width depends on the picture's size if the pooling is `flatten`, so
    `input_size` (pixels, square, what the backbone receives) describes a network. `experts` and
    `skip_init` are the backbone's; the head's random weights are the same with and without it.
    """

    def __init__(
        self,
        architecture: str,
        cut: str,
        head: HeadSettings,
        classes: int,
        input_size: int,
        *,
        experts: dict[str, dict] | None = None,
        skip_init: bool = False,
    ):
        super().__init__()
        self.backbone = Backbone(architecture, experts, skip_init=True)
        self.cut = cut
        self._suffix_frozen = False
        self.head = Head(
            self._width(head.pool, input_size),
            classes,
            hidden=head.hidden,
            activation=head.activation,
            dropout=head.dropout,
        )
        if not skip_init:
            initialise(self.backbone)
        # Not registered as children: they share the backbone's modules.
        before, after = split(self.backbone, cut, head.pool)
        object.__setattr__(self, "prefix", before)
        object.__setattr__(self, "suffix", after)
        self.prefix.requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """What stands at the cut -> logits (n, classes)."""
        return self.head(self.suffix(inputs))

    def whole(self, images: torch.Tensor) -> torch.Tensor:
        """Transformed pictures (n, 3, h, w) -> logits (n, classes)."""
        return self(self.prefix(images))

    def train(self, mode: bool = True) -> "Network":
        """Switch the suffix; the prefix stays in evaluation mode, its statistics are frozen."""
        super().train(mode)
        self.prefix.eval()
        if self._suffix_frozen:
            self.suffix.eval()
        return self

    def freeze_suffix(self) -> None:
        """Hold the backbone behind the cut as well (a transferred rate of zero)."""
        self._suffix_frozen = True
        self.suffix.requires_grad_(False)

    def transferred_parameters(self) -> list[nn.Parameter]:
        """The backbone's parameters after the cut."""
        return list(self.suffix.parameters())

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors: the backbone's by torchvision's names, the head's as `head.*`."""
        head = {f"head.{name}": tensor for name, tensor in self.head.state_dict().items()}
        return {**self.backbone.tensors(), **head}

    def load_head(self, tensors: dict[str, torch.Tensor], origin: str) -> None:
        """Copy `head.*` tensors in; GraftError if the heads differ."""
        own = {f"head.{name}": tensor for name, tensor in self.head.state_dict().items()}
        given = {name: tensor for name, tensor in tensors.items() if name.startswith("head.")}
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in given.items()}:
            raise GraftError(
                f"{origin}'s head has other layers than this one. Give both modes the same "
                "train.head."
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(given[name])

    def _width(self, pool: str, input_size: int) -> int:
        """Width of the pooled features of a picture, found without computing any."""
        shapes = {name: tensor.to("meta") for name, tensor in self.backbone.state_dict().items()}
        picture = torch.empty(1, 3, input_size, input_size, device="meta")
        self.backbone.eval()
        try:
            with torch.no_grad():
                maps = torch.func.functional_call(self.backbone, shapes, (picture,))
        except RuntimeError:  # a pooling finds nothing left to pool
            raise too_small(self.backbone.architecture, input_size) from None
        self.backbone.train()
        return Pool(pool)(maps).shape[1]


def too_small(architecture: str, input_size: int) -> GraftError:
    return GraftError(
        f"pictures of {input_size} pixels are too small for {architecture}. Raise the data set's "
        "packed_size, or the source's transform.size where that is set."
    )
