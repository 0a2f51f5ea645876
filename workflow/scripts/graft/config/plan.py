"""What a config asks for: data sets, sources, experiments, runs, parts and cuts."""

from collections.abc import Collection
from typing import Any, Literal

from graft.config import architectures, detectors
from graft.config.datasets import Merged, Published
from graft.config.models import Augment, Config, Experiment, Head, Hyperparameters, Tune
from graft.config.sources import Weights
from graft.config.types import Settings
from graft.core.raw_names import raw_name

SPLITS = ("train", "val", "test")
OfPatches = Literal["single", "dense"]


def experiment_of(config: Config, name: str) -> Experiment:
    """An experiment by its name, or by that of one of its `sizes`."""
    return config.experiments[name.partition("/")[0]]


def sizes(config: Config, name: str) -> dict[str, int]:
    """The trainings of an experiment on a part of the samples: name -> number, ascending.

    Such a name is that of the experiment with its folder, `<experiment>/train_<number>`.
    """
    numbers = [size for size in config.experiments[name].train_sizes if size != "all"]
    return {f"{name}/train_{size}": size for size in sorted(numbers)}


def train_size(config: Config, name: str) -> int | None:
    """How many training samples a name of `sizes` stands for; None for an experiment's own."""
    base, _, part = name.partition("/")
    return sizes(config, base)[name] if part else None


def hyperparameters(config: Config, experiment: str, mode: str) -> Hyperparameters:
    """How one mode trains: the experiment's keys, overridden by the mode's own.

    Without a `tune` what is not set is tuned over the `default_grid`. A probe has no use for most
    keys, so they are left at their defaults.
    """
    training = experiment_of(config, experiment).train
    override = training.modes.get(mode)
    keys = dict.fromkeys(Hyperparameters.model_fields)
    values = training.model_dump(include=set(keys))
    given = set(training.model_fields_set)
    multilabel = is_multilabel(config, experiment_of(config, experiment).dataset)
    if override is not None:
        values = _overridden(values, override)
        given |= override.model_fields_set
    if multilabel and "select" not in given:
        values["select"] = "mean_ap"
    settings = Hyperparameters.model_validate({key: values[key] for key in keys})
    if mode in architectures.PROBES:
        kept = settings.model_dump(include={"select", "balance"})
        head, plain = Head(pool=settings.head.pool), Augment(flip=False)
        return Hyperparameters(**kept, head=head, augment=plain)
    if settings.augment.flip == "auto":
        flip = are_mirrored(config, experiment_of(config, experiment).dataset)
        augment = settings.augment.model_copy(update={"flip": flip})
        settings = settings.model_copy(update={"augment": augment})
    if "tune" in given:
        return settings
    architecture = config.sources[experiment_of(config, experiment).source].architecture
    transferred = architectures.trains_transferred(mode, architecture)
    grid = default_grid(settings.optimizer.name, given, transferred=transferred)
    return settings.model_copy(update={"tune": grid})


class Comparison(Settings):
    """The metric that runs are compared by, and how its intervals are computed."""

    metric: str
    resamples: int
    level: int | float
    seed: int


def comparison(config: Config, experiment: str) -> Comparison:
    """Where a picture may have several classes another metric is compared."""
    asked = config.evaluate.model_dump(exclude={"multilabel_metric"})
    if is_multilabel(config, experiment_of(config, experiment).dataset):
        asked["metric"] = config.evaluate.multilabel_metric
    return Comparison(**asked)


def are_mirrored(config: Config, dataset: str) -> bool:
    """Whether a data set's pictures may be mirrored without being asked (see `augment.flip`)."""
    return all(member.layout != "mnist" for member in members(config, dataset).values())


RATES = (3e-4, 1e-3, 3e-3, 1e-2)
SCALES = (0.03, 0.1, 0.3, 1.0)
BOTH = (3e-4, 1e-3), (0.1, 1.0)
TRIALS = (0.2,)
"""Grids of four candidates, and the round for them (docs/training.md has what was measured)."""

SGD_FACTOR = 10
"""How much larger the rates of SGD are than those of the adaptive optimizers."""


