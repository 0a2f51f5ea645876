"""The settings of the stages that show results, typed as those of the others (see `stages`)."""

from typing import Annotated

from pydantic import Field

from graft.config.models import Config, Evaluate, PublishedFigure
from graft.config.stages import Stage, StructureSettings, structure
from graft.config.types import Settings


class PlotsSettings(Stage):
    title: str
    select: str


def plots(config: Config, experiment: str) -> PlotsSettings:
    spec = config.experiments[experiment]
    return PlotsSettings(title=spec.title or experiment, select=spec.train.select)


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
    evaluate: Evaluate


def overview(config: Config, name: str) -> OverviewSettings:
    spec = config.overviews[name]
    return OverviewSettings(
        title=spec.title or name,
        experiments=tuple(_shown(config, experiment) for experiment in spec.experiments),
        published=spec.published,
        evaluate=config.evaluate,
    )


def _shown(config: Config, experiment: str) -> ShownExperiment:
    spec = config.experiments[experiment]
    return ShownExperiment(
        name=experiment,
        title=spec.title or experiment,
        source=spec.source,
        dataset=structure(config, spec.dataset),
    )
