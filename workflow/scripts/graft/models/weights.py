"""Sources: pre-trained weights of every kind, normalised to one file.

Weights are read from what they were published as, or from another model of this workflow, and are
written as safetensors under torchvision's names, with the architecture and the input transform in
the header.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import torch
from torchvision.models import get_model_weights

from graft.config.stages import BackboneSettings, WeightsSettings
from graft.core.errors import GraftError, nearest
from graft.download import mirrors
from graft.models import keras_weights, model_file
from graft.models.backbones import Backbone
from graft.models.model_file import Tensors

PUBLISHED_AS = {"vgg16_fc7": "vgg16"}
"""torchvision's name of an architecture that is one of its own, cut elsewhere."""


def make(
    settings: WeightsSettings, destination: Path, *, urls: Sequence[str], made: Mapping[Path, str]
) -> dict[str, Any]:
    """Write the source that the settings describe; return its import report.

    urls: mirrors of published weights. made: path and sha256 of the files of this workflow that
    the source is made from: the model of another experiment, or the members of a stack in order.
    """
    weights, architecture, fetched = settings.weights, settings.backbone.architecture, None
    origin: dict[str, Any]
    if weights.kind == "random":
        raise GraftError(
            f"{settings.key}: the source is a structure without weights, there is nothing to "
            "transfer. Use it for from_scratch only."
        )
    if weights.experiment is not None:
        ((path, digest),) = made.items()
        tensors = read(path)
        origin = {"experiment": weights.experiment, "sha256": digest}
    elif weights.stack is not None:
        tensors = stack(dict(zip(weights.stack, made, strict=True)))
        origin = {"stack": dict(zip(weights.stack, made.values(), strict=True))}
    else:
        fetched, digest, name = _fetch(settings, destination, urls)
        tensors = read(fetched, architecture, settings.allow_new, key=settings.key)
        origin = {"file": name, "sha256": digest}
    report = normalise(
        tensors,
        destination,
        settings.backbone,
        key=settings.key,
        origin=origin,
        allow_new=settings.allow_new,
    )
    if fetched is not None:
        fetched.unlink()
    return {"architecture": architecture, "origin": origin, **report}


def read(
    path: Path,
    architecture: str | None = None,
    allow_new: Sequence[str] = (),
    *,
    key: str = "sources",
) -> Tensors:
    """Tensors of a `.safetensors` file, a PyTorch state dict (`.pth`, `.pt`) or Keras's `.h5`.

    A state dict may be wrapped as {"state_dict": ...} or {"model": ...}, and its names may have
    the prefix `module.` that DataParallel leaves. Keras's files name their layers otherwise, so
    they need the architecture (see `keras_weights.read`) and what of it may be missing; `key`
    names the source in messages. Nothing but tensors is unpickled, and no code in a file is run.
    """
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return model_file.load(path)[0]
    if suffix in (".h5", ".hdf5") and architecture is not None:
        with _about(key):
            optional = _new_names(Backbone(architecture, skip_init=True), allow_new)
            return keras_weights.read(path, architecture, optional)
    if suffix == ".keras":
        raise GraftError(
            f"{path.name}: Keras 3 archives are not supported. Save the weights in the layout of "
            "Keras 2, as .h5, or as safetensors."
        )
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises almost anything on a damaged file
        raise _no_state_dict(path, (str(error) or type(error).__name__).splitlines()[0]) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not all(map(_is_named, loaded, loaded.values())):
        raise _no_state_dict(path, "it does not map names to plain tensors")
    return {name.removeprefix("module."): tensor for name, tensor in loaded.items()}


