"""Descriptions of networks: what a config needs to know of one before anything runs.

    python -m graft.models.describe resnet34 IMAGENET1K_V1

prints it as JSON (see `config.networks.Described`).
"""

import json
import sys
from typing import Any

import timm
from torchvision.models import get_model_weights

from graft.config.architectures import NAMED, PUBLISHED_AS
from graft.core.errors import GraftError, nearest
from graft.models import zoo
from graft.models.backbones import Backbone
from graft.models.cuts import Traced


def describe(architecture: str, weights: str | None = None) -> dict[str, Any]:
    """The description of an architecture, with the input of torchvision's `weights` of that name.

    Raises GraftError if there is no such network or no such weights, or if it cannot be cut.
    """
    transform = transform_of(architecture, weights)
    backbone = Backbone(architecture, size=transform.get("size"))
    traced, cuts = backbone.traced, backbone.traced.cuts()
    names = {name: name for name in backbone.ends}
    by_node = {node: name for name, node in backbone.ends.items()}
    shapes = {}
    for cut in cuts:
        name = by_node.get(cut.node, cut.names[0])
        names |= dict.fromkeys(cut.names, name)
        shapes[name] = shape_of(traced, cut.node)
    shapes["pooled"] = shape_of(traced, traced.output)
    nodes = {name: backbone.cut_at(name) for name in set(names.values())}
    return {
        "blocks": backbone.blocks,
        "cuts": names,
        "after_weights": sorted(n for n in nodes if not backbone.blocks_after(n)),
        "shapes": shapes,
        "transform": transform,
    }


def shape_of(traced: Traced, node: Any) -> list[int]:
    """The shape of a picture's activations."""
    (shape, _) = traced.observed[node].shapes
    return list(shape or ())[1:]


def transform_of(architecture: str, weights: str | None = None) -> dict[str, Any]:
    """The input that weights were trained with, as keys of a source's `transform`.

    It is that of torchvision's weights of this name, or of its default ones, or that of timm's
    configuration. Empty for the listed architectures, whose pictures keep their size.
    """
    if architecture.startswith(zoo.TIMM):
        config = timm.models.get_pretrained_cfg(architecture.removeprefix(zoo.TIMM))
        if config is None:
            return {"size": zoo.DEFAULT_SIZE}
        return {
            "size": config.input_size[1],
            "mean": list(config.mean),
            "std": list(config.std),
            "interpolation": "bicubic" if config.interpolation == "bicubic" else "bilinear",
            "crop_pct": config.crop_pct,
        }
    if architecture in NAMED:
        return {}
    members = get_model_weights(PUBLISHED_AS.get(architecture, architecture)).__members__
    name = weights or ("DEFAULT" if "DEFAULT" in members else next(iter(members), None))
    if name is None:
        return {"size": zoo.DEFAULT_SIZE}
    if name not in members:
        raise GraftError(
            f"torchvision has no {architecture} weights {name!r}. {nearest(name, members)}"
        )
    preset = members[name].transforms()
    (size,), (resized,) = preset.crop_size, preset.resize_size
    return {
        "size": size,
        "mean": list(preset.mean),
        "std": list(preset.std),
        "interpolation": "bicubic" if preset.interpolation.value == "bicubic" else "bilinear",
        "crop_pct": size / resized,
    }


if __name__ == "__main__":
    try:
        print(json.dumps(describe(*sys.argv[1:])))
    except GraftError as error:
        sys.exit(str(error))
