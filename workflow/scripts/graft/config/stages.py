"""The settings of each stage, typed: exactly the config values that the stage reads.

A stage's recipe is its settings, dumped; so a value that a stage does not read can change
without redoing it. Each class has a function of the same name that fills it from the config.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from graft.config import architectures, detectors
from graft.config.datasets import Classes, Detector, File, Merged, Render
from graft.config.decoding import Decoder, decoder, heif
from graft.config.models import SERVERS, Compute, Config, Hyperparameters
from graft.config.networks import described
from graft.config.patches import OnPatches, Patches
from graft.config.plan import (
    Comparison,
    comparison,
    cut,
    experiment_of,
    hyperparameters,
    is_multilabel,
    members,
    read_cut,
    train_size,
    training_processes,
    warm_up,
)
from graft.config.sources import Architecture, Transform, Weights
from graft.config.splits import Limit, Shards, Split
from graft.config.types import Entry, Reproducible, Settings
from graft.core.raw_names import raw_name

PIXELS = Transform(size=None, scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), channels="RGB")
"""The transform that leaves pictures as they are: that of a stack, whose members have their own."""


class Stage(Settings):
    """The settings of a stage."""

    def recipe(self) -> dict[str, JsonValue]:
        """The settings as the recipe holds them."""
        return self.model_dump(mode="json")


class NetworkStage(Stage):
    """The settings of a stage that computes with a network."""

    reproducible: Reproducible
    device: str
    precision: str
    threads: int


def arithmetic(compute: Compute, precision: str) -> dict[str, Any]:
    """What every `NetworkStage` takes from the config."""
    return {
        "reproducible": compute.reproducible,
        "device": compute.device,
        "precision": precision,
        "threads": compute.threads,
    }


class DownloadSettings(Stage):
    """What a raw file is; its mirrors are no part of it (see `mirrors`)."""

    name: str
    key: str
    sha256: str | None
    md5: str | None
    size: int | None
    render: Render | None
    zip_encoding: str | None
    tree: str | None
    """The digest of a folder's contents (see `download.folders`)."""


def download(config: Config, dataset: str, file: str, tree: str | None = None) -> DownloadSettings:
    name, key, spec = _published(config, dataset, file)
    return DownloadSettings(
        name=name,
        key=key,
        sha256=spec.sha256,
        md5=spec.md5,
        size=spec.size,
        render=spec.render,
        zip_encoding=spec.zip_encoding,
        tree=tree,
    )


def mirrors(config: Config, dataset: str, file: str) -> dict[str, JsonValue]:
    """Where a raw file can be had: `url`, `manual` and `folder`."""
    *_, spec = _published(config, dataset, file)
    return {"url": list(spec.url or ()), "manual": spec.manual, "folder": spec.folder}


def _published(config: Config, dataset: str, file: str) -> tuple[str, str, File]:
    """(name, key in the config, description) of a raw file of a data set or of its detector."""
    of_detector = detectors.published(config.datasets[dataset])
    if of_detector and of_detector[0] == file:
        return file, f"datasets.{dataset}.detector", of_detector[1]
    files = members(config, dataset)[dataset].files
    name = next(name for name in files if raw_name(name) == file)
    return name, f"datasets.{dataset}.files.{name}", files[name]


class ReadSettings(Settings):
    """How the samples of a data set with files are read."""

    layout: Annotated[str, Entry("graft.datasets.samples.LAYOUTS")]
    label: str
    options: dict[str, JsonValue]
    classes: Classes


class StructureSettings(Stage):
    dataset: str
    read: dict[str, ReadSettings]
    """The data sets that are merged, by name; a data set that merges none is the only one."""
    merged: bool
    multi: bool
    """Whether a picture may have several classes, or none."""
    classes: Classes
    split: Split
    limit: Limit
    shards: Shards


def structure(config: Config, dataset: str) -> StructureSettings:
    spec = config.datasets[dataset]
    merged = isinstance(spec, Merged)
    read = {}
    for name, member in members(config, dataset).items():
        described = member.model_dump(mode="json", include={"layout", "label", "options"})
        read[name] = ReadSettings(**described, classes=member.classes if merged else Classes())
    return StructureSettings(
        dataset=dataset,
        read=read,
        merged=merged,
        multi=is_multilabel(config, dataset),
        classes=spec.classes,
        split=spec.split,
        limit=spec.limit,
        shards=spec.shards,
    )


