"""Sources: pre-trained weights of every kind, normalised to one file.

Weights are read from what they were published as, or from another model of this workflow, and are
written as safetensors under torchvision's names, with the architecture and the input transform in
the header.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import torch
from torchvision.models import get_model_weights

from graft.config import architectures
from graft.config.stages import BackboneSettings, WeightsSettings
from graft.core.errors import GraftError, nearest
from graft.download import mirrors
from graft.models import checkpoints, keras_files, keras_weights, model_file, timm_weights
from graft.models.backbones import Backbone
from graft.models.certificate import Certificate, certify
from graft.models.checkpoints import Checkpoint
from graft.models.model_file import Tensors

CERTIFIED_SIZE = 160
"""The side in pixels of the pictures of a certificate, for networks that take any size."""

HEADS = ("classifier.", "fc.", "AuxLogits.", "head.")
"""How the names of tensors begin that are no part of a backbone: torchvision's classifiers and
Inception's auxiliary one, and the head of a model of this workflow."""


def make(
    settings: WeightsSettings,
    destination: Path,
    *,
    urls: Sequence[str],
    made: Mapping[Path, str],
    locked: bool = False,
    trust: bool = False,
) -> dict[str, Any]:
    """Write the source that the settings describe; return its import report.

    urls: mirrors of published weights; `locked` and `trust` are as of `mirrors.fetch`. made: path
    and sha256 of the files of this workflow that the source is made from: the model of another
    experiment, or the members of a stack in order.
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
        found = Checkpoint(model_file.load(path)[0])
        origin = {"experiment": weights.experiment, "sha256": digest}
    elif weights.stack is not None:
        found = Checkpoint(stack(dict(zip(weights.stack, made, strict=True))))
        origin = {"stack": dict(zip(weights.stack, made.values(), strict=True))}
    else:
        fetched, digest, name = _fetch(settings, destination, urls, locked=locked, trust=trust)
        size = settings.backbone.transform.size
        if weights.timm is not None:
            with _about(settings.key):
                found = Checkpoint(timm_weights.read(fetched, architecture, size))
                licence = timm_weights.published(architecture, weights.timm).licence
            origin = {"file": name, "sha256": digest, "licence": licence}
        else:
            found = read(fetched, architecture, settings.allow_new, key=settings.key, size=size)
            origin = {"file": name, "sha256": digest}
    report = normalise(
        found.tensors,
        destination,
        settings.backbone,
        key=settings.key,
        origin=origin,
        allow_new=settings.allow_new,
    )
    if fetched is not None:
        fetched.unlink()
    held = {
        "unwrapped": list(found.unwrapped),
        "stripped": found.stripped,
        "notes": list(found.notes),
    }
    proof = certified(destination, settings.key)
    return {
        "architecture": architecture,
        "origin": origin,
        **held,
        **report,
        "certificate": proof._asdict(),
    }


def certified(source: Path, key: str) -> Certificate:
    """Prove that a source can be cut behind its blocks (see `certificate`)."""
    tensors, settings = model_file.load_source(source)
    size = settings.transform.size or CERTIFIED_SIZE
    backbone = Backbone(settings.architecture, settings.experts, size=size, skip_init=True)
    backbone.load(tensors)
    with _about(key):
        return certify(backbone, size)


def read(
    path: Path,
    architecture: str,
    allow_new: Sequence[str] = (),
    *,
    key: str = "sources",
    size: int | None = None,
) -> Checkpoint:
    """The tensors of a published file for an architecture, under the network's own names.

    size: the side of pictures in pixels that the network is built for; None: its own.
    Keras's files name layers otherwise (see `keras_weights`); everything else is a checkpoint (see
    `checkpoints`). `allow_new` is what may be missing, and `key` names the source in messages.
    """
    network = Backbone(architecture, size=size, skip_init=True)
    own = network.tensors()
    with _about(key):
        if keras_files.is_keras(path):
            optional = _within(own, _new_parts(network, allow_new))
            return keras_weights.read(path, architecture, optional)
        try:
            return checkpoints.read(path, {name: tensor.shape for name, tensor in own.items()})
        except checkpoints.UnmatchedError as error:
            advice = _advice(key, architecture, error.tensors)
            raise GraftError(f"{error} {advice}") from None


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
    that may be missing from the weights, have another shape there, or have other tensors beside
    them: these start at random, equal every time.

    Raises GraftError if nothing matches, if any other layer of the architecture is missing or
    has another shape, if the weights hold tensors that belong neither to the architecture nor to
    HEADS (they are those of a deeper network), or if a value is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Backbone(backbone.architecture, backbone.experts, size=backbone.transform.size)
    own = network.tensors()
    with _about(key):
        allowed = _new_parts(network, allow_new)
    new = {
        name
        for name in _within(own, allowed)
        if name not in tensors or tensors[name].shape != own[name].shape
    }
    if not any(name in tensors and name not in new for name in own):
        raise GraftError(
            f"{key}: none of the {len(tensors)} tensors in the weights matches a layer of "
            f"{backbone.architecture} (theirs begin with {_examples(tensors)}, ours with "
            f"{_examples(own)}). {_advice(key, backbone.architecture, tensors)}"
        )
    # State dicts from before PyTorch 0.4.1 lack this counter, which inference never reads.
    counters = {name for name in own if name.endswith("num_batches_tracked")} - tensors.keys()
    try:
        network.load({**tensors, **{name: own[name] for name in new | counters}})
    except GraftError as error:
        advice = _advice(key, backbone.architecture, tensors)
        raise GraftError(f"{key}: {error} {advice}") from None
    surplus = _surplus(tensors, own, network.classifier)
    if beside := [name for name in surplus if name not in _within(surplus, allowed)]:
        raise GraftError(
            f"{key}: the weights hold {len(beside)} tensors that are no part of "
            f"{backbone.architecture}, such as {beside[0]}. "
            + _advice(key, backbone.architecture, tensors, "or remove them from the file")
        )
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
        members = get_model_weights(
            architectures.PUBLISHED_AS.get(architecture, architecture)
        ).__members__
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
    settings: WeightsSettings,
    destination: Path,
    urls: Sequence[str],
    *,
    locked: bool,
    trust: bool,
) -> tuple[Path, str, str]:
    """Fetch published weights next to the destination: (path, sha256, published name)."""
    key, digest = settings.key, settings.sha256
    if settings.weights.torchvision is not None:
        with _about(key):
            url, beginning = torchvision_weights(
                settings.backbone.architecture, settings.weights.torchvision
            )
        urls, digest = [url], digest or beginning
    name = PurePosixPath(urlsplit(urls[0]).path).name if urls else ""
    if settings.weights.timm is not None:
        with _about(key):
            listed = timm_weights.published(settings.backbone.architecture, settings.weights.timm)
        urls, name = [listed.url], listed.name
    path = destination.with_name(f"{destination.stem}.{name}")
    fetched = mirrors.fetch(
        list(urls),
        path,
        sha256=digest,
        size=settings.size,
        name=name,
        key=key,
        url_key=f"{key}.weights",
        locked=locked,
        trust=trust,
    )
    return path, fetched["sha256"], name


@contextlib.contextmanager
def _about(key: str) -> Iterator[None]:
    """Put the source's key in front of what goes wrong."""
    try:
        yield
    except GraftError as error:
        raise GraftError(f"{key}: {error}") from None


