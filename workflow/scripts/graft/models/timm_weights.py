"""timm's published weights: where they are, and how they become the weights of its networks.

timm names a repository of the Hugging Face Hub for each tag of a model. The files are fetched as
all others are, so that mirrors and digests hold; timm itself downloads nothing.
"""

from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from safetensors.torch import load_file

from graft.config.architectures import TIMM
from graft.core.errors import GraftError
from graft.models import inputs, torch_files, zoo

HUB = "https://huggingface.co/{repository}/resolve/{revision}/{file}"


class Published(NamedTuple):
    """The weights of a tag: address, the name that the file has here, and licence."""

    url: str
    name: str
    licence: str | None


def published(architecture: str, revision: str) -> Published:
    """Where the weights of `timm/<model>.<tag>` are; without a tag those of timm's default one.

    Raises GraftError if timm names none on the Hub.
    """
    name = architecture.removeprefix(TIMM)
    config = inputs.timm_config(architecture)
    if config is None or not config.hf_hub_id or config.custom_load:
        raise GraftError(
            f"weights.timm: timm names no weights of {name} in a file of the Hub that can be read. "
            "Name another tag, or give a url."
        )
    file = config.hf_hub_filename or "model.safetensors"
    url = HUB.format(repository=config.hf_hub_id, revision=revision, file=file)
    known = f"{config.architecture}.{config.tag}" if config.tag else config.architecture
    return Published(url, f"{known}{Path(file).suffix}", config.license)


def read(path: Path, architecture: str, size: int | None) -> dict[str, torch.Tensor]:
    """The tensors of a published file, converted by timm to those of its network.

    size: the side of pictures in pixels that the network is built for; None: its own. timm resizes
    position embeddings to it.
    """
    loaded: Any = load_file(path) if path.suffix == ".safetensors" else torch_files.load(path)
    name = architecture.removeprefix(TIMM)
    options: dict[str, Any] = {"num_classes": 0, **zoo.timm_options(architecture, size)}
    filled: dict[str, Any] = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": loaded}}
    states = []
    for further in ({}, filled):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                states.append(timm.create_model(name, **options, **further).state_dict())
            except (RuntimeError, KeyError, AttributeError, TypeError) as error:
                reason = (str(error) or type(error).__name__).splitlines()[0]
                raise _unfit(path, name, reason) from None
    # Without its classifier timm passes over what a file lacks.
    random, tensors = states
    for key, tensor in tensors.items():
        if tensor.ndim > 1 and tensor.unique().numel() > 1 and torch.equal(tensor, random[key]):
            raise _unfit(path, name, f"it has no {key}")
    return tensors


def _unfit(path: Path, name: str, reason: str) -> GraftError:
    return GraftError(
        f"{path.name}: timm cannot read it as weights of {name} ({reason}). Check the tag, and "
        "fetch the file again."
    )