class RegionsSettings(Stage):
    members: dict[str, Classes]
    """The data sets that are merged, by name; a data set that merges none is the only one."""
    merged: bool
    classes: Classes


def regions(config: Config, dataset: str) -> RegionsSettings:
    read = structure(config, dataset)
    members = {name: member.classes for name, member in read.read.items()}
    return RegionsSettings(members=members, merged=read.merged, classes=read.classes)


class CropSettings(Stage):
    crop: Literal["aligned_face", "whole", "stretched", "patches"]
    crop_size: int
    detector: Detector | None
    """None, like the device and the mode, where the crop needs no detector."""
    device: str | None
    reproducible: Reproducible | None = None
    decode: Decoder = Decoder()


def crop(config: Config, dataset: str) -> CropSettings:
    spec = config.datasets[dataset]
    aligned = spec.crop == "aligned_face"
    return CropSettings(
        crop=spec.crop,
        crop_size=spec.crop_size or spec.packed_size,
        detector=spec.detector.model_copy(update={"url": None}) if aligned else None,
        device=detectors.device(spec, config.compute.device),
        reproducible=config.compute.reproducible if aligned else None,
        decode=decoder(spec.decode),
    )


class PackSettings(Stage):
    packed_size: int
    """Of whole pictures."""
    grayscale: bool
    equalize: bool
    multi: bool = False
    """Whether a picture may have several classes, or none."""
    patches: Patches | None = None
    """Where the patches of a picture are; None without them."""

    @property
    def patch_side(self) -> int:
        """The side of patches in pixels."""
        return self.packed_size if self.patches is None else self.patches.side or self.packed_size


def pack(config: Config, dataset: str) -> PackSettings:
    spec = config.datasets[dataset]
    return PackSettings(
        packed_size=spec.packed_size,
        grayscale=spec.grayscale,
        equalize=spec.equalize,
        multi=is_multilabel(config, dataset),
        patches=spec.patches if spec.crop == "patches" else None,
    )


class BackboneSettings(Settings):
    """What a network is built from: architecture, input transform, and a stack's members."""

    architecture: Architecture
    transform: Transform
    experts: "dict[str, BackboneSettings] | None" = None


def backbone(config: Config, source: str) -> BackboneSettings:
    spec, experts = config.sources[source], None
    if spec.architecture == architectures.STACK:
        experts = {name: backbone(config, name) for name in spec.weights.stack or ()}
    return BackboneSettings(
        architecture=spec.architecture, transform=_transform(config, source), experts=experts
    )


class WeightsSettings(Stage):
    """What a source is; its mirrors are no part of it (see `source_mirrors`)."""

    key: str
    backbone: BackboneSettings
    weights: Weights
    sha256: str | None
    size: int | None
    allow_new: Annotated[tuple[str, ...], Field(strict=False)]


def weights(config: Config, source: str) -> WeightsSettings:
    spec = config.sources[source]
    kept = spec.weights
    if kept.url is not None:
        kept = Weights(url=("",))  # a file that the digest identifies, wherever it comes from
    return WeightsSettings(
        key=f"sources.{source}",
        backbone=backbone(config, source),
        weights=kept,
        sha256=spec.sha256,
        size=spec.size,
        allow_new=spec.allow_new,
    )


def source_mirrors(config: Config, source: str) -> dict[str, JsonValue]:
    return {"url": list(config.sources[source].weights.url or ()), "manual": None}


def _transform(config: Config, source: str) -> Transform:
    """That of the weights, with the keys that the config sets instead."""
    spec = config.sources[source]
    if spec.weights.kind == "stack":
        return PIXELS
    if spec.architecture in architectures.NAMED:
        return spec.transform
    trained = described(spec.architecture, spec.weights.torchvision).transform
    return Transform.model_validate({**trained, **spec.transform.model_dump(exclude_unset=True)})


