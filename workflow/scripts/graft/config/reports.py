"""The settings of the stages that show results, typed as those of the others (see `stages`)."""

from typing import Annotated

from pydantic import Field

from graft.config import plan
from graft.config.models import Config
from graft.config.overviews import PublishedFigure
from graft.config.stages import (
    CompareSettings,
    NetworkStage,
    Stage,
    StructureSettings,
    arithmetic,
    structure,
)
from graft.config.types import Reproducible, Settings, Texts


class LabelsSettings(CompareSettings):
    """The metric, and how its intervals are computed, at every size of the training set."""


def labels(config: Config, experiment: str) -> LabelsSettings:
    return LabelsSettings(**dict(plan.comparison(config, experiment)))


class HeatMapsSettings(NetworkStage):
    """The arithmetic of the network, as in evaluation."""


def heat_maps(config: Config, experiment: str) -> HeatMapsSettings:
    assert plan.experiment_of(config, experiment).patches is not None
    return HeatMapsSettings(**arithmetic(config.compute, config.compute.evaluation))


class PlotsSettings(Stage):
    title: str
    select: str
    target: bool = True
    """False of a source task: an experiment that another one starts from."""


def plots(config: Config, experiment: str) -> PlotsSettings:
    spec = config.experiments[experiment]
    return PlotsSettings(
        title=spec.title or experiment,
        select=plan.hyperparameters(config, experiment, spec.modes[0]).select,
        target=experiment in plan.targets(config),
    )


class ShownExperiment(Settings):
    """What an overview shows of an experiment that its fits do not hold."""

    name: str
    title: str
    source: str
    dataset: StructureSettings


class OverviewSettings(Stage):
    title: str
    experiments: Annotated[tuple[ShownExperiment, ...], Field(strict=False)]
    published: Annotated[tuple[PublishedFigure, ...], Field(strict=False)]
    evaluate: plan.Comparison


def overview(config: Config, name: str) -> OverviewSettings:
    spec = config.overviews[name]
    return OverviewSettings(
        title=spec.title or name,
        experiments=tuple(
            _shown(config, size)
            for experiment in spec.experiments
            for size in (*plan.sizes(config, experiment), experiment)
        ),
        published=spec.published,
        evaluate=plan.comparison(config, spec.experiments[0]),
    )


def _shown(config: Config, experiment: str) -> ShownExperiment:
    spec, size = plan.experiment_of(config, experiment), plan.train_size(config, experiment)
    title = spec.title or experiment.partition("/")[0]
    return ShownExperiment(
        name=experiment,
        title=title if size is None else f"{title}, {size:,} training samples",
        source=spec.source,
        dataset=structure(config, spec.dataset),
    )


class ReportedExperiment(Settings):
    """What the report shows of an experiment that its results do not hold."""

    name: str
    title: str
    dataset: str
    source: str
    target: bool
    """False of a source task: an experiment that another one starts from."""


class ReportSettings(Stage):
    experiments: Annotated[tuple[ReportedExperiment, ...], Field(strict=False)]
    captions: dict[str, str]
    """Figure -> what stands below it."""
    reproducible: Reproducible


def report(config: Config, captions: dict[str, str]) -> ReportSettings:
    """The experiments stand in the order of `run`, source tasks after those that need them."""
    targets = plan.targets(config)
    return ReportSettings(
        experiments=tuple(
            ReportedExperiment(
                name=name,
                title=config.experiments[name].title or name,
                dataset=config.experiments[name].dataset,
                source=config.experiments[name].source,
                target=name in targets,
            )
            for name in sorted(plan.experiments(config), key=lambda name: name not in targets)
        ),
        captions=captions,
        reproducible=config.compute.reproducible,
    )


class TrackSettings(Stage):
    tracking_uri: str
    experiment: str
    log_models: bool
    dataset: str
    source: str
    modes: Texts
    seeds: Annotated[tuple[int, ...], Field(strict=False)]


def track(config: Config, experiment: str) -> TrackSettings:
    spec, mlflow = config.experiments[experiment], config.mlflow
    return TrackSettings(
        tracking_uri=mlflow.tracking_uri,
        experiment=mlflow.experiment,
        log_models=mlflow.log_models,
        dataset=spec.dataset,
        source=spec.source,
        modes=spec.modes,
        seeds=spec.seeds,
    )
