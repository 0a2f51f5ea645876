"""Inputs: the pictures that published weights were trained with, as their publishers say."""

from typing import Any

from torchvision.models import get_model_weights

from graft.config.architectures import NAMED, TIMM
from graft.core.errors import GraftError, nearest

DEFAULT_SIZE = 224
"""The side of pictures in pixels, where nothing is published."""


def timm_config(architecture: str) -> Any:
    """timm's configuration of `timm/<model>.<tag>`, or of the model's default tag; None if it has
    no weights.

    Raises GraftError if timm has no such model or tag.
    """
    import timm

    name = architecture.removeprefix(TIMM)
    model, _, tag = name.partition(".")
    if not timm.is_model(model):
        raise GraftError(f"timm has no model {model!r}. {nearest(model, timm.list_models())}")
    tags = [listed.partition(".")[2] for listed in timm.list_pretrained(f"{model}.*")]
    if tag and tag not in tags:
        advice = nearest(tag, tags) if tags else f"It has none: name it {TIMM}{model}."
        raise GraftError(f"timm has no weights {tag!r} of {model}. {advice}")
    return timm.models.get_pretrained_cfg(name)


def transform_of(architecture: str, weights: str | None = None) -> dict[str, Any]:
    """The input that weights were trained with, as keys of a source's `transform`.

    It is that of torchvision's weights of this name, or of its default ones, or that of timm's
    configuration. Empty for the listed architectures, whose pictures keep their size.
    """
    if architecture.startswith(TIMM):
        config = timm_config(architecture)
        if config is None:
            return {"size": DEFAULT_SIZE}
        return {
            "size": config.input_size[1],
            "mean": list(config.mean),
            "std": list(config.std),
            "interpolation": "bicubic" if config.interpolation == "bicubic" else "bilinear",
            "crop_pct": config.crop_pct,
        }
    if architecture in NAMED:
        return {}
    try:
        members = get_model_weights(architecture).__members__
    except ValueError:  # no network of torchvision's, which the zoo says
        return {"size": DEFAULT_SIZE}
    name = weights or ("DEFAULT" if "DEFAULT" in members else next(iter(members), None))
    if name is None:
        return {"size": DEFAULT_SIZE}
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