class FeaturesSettings(NetworkStage):
    backbone: BackboneSettings
    flip: bool
    batch_size: int
    patches: Literal["single", "dense"] | None = None
    """Of the patches of each picture: one by one, or from its maps; None: of whole pictures."""


def features(config: Config, dataset: str, source: str, cut: str, split: str) -> FeaturesSettings:
    """Mirrored views are for training, where an experiment on these features mirrors pictures."""
    compute = config.compute
    flip = split == "train" and any(
        hyperparameters(config, name, mode).augment.flip
        for name, spec in config.experiments.items()
        if (spec.dataset, spec.source, spec.patches is None)
        == (dataset, source, read_cut(cut)[1] is None)
        for listed in spec.modes
        for mode in (listed, warm_up(config, name, listed))
        if mode is not None
    )
    return FeaturesSettings(
        backbone=backbone(config, source),
        flip=flip,
        patches=read_cut(cut)[1],
        **arithmetic(compute, compute.inference_precision),
        batch_size=compute.batch_size,
    )


class Preparation(Settings):
    """How pictures were prepared: a model needs it to predict others."""

    crop: CropSettings
    pack: PackSettings


class TrainSettings(NetworkStage):
    backbone: BackboneSettings
    mode: str
    cut: str
    train: Hyperparameters
    preparation: Preparation
    train_size: int | None = None
    """How many of the training samples to train on; None: all."""
    patches: OnPatches | None = None
    """How patches are drawn; None: the samples are whole pictures."""
    processes: int = 1


def train(config: Config, experiment: str, mode: str) -> TrainSettings:
    """Whether the head is warmed up is no setting: the input is there or not."""
    spec, compute = experiment_of(config, experiment), config.compute
    return TrainSettings(
        backbone=backbone(config, spec.source),
        mode=mode,
        cut=cut(config, experiment, mode),
        train=hyperparameters(config, experiment, mode),
        train_size=train_size(config, experiment),
        patches=spec.patches,
        processes=training_processes(config, mode),
        preparation=Preparation(crop=crop(config, spec.dataset), pack=pack(config, spec.dataset)),
        **arithmetic(compute, compute.training_precision),
    )


def live_tracking(config: Config) -> dict[str, JsonValue] | None:
    """The server to which training logs live, if there is one; no part of what it computes."""
    mlflow = config.mlflow
    if not mlflow.tracking_uri.startswith(SERVERS):
        return None
    return {"tracking_uri": mlflow.tracking_uri, "name": mlflow.experiment}


class EvaluateSettings(NetworkStage):
    backbone: BackboneSettings
    resamples: int
    level: int | float
    seed: int


def evaluate(config: Config, experiment: str) -> EvaluateSettings:
    compute, source = config.compute, experiment_of(config, experiment).source
    return EvaluateSettings(
        backbone=backbone(config, source),
        resamples=config.evaluate.resamples,
        level=config.evaluate.level,
        seed=config.evaluate.seed,
        **arithmetic(compute, compute.evaluation),
    )


class CompareSettings(Stage, Comparison):
    """The metric, and how its intervals are computed."""


def compare(config: Config, experiment: str) -> CompareSettings:
    return CompareSettings(**dict(comparison(config, experiment)))


class PredictSettings(NetworkStage):
    pictures: str
    pictures_sha256: str
    model: str
    model_sha256: str | None
    batch_size: int
    heif: str | None = None


def predict(config: Config, pictures: str, model: str | None) -> PredictSettings:
    """`pictures` and `model` are the digests of the folder and of the model file, if any."""
    asked, compute = config.predict, config.compute
    assert asked is not None
    return PredictSettings(
        pictures=asked.pictures,
        pictures_sha256=pictures,
        model=asked.model or f"{asked.experiment}, {asked.mode}, seed {asked.seed}",
        model_sha256=model,
        **arithmetic(compute, compute.evaluation),
        batch_size=compute.batch_size,
        heif=heif(),
    )


class ExportSettings(Stage):
    backbone: BackboneSettings


def export(config: Config, experiment: str) -> ExportSettings:
    return ExportSettings(backbone=backbone(config, experiment_of(config, experiment).source))
