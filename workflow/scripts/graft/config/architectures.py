"""Architectures by name: their cuts, and the modes that these give. No torch in here.

An architecture is a network of torchvision (`resnet50`), of timm (`timm/convnext_tiny.fb_in1k`),
one of ours (`vgg_mini`, `cnn3`, `mlp`), or a `stack` of several sources. Its cuts have the names of
its modules (`layer3`, `stages.2`); `described` has them. Those that are listed here have besides
blocks with names from their papers, and end with the last of these: with their last maps, or with
a wide layer.
"""

from collections.abc import Mapping
from typing import NamedTuple

from graft.config.networks import described

STACK = "stack"
TIMM = "timm/"
"""How the names of timm's networks begin."""


class Named(NamedTuple):
    """The blocks of an architecture, and layers within them: by name, the module that each ends
    with, in order."""

    blocks: Mapping[str, str]
    layers: Mapping[str, str] = {}


def _numbered(name: str, ends: str, first: int = 1) -> dict[str, str]:
    """`name1`, `name2`, ... for the modules `features.<end>`."""
    return {f"{name}{n}": f"features.{end}" for n, end in enumerate(ends.split(), first)}


def _vgg(*, batch_norm: bool) -> Named:
    """VGG-16: five blocks, which end with a pooling, of convolutions, which end with a ReLU."""
    blocks, layers, end = {}, {}, -1
    for block, depth in enumerate((2, 2, 3, 3, 3), start=1):
        for layer in range(1, depth + 1):
            end += 3 if batch_norm else 2
            layers[f"conv{block}_{layer}"] = f"features.{end}"
        end += 1
        blocks[f"block{block}"] = layers[f"conv{block}_{depth}"] = f"features.{end}"
    return Named(blocks, layers)


_FULLY_CONNECTED = {"fc6": "classifier.2", "fc7": "classifier.5"}
_ALEXNET = _numbered("conv", "2 5 7 9 12")
_RESNET = {"stem": "maxpool", **{f"layer{n}": f"layer{n}" for n in range(1, 5)}}
_VGG = _vgg(batch_norm=False)

NAMED: dict[str, Named] = {
    "vgg_mini": _vgg(batch_norm=True),
    "vgg16": _VGG,
    "vgg16_fc7": Named({**_VGG.blocks, **_FULLY_CONNECTED}, _VGG.layers),
    "alexnet": Named(_ALEXNET),
    "alexnet_fc7": Named({**_ALEXNET, **_FULLY_CONNECTED}),
    "squeezenet1_0": Named({"stem": "features.2"} | _numbered("fire", "3 4 6 7 8 9 11 12", 2)),
    "squeezenet1_1": Named({"stem": "features.2"} | _numbered("fire", "3 5 6 8 9 10 11 12", 2)),
    "inception_v3": Named(
        {"stem": "maxpool2", "mixed5": "Mixed_5d", "mixed6": "Mixed_6e", "mixed7": "Mixed_7c"}
    ),
    "resnet18": Named(_RESNET),
    "resnet50": Named(_RESNET),
    "mobilenet_v3_small": Named(
        {"stem": "features.0"}
        | _numbered("bneck", "1 2 3 4 5 6 7 8 9 10 11")
        | {"top": "features.12"}
    ),
    "efficientnet_b0": Named(
        {"stem": "features.0"} | _numbered("stage", "1 2 3 4 5 6 7", 2) | {"top": "features.8"}
    ),
    "mlp": Named({}),
    "cnn3": Named({f"conv{n}": f"pool{n}" for n in (1, 2, 3)}),
    STACK: Named({"experts": "experts"}),
}

PUBLISHED_AS = {"vgg16_fc7": "vgg16", "alexnet_fc7": "alexnet"}
"""torchvision's name of an architecture that is one of its own, ended elsewhere."""

POOLS = ("avgpool", "flatten")
"""How the last block's maps become one vector; also the name of the cut after everything."""

IMAGE = "image"
"""The cut before everything: nothing is frozen and training reads pictures."""

PROBES = ("logistic_probe", "knn_probe")
"""Modes whose head is not trained by epochs but solved for, or made of the training rows."""

MODES = ("from_scratch", "feature_extraction", *PROBES, "fine_tuning")
FREEZE = "freeze_"

ON_FEATURES = ("feature_extraction", *PROBES)
"""Modes that freeze the whole backbone; they start from no other mode's head."""

POOLED = "pooled"
"""The cut before a network's own classifier, where the network does the pooling itself."""


def blocks(architecture: str) -> list[str]:
    """The names of an architecture's blocks, in order: the units that are frozen or unfrozen."""
    if architecture in NAMED:
        return list(NAMED[architecture].blocks)
    return list(described(architecture).blocks)


def named_cut(architecture: str, part: str) -> str | None:
    """The one name of the cut behind a block, a layer or a module; None if it cannot be cut there.

    A block's last layer is the block, so that one cut has one name and one set of features.
    """
    if architecture not in NAMED:
        return described(architecture).cuts.get(part)
    named = NAMED[architecture]
    if part in named.blocks:
        return part
    if part in named.layers:
        ends = {end: block for block, end in named.blocks.items()}
        return ends.get(named.layers[part], part)
    return described(architecture).cuts.get(part) if "." in part else None


def cut(mode: str, architecture: str, pool: str) -> str:
    """Where a mode's frozen prefix ends: `image`, a cut's name, or the pooling.

    The pooling is the head's, or where a network has pooled already, `pooled`.
    """
    if mode.startswith(FREEZE):
        part = mode.removeprefix(FREEZE)
        return named_cut(architecture, part) or part
    if mode not in ON_FEATURES:
        return IMAGE
    return pool if architecture in NAMED else POOLED


def is_mode(mode: str, architecture: str) -> bool:
    """Whether a mode makes sense for an architecture; one without blocks has none to transfer."""
    if not is_transferred(mode) or not blocks(architecture):
        return mode == "from_scratch"
    return mode in MODES or (
        mode.startswith(FREEZE) and named_cut(architecture, mode.removeprefix(FREEZE)) is not None
    )


def modes(architecture: str) -> str:
    """The modes that make sense for an architecture, in words."""
    named = [mode for mode in MODES if is_mode(mode, architecture)]
    if not blocks(architecture):
        return ", ".join(named)
    listed = [f"{FREEZE}{block}" for block in blocks(architecture)]
    layers = list(NAMED[architecture].layers) if architecture in NAMED else []
    within = f", and freeze_<layer> for {layers[0]} to {layers[-1]}" if layers else ""
    if architecture not in NAMED:
        within = ", and freeze_<module> for what `make cuts` lists"
    return ", ".join([*named, *listed]) + within


def is_transferred(mode: str) -> bool:
    """Whether a mode starts from the source's weights."""
    return mode != "from_scratch"


def trains_transferred(mode: str, architecture: str) -> bool:
    """Whether a mode trains layers that come from the source, and not a head alone, as one that
    freezes the last block does."""
    if not is_transferred(mode) or mode in ON_FEATURES or not blocks(architecture):
        return False
    at = cut(mode, architecture, POOLS[0])
    if at == IMAGE or at in blocks(architecture):
        return at != blocks(architecture)[-1]
    is_layer = architecture in NAMED and at in NAMED[architecture].layers
    return is_layer or at not in described(architecture).after_weights


def warm_up(mode: str) -> str | None:
    """The mode whose trained head a mode starts from, so that tuning begins warm."""
    return "feature_extraction" if is_transferred(mode) and mode not in ON_FEATURES else None
