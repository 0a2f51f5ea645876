"""Model files: tensors and a description as safetensors; and trained networks read from them.

The safetensors file of a trained network holds every tensor, the frozen prefix included, under
torchvision's names and `head.*`; its header describes architecture, cut, head, classes, input
transform and how pictures were prepared.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from graft.config.models import Head
from graft.core.errors import GraftError
from graft.core.files import atomic, canonical_json
from graft.models.network import Network


def save(path: Path, tensors: dict[str, torch.Tensor], description: dict) -> None:
    """Write tensors as safetensors, with a JSON description in the header; whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    with atomic(path) as temporary:
        save_file(plain, temporary, metadata={"graft": canonical_json(description)})


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Read (tensors, description) of a file that `save` wrote. GraftError if it is not one."""
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {}).get("graft", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise GraftError(f"{path} is not a readable safetensors file ({error}).") from None
    return tensors, description or {}


def load_network(model: Path) -> tuple[Network, dict]:
    """(network in evaluation mode, description) of a file that the train stage wrote."""
    tensors, description = load(model)
    network = Network(
        description["architecture"],
        description["cut"],
        Head.model_validate(description["head"]),
        len(description["classes"]),
        description["image_size"],
        experts=description.get("experts"),
        skip_init=True,
    )
    network.backbone.load(tensors)
    network.load_head(tensors, str(model))
    return network.eval(), description