def _new_parts(backbone: Backbone, allow_new: Sequence[str]) -> tuple[str, ...]:
    """How the names of tensors begin that are in these blocks, or begin with these parts."""
    own = backbone.tensors()
    parts: list[str] = []
    for entry in allow_new:
        named = [entry.rstrip(".")]
        if entry in backbone.blocks:
            named += _modules_of(backbone.block_tensors(entry), own)
        beginnings = tuple(f"{part}." for part in named)
        if not _within(own, beginnings):
            raise GraftError(
                f"allow_new names {entry!r}, which is neither a block of {backbone.architecture} "
                f"({', '.join(backbone.blocks)}) nor the beginning of a tensor's name (such as "
                f"{_examples(own)})."
            )
        parts += beginnings
    return tuple(parts)


def _modules_of(names: Collection[str], own: Collection[str]) -> set[str]:
    """The modules all of whose tensors in a network are among these."""
    steps = [name.split(".") for name in names]
    holders = {".".join(parts[:depth]) for parts in steps for depth in range(1, len(parts) + 1)}
    return {holder for holder in holders if _within(own, (f"{holder}.",)) <= set(names)}


def _within(names: Iterable[str], parts: tuple[str, ...]) -> set[str]:
    return {name for name in names if f"{name}.".startswith(parts)}


def _surplus(
    tensors: Mapping[str, torch.Tensor], own: Collection[str], classifier: tuple[str, ...]
) -> list[str]:
    """The tensors that belong to another network.

    What a file holds beside the network comes without values (see `checkpoints.Checkpoint`, and
    `keras_weights.read`, which refuses another network's layers).
    """
    return [
        name
        for name, tensor in tensors.items()
        if name not in own and not name.startswith((*HEADS, *classifier)) and not tensor.is_meta
    ]


def _advice(
    key: str, architecture: str, tensors: Mapping[str, torch.Tensor], remedy: str = ""
) -> str:
    """What to do with weights that do not fit: name the architectures that they do fit, if any."""
    fitting = [
        name
        for name in architectures.NAMED
        if name not in (architecture, architectures.STACK) and _fits(name, tensors)
    ]
    if fitting:
        return f"They fit {' and '.join(fitting)}: set {key}.architecture to that."
    return f"Check {key}.architecture{f', {remedy}' if remedy else ''}."


def _fits(architecture: str, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether the tensors are those of an architecture, and of nothing else but a head."""
    network = Backbone(architecture, skip_init=True)
    own = network.tensors()
    return (
        bool(own)
        and all(name in tensors and tensors[name].shape == t.shape for name, t in own.items())
        and not _surplus(tensors, own, network.classifier)
    )


def _examples(names: Iterable[str]) -> str:
    return ", ".join(list(names)[:2])
