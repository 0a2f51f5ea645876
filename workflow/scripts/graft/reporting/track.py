"""Tracking: an experiment's results as runs of MLflow (see `runs`).

Nothing depends on what is recorded. Recording again updates the runs of the same recipes; results
from the store are recorded like any other. Runs of older recipes stay, with `graft.current` false.
"""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from graft.config.stages import TrackSettings
from graft.core.errors import GraftError
from graft.core.files import digest
from graft.evaluation.metrics import METRICS, scaled
from graft.reporting import results as experiments
from graft.reporting.results import Results
from graft.reporting.runs import (
    CURRENT,
    EXPERIMENT,
    KEY,
    LONGEST_NAME,
    PARENT,
    RECIPE,
    Runs,
    finite,
    flat,
    mlflow_module,
    valid_name,
    without_secrets,
)

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

LONGEST_PARAM, LONGEST_TAG = 6000, 8000  # characters, see mlflow/utils/validation.py


@dataclass(frozen=True)
class Record:
    """What is recorded in a run.

    params, tags, metrics: may be nested; names are joined by dots.
    history: one row per epoch: integer column `epoch`, numeric columns to record; other columns,
        and values that are not finite, are left out.
    files: folder in the run ("" for its root) -> files. They are written again each time.
    """

    params: Mapping = field(default_factory=dict)
    tags: Mapping = field(default_factory=dict)
    metrics: Mapping = field(default_factory=dict)
    history: pd.DataFrame | None = None
    files: Mapping[str, Sequence[str | os.PathLike]] = field(default_factory=dict)


def parent(results: Results, settings: TrackSettings, plots: Sequence[Path]) -> Record:
    """The parent run: what was compared, and the result."""
    compared = results.comparison
    return Record(
        params=settings.model_dump(mode="json", include={"dataset", "source", "modes", "seeds"}),
        metrics={
            f"test_{compared['metric']}.{mode}": figures["mean"]
            for mode, figures in compared["modes"].items()
        },
        tags={"verdicts": "; ".join(pair["verdict"] for pair in compared["pairs"])},
        files={"plots": plots},
    )


def children(
    results: Results, models: Mapping[experiments.Run, Path]
) -> dict[experiments.Run, tuple[str, Record]]:
    """(mode, seed) -> the recipe's digest and the child run; `models` are the files to record."""
    return {
        run: (fit["seal"]["identity"], _child(results, run, [models[run]] if run in models else []))
        for run, fit in results.fits.items()
    }


def _child(results: Results, run: experiments.Run, models: Sequence[Path]) -> Record:
    fit, measured = results.fits[run], results.metrics[run]
    seal = fit["seal"]
    return Record(
        params={**seal["recipe"]["settings"], "seed": run[1], "chosen": fit["chosen"]},
        metrics={
            **{f"test_{name}": measured[name] for name in METRICS},
            **{f"test_{name}": value for name, value in scaled(measured).items()},
            "test_majority_baseline": measured["majority_baseline"],
            "best_epoch": fit["best_epoch"],
            "seconds": seal["run"]["seconds"],
            "peak_memory_mb": seal["run"]["peak_memory_mb"],
        },
        history=results.histories[run],
        files={"": [results.predictions[run]], "model": models},
    )


def record(
    runs: Runs,
    experiment: str,
    parent: Record,
    children: Mapping[experiments.Run, tuple[str, Record]],
) -> dict[str, Any]:
    """Record an experiment, or bring its runs up to date.

    A parent is identified by its parameters, a child by its recipe. Only what is missing or changed
    is written. All other runs of the experiment stay where they are and are no longer current.

    Returns a JSON-safe dict: `experiment_id`, `parent_run_id`, `children` (`<mode>/<seed>` to run
    id), `tracking_uri` (without credentials).
    """
    if "'" in experiment:
        raise GraftError(f"experiments.{experiment}: MLflow refuses the apostrophe. Leave it out.")
    params = _params(parent.params)
    with runs.errors(), runs.lock():
        top = runs.parent(experiment, params)
        top_id = top.info.run_id
        ids: dict[str, str] = {}
        for (mode, seed), (recipe, child) in children.items():
            run = runs.child(experiment, mode, seed, recipe, top_id)
            _write(runs, run, child, {PARENT: top_id, CURRENT: "true"})
            ids[f"{mode}/{seed}"] = run.info.run_id
        _write(runs, top, parent, {RECIPE: digest(params), CURRENT: "true"})
        for run in [*runs.find(KEY, experiment), *runs.find(EXPERIMENT, experiment)]:
            if run.info.run_id not in {top_id, *ids.values()}:
                runs.client.set_tag(run.info.run_id, CURRENT, "false")
        return {
            "experiment_id": runs.experiment_id(),
            "parent_run_id": top_id,
            "children": ids,
            "tracking_uri": without_secrets(runs.tracking_uri),
        }


def _write(runs: Runs, run: "Run", content: Record, own_tags: Mapping[str, str]) -> None:
    """Log what the run does not have yet, or has with another value, and finish it."""
    entities, run_id = mlflow_module().entities, run.info.run_id
    tags = {**_tags(content.tags), **own_tags}
    runs.client.log_batch(
        run_id,
        metrics=_metrics(runs, run, content),
        params=[
            entities.Param(name, text)
            for name, text in _params(content.params).items()
            if name not in run.data.params
        ],
        tags=[
            entities.RunTag(name, text)
            for name, text in tags.items()
            if run.data.tags.get(name) != text
        ],
    )
    for folder, paths in content.files.items():
        for path in paths:
            if not Path(path).exists():
                raise GraftError(f"{path}: the file is missing, so MLflow cannot record it.")
            runs.client.log_artifact(run_id, os.fspath(path), folder or None)
    if run.info.status != "FINISHED":
        runs.client.set_terminated(run_id, "FINISHED")


def _metrics(runs: Runs, run: "Run", content: Record) -> list["Metric"]:
    """The numbers, and those of the history at its epochs, that the run does not have yet."""
    now, entities = int(time.time() * 1000), mlflow_module().entities
    summary = finite(content.metrics)
    rows = [
        entities.Metric(name, value, now, 0)
        for name, value in summary.items()
        if run.data.metrics.get(name) != value
    ]
    if content.history is None:
        return rows
    columns = content.history.drop(columns="epoch").select_dtypes("number")
    for column in columns:
        name = valid_name(str(column))
        if name in summary:
            raise GraftError(
                f"{run.info.run_name}: {name!r} is both a metric and a column of the history. "
                "Rename one of them."
            )
        logged = runs.steps(run, name)
        rows += [
            entities.Metric(name, float(value), now, int(step))
            for step, value in zip(content.history["epoch"], columns[column], strict=True)
            if math.isfinite(value) and int(step) not in logged
        ]
    return rows


def _text(value: object) -> str:
    """A text or path unchanged; anything else as JSON."""
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    return json.dumps(value, default=str)


def _params(nested: Mapping) -> dict[str, str]:
    return {valid_name(name): _text(value)[:LONGEST_PARAM] for name, value in flat(nested)}


def _tags(nested: Mapping) -> dict[str, str]:
    return {name[:LONGEST_NAME]: _text(value)[:LONGEST_TAG] for name, value in flat(nested)}
