"""Model files: tensors as safetensors, with a description as JSON in the header.

Two kinds. A source holds the tensors of a backbone, and describes architecture and input
transform. A model holds every tensor of a trained network, the frozen prefix included, under
torchvision's names and `head.*`; its header is a `ModelDescription`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from graft.config.datasets import MIN_FACES
from graft.config.models import Head
from graft.config.sources import Transform
from graft.config.stages import BackboneSettings, CropSettings, PackSettings, Preparation
from graft.core.errors import GraftError
from graft.core.files import atomic, canonical_json
from graft.models.neighbours import NeighbourHead
from graft.models.network import Network

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class ModelDescription:
    """What a trained model is, and how the pictures that it expects are prepared.

    `classes` are in the order of the logits; `input_size` is the side in pixels of the square
    pictures that the backbone receives.
    """

    backbone: BackboneSettings
    cut: str
    mode: str
    head: Head | NeighbourHead
    classes: list[str]
    input_size: int
    preparation: Preparation
    multilabel: bool = False
    """Whether a picture may have several classes, or none, each with a sigmoid of its own."""
    on_patches: bool = False
    """Whether it tells the class of patches (the last class is the background), from which a
    picture's scores follow (see `images.patches`)."""

    def confidences(self, logits: torch.Tensor) -> torch.Tensor:
        """Probabilities (n, classes) of logits: those of a row sum to 1, or with `multilabel` each
        is of its class alone."""
        return logits.sigmoid() if self.multilabel else logits.softmax(1)

    def to_json(self) -> dict[str, Any]:
        # Whether HEIF can be decoded is a matter of the machine that predicts.
        kept = self.preparation.crop
        crop = kept.model_dump(mode="json", exclude_none=True, exclude={"decode"})
        if kept.detector and kept.detector.min_face == MIN_FACES.get(kept.detector.name):
            del crop["detector"]["min_face"]
        if decode := kept.decode.model_dump(mode="json", exclude_defaults=True, exclude={"heif"}):
            crop["decode"] = decode
        pack = self.preparation.pack.model_dump(mode="json", exclude={"multi", "patches"})
        if self.preparation.pack.patches is not None:
            pack["patches"] = self.preparation.pack.patches.model_dump(mode="json")
        crop["size"], pack["image_size"] = crop.pop("crop_size"), pack.pop("packed_size")
        return {
            **backbone_to_json(self.backbone),
            "cut": self.cut,
            "mode": self.mode,
            "head": self.head.model_dump(mode="json"),
            "classes": self.classes,
            "image_size": self.input_size,
            "preparation": {**crop, **pack},
            **({"multilabel": True} if self.multilabel else {}),
            **({"on_patches": True} if self.on_patches else {}),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ModelDescription":
        """The inverse of `to_json`; KeyError, TypeError or ValueError for anything else."""
        given = values["preparation"]
        crop = {key: given.get(key) for key in ("crop", "detector", "device", "reproducible")}
        crop["decode"] = given.get("decode", {})
        pack = {key: given[key] for key in ("grayscale", "equalize")}
        pack["patches"] = given.get("patches")
        multilabel = values.get("multilabel", False)
        return cls(
            backbone=backbone_from_json(values),
            cut=values["cut"],
            mode=values["mode"],
            head=head_from_json(values["head"]),
            classes=values["classes"],
            input_size=values["image_size"],
            preparation=Preparation(
                crop=CropSettings(crop_size=given["size"], **crop),
                pack=PackSettings(packed_size=given["image_size"], multi=multilabel, **pack),
            ),
            multilabel=multilabel,
            on_patches=values.get("on_patches", False),
        )


def head_from_json(values: Mapping[str, Any]) -> Head | NeighbourHead:
    if "neighbours" in values:
        return NeighbourHead.model_validate(values)
    # Models of earlier versions do not standardise.
    return Head.model_validate({"standardize": False, **values})


_RESIZING = ("interpolation", "crop_pct")
"""Keys that files of earlier versions do not have, left out where they have their defaults."""


def backbone_to_json(backbone: BackboneSettings) -> dict[str, Any]:
    members = {name: backbone_to_json(member) for name, member in (backbone.experts or {}).items()}
    return {
        "architecture": backbone.architecture,
        "transform": {
            key: value
            for key, value in backbone.transform.model_dump(mode="json").items()
            if key not in _RESIZING or value != Transform.model_fields[key].default
        },
        **({"experts": members} if members else {}),
    }


def backbone_from_json(values: Mapping[str, Any]) -> BackboneSettings:
    names = ("architecture", "transform", "experts")
    return BackboneSettings.model_validate({k: v for k, v in values.items() if k in names})


def save(path: Path, tensors: Tensors, description: Mapping[str, Any]) -> None:
    """Write tensors as safetensors, with a JSON description in the header; whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    with atomic(path) as temporary:
        save_file(plain, temporary, metadata={"graft": canonical_json(description)})


def load(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Read (tensors, header) of a safetensors file; without our header an empty one.

    GraftError if the file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {}).get("graft", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise GraftError(
            f"{path}: it is not a readable safetensors file ({error}). Name another one, or make "
            "it again."
        ) from None
    return tensors, description or {}


def load_source(path: Path) -> tuple[Tensors, BackboneSettings]:
    """(tensors, what they are the weights of) of a file that the weights stage wrote."""
    tensors, description = load(path)
    return tensors, backbone_from_json(description)


def load_network(path: Path) -> tuple[Network, ModelDescription]:
    """(network in evaluation mode, description) of a file that the train stage wrote.

    GraftError if the file cannot be read or holds something else.
    """
    tensors, header = load(path)
    try:
        model = ModelDescription.from_json(header)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise GraftError(
            f"{path}: the file is no model that the train stage wrote. Name a model.safetensors "
            "of this workflow."
        ) from None
    network = Network(
        model.backbone, model.cut, model.head, len(model.classes), model.input_size, skip_init=True
    )
    network.backbone.load(tensors)
    network.load_head(tensors, str(path))
    return network.eval(), model