def default_grid(optimizer: str, given: Collection[str], *, transferred: bool) -> Tune:
    """The candidates of a mode that is not told any: of `lr` and, where the mode trains
    transferred layers, `transferred_lr_scale`, those that are not among the keys `given`."""
    tuned = {"lr", "transferred_lr_scale"} if transferred else {"lr"}
    tuned -= set(given)
    if not tuned:
        return Tune()
    rates, scales = BOTH if len(tuned) > 1 else (RATES, SCALES)
    factor = SGD_FACTOR if optimizer == "sgd" else 1
    return Tune(
        lr=tuple(float(f"{rate * factor:g}") for rate in rates) if "lr" in tuned else None,
        transferred_lr_scale=scales if "transferred_lr_scale" in tuned else None,
        trials=TRIALS,
    )


def _overridden(values: dict[str, Any], override: Settings) -> dict[str, Any]:
    """Keys that are set in `override` replace those in `values`; a `tune` replaces the grid."""
    merged = dict(values)
    for key, value in override.model_dump(exclude_unset=True).items():
        if isinstance(value, dict) and key != "tune":
            merged[key] = {**merged[key], **value}
        else:
            merged[key] = value
    return merged


def warm_up(config: Config, experiment: str, mode: str) -> str | None:
    """The mode whose trained head a mode starts from; None where its head starts random."""
    training = experiment_of(config, experiment).train
    override = training.modes.get(mode)
    wanted = training.warm_up
    if override is not None and "warm_up" in override.model_fields_set:
        wanted = override.warm_up
    return architectures.warm_up(mode) if wanted else None


def source_experiments(config: Config, source: str) -> list[str]:
    """The experiments whose models a source is made of: none, one, or those of a stack."""
    weights = config.sources[source].weights
    if weights.stack is not None:
        parents = [p for member in weights.stack for p in source_experiments(config, member)]
        return list(dict.fromkeys(parents))
    return [] if weights.experiment is None else [weights.experiment]


def ancestry(config: Config, experiment: str) -> list[str]:
    """An experiment, those that its source comes from, and so on, each once."""
    names = [experiment]
    for name in names:
        parents = source_experiments(config, config.experiments[name].source)
        names += [parent for parent in parents if parent not in names]
    return names


PART = r"(train|val|test)-(\d\d|[1-9]\d\d+)"
"""What the names of parts match: a shard has two digits, and from 100 on as many as it needs.
(Snakemake takes no braces in it.)"""


def parts(config: Config, dataset: str, *splits: str) -> list[str]:
    """The parts of a data set, `{split}-{shard}`, of the given splits (default: all), in the order
    of their numbers: train-99 comes before train-100."""
    shards = config.datasets[dataset].shards
    counts = {"train": shards.train, "val": shards.val, "test": shards.test}
    return [f"{split}-{n:02d}" for split in splits or SPLITS for n in range(counts[split])]


def members(config: Config, dataset: str) -> dict[str, Published]:
    """The data sets with files that a data set consists of, by name."""
    described = config.datasets[dataset]
    if not isinstance(described, Merged):
        return {dataset: described}
    merged = {name: config.datasets[name] for name in described.merge}
    return {name: member for name, member in merged.items() if not isinstance(member, Merged)}


def is_multilabel(config: Config, dataset: str) -> bool:
    """Whether a picture of a data set may have several classes, or none."""
    return any(member.multi for member in members(config, dataset).values())


def has_regions(config: Config, dataset: str) -> bool:
    """Whether the places of objects are published for all data sets that a data set consists of."""
    return all(member.has_regions for member in members(config, dataset).values())


def raw_files(config: Config, dataset: str) -> list[tuple[str, str]]:
    """(data set, file name under raw/) of all files, after unpacking (x.tgz becomes x.tar)."""
    return [
        (name, raw_name(file))
        for name, member in members(config, dataset).items()
        for file in member.files
    ]


def detector_files(config: Config, dataset: str) -> list[tuple[str, str]]:
    """(data set, file name under raw/) of the file that its face detector needs, if it does."""
    published = detectors.published(config.datasets[dataset])
    return [(dataset, published[0])] if published else []


def experiments(config: Config) -> list[str]:
    """The experiments to run: those that `run` lists and those that their sources come from."""
    return list(dict.fromkeys(e for name in config.run for e in ancestry(config, name)))


def targets(config: Config) -> list[str]:
    """The experiments to run that no other of them starts from: what is asked, not a means."""
    running = experiments(config)
    sources = {e for name in running for e in ancestry(config, name)[1:]}
    return [name for name in running if name not in sources]


def overviews(config: Config) -> list[str]:
    """The overviews whose experiments are all to be run."""
    running = set(experiments(config))
    return [n for n, view in config.overviews.items() if running.issuperset(view.experiments)]


