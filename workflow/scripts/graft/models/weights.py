"""The weights stage: a source of any kind, normalised to one file under torchvision's names."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import torch

from graft.config.stages import WeightsSettings
from graft.core.errors import GraftError
from graft.core.files import JsonValue, write_json
from graft.download.mirrors import fetch
from graft.models import sources


def make(
    settings: WeightsSettings,
    destination: Path,
    import_report: Path,
    *,
    source: str,
    mirrors: Sequence[str],
    model: tuple[Path, str] | None,
    members: Mapping[str, tuple[Path, str]],
) -> dict[str, JsonValue]:
    """Write a source and the report of what was imported; return {"parameters": number}.

    `model` is the other experiment's model and its sha256, `members` are those of a stack, by name;
    `mirrors` are addresses of published weights. Published files are removed afterwards.
    """
    weights, backbone, key = settings.weights, settings.backbone, settings.key
    experts, published = None, None
    origin: dict[str, JsonValue]
    match weights.kind:
        case "experiment":
            path, sha256 = _given(model, key)
            tensors = sources.read(path)
            origin = {"experiment": weights.experiment, "sha256": sha256}
        case "stack":
            tensors, experts = sources.stack({name: path for name, (path, _) in members.items()})
            origin = {"stack": {name: sha256 for name, (_, sha256) in members.items()}}
        case "url" | "torchvision":
            published, sha256 = _fetch(settings, destination.parent, source, mirrors)
            tensors = _read(published, settings)
            origin = {"file": published.name.removeprefix(f"{source}."), "sha256": sha256}
        case _:
            raise GraftError(
                f"{key}: it is a structure without weights, with nothing to transfer. Name another "
                "source."
            )
    report = sources.normalise(
        tensors,
        destination,
        architecture=backbone.architecture,
        transform=backbone.transform.model_dump(mode="json"),
        allow_new=settings.allow_new,
        experts=experts,
        key=key,
        origin=origin,
    )
    about = {"source": source, "architecture": backbone.architecture, "origin": origin}
    write_json(import_report, {**about, **report})
    if published is not None:
        published.unlink()
    return {"parameters": report["parameters"]}


def _given(model: tuple[Path, str] | None, key: str) -> tuple[Path, str]:
    if model is None:
        raise GraftError(f"{key}: the model of its experiment is missing. Train it first.")
    return model


def _fetch(
    settings: WeightsSettings, folder: Path, source: str, mirrors: Sequence[str]
) -> tuple[Path, str]:
    """The published file, fetched, and its sha256."""
    expected, key = settings.sha256, settings.key
    if settings.weights.torchvision is not None:
        url, prefix = sources.torchvision_weights(
            settings.backbone.architecture, settings.weights.torchvision
        )
        mirrors, expected = [url], expected or prefix
    name = PurePosixPath(urlsplit(mirrors[0]).path).name
    published = folder / f"{source}.{name}"
    fetched = fetch(
        list(mirrors),
        published,
        sha256=expected,
        size=settings.size,
        name=name,
        key=key,
        url_key=f"{key}.weights",
    )
    return published, fetched["sha256"]


def _read(published: Path, settings: WeightsSettings) -> dict[str, torch.Tensor]:
    return sources.read(
        published,
        architecture=settings.backbone.architecture,
        allow_new=settings.allow_new,
        key=settings.key,
    )