def normalise(
    tensors: Tensors,
    destination: Path,
    backbone: BackboneSettings,
    *,
    key: str,
    origin: Mapping[str, Any],
    allow_new: Sequence[str] = (),
) -> dict[str, Any]:
    """Write the backbone's part of `tensors` to `destination`; return the import report.

    The report lists the tensors that were imported, those that start anew, and those that were
    skipped (a classifier, another head). `allow_new` are blocks, or beginnings of tensors' names,
    that may be missing from the weights or have another shape there: these start at random,
    equal every time.

    Raises GraftError if nothing matches, if any other layer of the architecture is missing or
    has another shape, or if a value is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Backbone(backbone.architecture, backbone.experts)
    own = network.tensors()
    with _about(key):
        allowed = _new_names(network, allow_new)
    new = {
        name for name in allowed if name not in tensors or tensors[name].shape != own[name].shape
    }
    if not any(name in tensors and name not in new for name in own):
        raise GraftError(
            f"{key}: none of the {len(tensors)} tensors in the weights matches a layer of "
            f"{backbone.architecture} (theirs begin with {_examples(tensors)}, ours with "
            f"{_examples(own)}). Check {key}.architecture."
        )
    # State dicts from before PyTorch 0.4.1 lack this counter, which inference never reads.
    counters = {name for name in own if name.endswith("num_batches_tracked")} - tensors.keys()
    with _about(key, f" Check {key}.architecture."):
        network.load({**tensors, **{name: own[name] for name in new | counters}})
    if not all(torch.isfinite(tensor).all() for tensor in own.values()):
        raise GraftError(
            f"{key}: the weights hold values that are not finite. Fetch them again, or use others."
        )
    description = {**model_file.backbone_to_json(backbone), "origin": dict(origin)}
    model_file.save(destination, own, description)
    return {
        "imported": [name for name in own if name not in new],
        "new": [name for name in own if name in new],
        "skipped": sorted(set(tensors) - set(own)),
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def stack(members: Mapping[str, Path]) -> Tensors:
    """The tensors of several sources, named `{member}.{torchvision's name}`."""
    return {
        f"{member}.{name}": tensor
        for member, path in members.items()
        for name, tensor in model_file.load(path)[0].items()
    }


def torchvision_weights(architecture: str, name: str) -> tuple[str, str]:
    """(URL, first 8 digits of the sha256) of a torchvision weights enum, e.g. IMAGENET1K_V1."""
    try:
        members = get_model_weights(PUBLISHED_AS.get(architecture, architecture)).__members__
    except ValueError:
        raise GraftError(
            f"weights.torchvision: torchvision has no weights for {architecture}. Give a url."
        ) from None
    if name not in members:
        raise GraftError(
            f"weights.torchvision: torchvision has no {architecture} weights {name!r}. "
            f"{nearest(name, members)}"
        )
    url = members[name].url  # .../vgg16-397923af.pth
    return url, url.rsplit("-", 1)[1].split(".")[0]


def _fetch(
    settings: WeightsSettings, destination: Path, urls: Sequence[str]
) -> tuple[Path, str, str]:
    """Fetch published weights next to the destination: (path, sha256, published name)."""
    key, digest = settings.key, settings.sha256
    if settings.weights.torchvision is not None:
        with _about(key):
            url, beginning = torchvision_weights(
                settings.backbone.architecture, settings.weights.torchvision
            )
        urls, digest = [url], digest or beginning
    name = PurePosixPath(urlsplit(urls[0]).path).name
    path = destination.with_name(f"{destination.stem}.{name}")
    fetched = mirrors.fetch(
        list(urls),
        path,
        sha256=digest,
        size=settings.size,
        name=name,
        key=key,
        url_key=f"{key}.weights",
    )
    return path, fetched["sha256"], name


def _no_state_dict(path: Path, reason: str) -> GraftError:
    return GraftError(
        f"{path.name}: the file is no PyTorch state dict ({reason}). Publish it as safetensors or "
        "a state dict."
    )


def _is_named(name: object, value: object) -> bool:
    return (
        isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and not (value.is_quantized or value.is_complex() or value.is_meta)
    )


@contextlib.contextmanager
def _about(key: str, advice: str = "") -> Iterator[None]:
    """Put the source's key in front of what goes wrong."""
    try:
        yield
    except GraftError as error:
        raise GraftError(f"{key}: {error}{advice}") from None


def _new_names(backbone: Backbone, allow_new: Sequence[str]) -> set[str]:
    """The tensors of these blocks, and those whose names begin with these parts."""
    own = backbone.tensors()
    names: set[str] = set()
    for entry in allow_new:
        matches = {name for name in own if f"{name}.".startswith(f"{entry.rstrip('.')}.")}
        if entry in backbone.blocks:
            matches |= set(backbone.tensors([entry]))
        if not matches:
            raise GraftError(
                f"allow_new names {entry!r}, which is neither a block of {backbone.architecture} "
                f"({', '.join(backbone.blocks)}) nor the beginning of a tensor's name (such as "
                f"{_examples(own)})."
            )
        names |= matches
    return names


def _examples(names: Iterable[str]) -> str:
    return ", ".join(list(names)[:2])