def datasets(config: Config) -> list[str]:
    """The data sets that the experiments to run need."""
    return list(dict.fromkeys(config.experiments[e].dataset for e in experiments(config)))


def sources(config: Config) -> list[str]:
    """The sources that some run transfers from, each stack followed by its members."""
    used = [
        config.experiments[e].source
        for e in experiments(config)
        if any(architectures.is_transferred(mode) for mode in config.experiments[e].modes)
    ]
    return list(
        dict.fromkeys(
            name
            for source in used
            for name in (source, *(config.sources[source].weights.stack or ()))
        )
    )


def runs(config: Config, experiment: str) -> list[tuple[str, int]]:
    """The (mode, seed) pairs of an experiment."""
    listed = experiment_of(config, experiment)
    return [(mode, seed) for mode in listed.modes for seed in listed.seeds]


def training_processes(config: Config, mode: str) -> int:
    """How many processes share a training of a mode; a probe is not trained by epochs."""
    return 1 if mode in architectures.PROBES else config.compute.training_processes


def cut(config: Config, experiment: str, mode: str) -> str:
    """Where the mode's frozen prefix ends."""
    source = config.sources[experiment_of(config, experiment).source]
    pool = hyperparameters(config, experiment, mode).head.pool
    return architectures.cut(mode, source.architecture, pool)


def features_cut(config: Config, experiment: str, mode: str) -> str:
    """The name of the features that a mode reads: its `cut`, of patches `<cut>.<how computed>`."""
    patches = experiment_of(config, experiment).patches
    at = cut(config, experiment, mode)
    return at if patches is None or at == architectures.IMAGE else f"{at}.{patches.features}"


def read_cut(name: str) -> tuple[str, OfPatches | None]:
    """(cut, how features of patches are computed) of a name of `features_cut`."""
    at, _, patches = name.rpartition(".")
    known: dict[str, OfPatches] = {"single": "single", "dense": "dense"}
    return (at, known[patches]) if patches in known else (name, None)


def cuts(config: Config) -> list[tuple[str, str, str]]:
    """The (data set, source, name) triples of the features that some run reads."""
    triples = []
    for name in experiments(config):
        experiment = config.experiments[name]
        for mode in experiment.modes:
            for needed in (mode, warm_up(config, name, mode)):
                if needed and (at := features_cut(config, name, needed)) != architectures.IMAGE:
                    triples.append((experiment.dataset, experiment.source, at))
    return list(dict.fromkeys(triples))


def folders(config: Config) -> list[tuple[str, str]]:
    """(data set, file) of the files to pack from folders, for the data sets that are needed."""
    wanted = datasets(config)
    if config.predict is not None and config.predict.experiment is not None:
        for name in ancestry(config, config.predict.experiment):  # trained for it where needed
            wanted.append(config.experiments[name].dataset)
    needed = {name: m for dataset in wanted for name, m in members(config, dataset).items()}
    return [
        (name, file)
        for name, member in needed.items()
        for file, spec in member.files.items()
        if spec.folder is not None
    ]


def weight_files(config: Config) -> dict[str, str]:
    """Source -> path of the user's own file of weights, for the sources that are needed."""
    files = {name: config.sources[name].weights.file for name in sources(config)}
    return {name: file for name, file in files.items() if file is not None}


def with_weight_files(config: Config, digests: dict[str, str]) -> Config:
    """The config with users' own files of weights as published ones that have a sha256.

    digests: those of `weight_files`, by source. A sha256 that the config gives is kept, so that
    another file than the one meant is refused.
    """
    resolved = dict(config.sources)
    for name, digest in digests.items():
        source = resolved[name]
        weights = Weights(url=(str(source.weights.file),))
        update = {"weights": weights, "sha256": source.sha256 or digest}
        resolved[name] = source.model_copy(update=update)
    return config.model_copy(update={"sources": resolved})


def local_only(config: Config) -> dict[str, list[str]]:
    """Key -> paths, of needed files whose mirrors are all paths on this machine."""
    listed = {
        f"datasets.{name}.files.{file}.url": spec.url
        for dataset in datasets(config)
        for name, member in members(config, dataset).items()
        for file, spec in member.files.items()
    }
    for name in datasets(config):
        if detector_files(config, name):
            listed[f"datasets.{name}.detector.url"] = config.datasets[name].detector.url
    for name in sources(config):
        listed[f"sources.{name}.weights.url"] = config.sources[name].weights.url
    return {
        key: list(urls)
        for key, urls in listed.items()
        if urls and not any("://" in u for u in urls)
    }
