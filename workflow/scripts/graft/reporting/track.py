"""Tracking: an experiment's results as runs of MLflow (see `runs`).

Nothing depends on what is recorded. Recording again updates the runs of the same recipes; results
from the store are recorded like any other, at the times of their own training. Runs of older
recipes stay, with `graft.current` false.

Every experiment and mode has the metrics `test_<metric>` and, at the chosen epoch,
`best_val_<metric>`; `test_<metric>/<mode>` of a parent is the mean over the seeds.
"""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from graft.config.reports import TrackSettings
from graft.core.errors import GraftError
from graft.core.files import digest
from graft.evaluation.metrics import over_seeds, scaled
from graft.reporting import results as experiments
from graft.reporting import tables
from graft.reporting.inputs import Input, of_run, shape_of
from graft.reporting.logged_models import Model, Models
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
    milliseconds,
    mlflow_module,
    valid_name,
    without_secrets,
)

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Metric, Run

DESCRIPTION = "mlflow.note.content"  # MLflow's own tag, in Markdown
LONGEST_PARAM, LONGEST_TAG = 6000, 8000  # characters, see mlflow/utils/validation.py


Children = Mapping[str, tuple[str, "Record"]]
"""`[<variant>/]<mode>/<seed>` -> the digest of the recipe, and the run."""

MEASURED_ON = {"test_": "test", "best_val_": "validation"}
"""Beginning of a metric's name -> use of the data set that it was measured on."""


@dataclass(frozen=True)
class Record:
    """What is recorded in a run.

    params, tags, metrics: may be nested; names are joined by dots.
    history: one row per epoch: integer column `epoch`, numeric columns to record; other columns,
        and values that are not finite, are left out.
    files: folder in the run ("" for its root) -> files. They are written again each time.
    times: when it began and ended, in seconds since 1970; None: now.
    inputs: what it was made from. model: what it made.
    """

    params: Mapping = field(default_factory=dict)
    tags: Mapping = field(default_factory=dict)
    metrics: Mapping = field(default_factory=dict)
    history: pd.DataFrame | None = None
    files: Mapping[str, Sequence[str | os.PathLike]] = field(default_factory=dict)
    times: tuple[float, float] | None = None
    inputs: Sequence[Input] = ()
    model: Model | None = None


def parent(results: Results, settings: TrackSettings, plots: Sequence[Path]) -> Record:
    """The parent run: what was compared, and the result."""
    means = {
        f"test_{name}/{mode}": summed["mean"]
        for mode in results.modes
        for name, summed in over_seeds(
            list(results.of(mode, results.metrics).values()), tables.METRICS
        ).items()
        if summed["mean"] is not None
    }
    verdicts = [pair["verdict"] for pair in results.comparison["pairs"]]
    return Record(
        params=settings.model_dump(mode="json", include={"dataset", "source", "modes", "seeds"}),
        metrics=means,
        tags={DESCRIPTION: "\n".join(f"- {verdict}" for verdict in verdicts)},
        files={"plots": plots},
    )


def children(results: Results, settings: TrackSettings) -> dict[str, tuple[str, Record]]:
    """The child runs, by name: `<mode>/<seed>`, after `train_<n>/` for a size."""
    children = {}
    for run, fit in results.fits.items():
        _, *variant = experiments.wildcard(fit, "experiment").split("/")
        name = "/".join([*variant, run[0], str(run[1])])
        children[name] = (
            fit["seal"]["identity"],
            _child(results, run, settings),
        )
    return children


def _child(results: Results, run: experiments.Run, settings: TrackSettings) -> Record:
    fit, measured, history = results.fits[run], results.metrics[run], results.histories[run]
    seal = fit["seal"]
    began = datetime.fromisoformat(seal["run"]["started"]).timestamp()
    chosen = history[history["epoch"] == fit["best_epoch"]].filter(like="val_")
    best: dict = next(iter(chosen.to_dict("records")), {})
    made, model = None, results.predictions[run].with_name("model.safetensors")
    if settings.log_models:
        made = Model(model, seal["outputs"]["model"]["sha256"], shape_of(fit), fit["classes"])
    return Record(
        params={
            "dataset": settings.dataset,
            "source": settings.source,
            **seal["recipe"]["settings"],
            "seed": run[1],
            "chosen": fit["chosen"],
        },
        metrics={
            **{f"test_{name}": measured[name] for name in tables.METRICS if name in measured},
            **{f"test_{name}": value for name, value in scaled(measured).items()},
            "test_majority_baseline": measured["majority_baseline"],
            **{f"best_{name}": value for name, value in best.items()},
            "best_epoch": fit["best_epoch"],
            "seconds": seal["run"]["seconds"],
            "peak_memory_mb": seal["run"]["peak_memory_mb"],
        },
        history=history,
        files={"": [results.predictions[run]]},
        times=(began, began + seal["run"]["seconds"]),
        inputs=of_run(fit, measured, settings.dataset, settings.source),
        model=made,
    )


def record(runs: Runs, experiment: str, parent: Record, children: Children) -> dict[str, Any]:
    """Record an experiment, or bring its runs up to date.

    A parent is identified by its parameters, a child by its recipe. Only what is missing or changed
    is written. All other runs of the experiment stay where they are and are no longer current. The
    parent lasts from the beginning of the first child to the end of the last one, and has the
    inputs of all.

    Returns a JSON-safe dict: `experiment_id`, `parent_run_id`, `children` (name to run id),
    `models` (name to the id of the logged model, if there is one), `tracking_uri` (without
    credentials).
    """
    if "'" in experiment:
        raise GraftError(f"experiments.{experiment}: MLflow refuses the apostrophe. Leave it out.")
    params = _params(parent.params)
    with runs.errors(), runs.lock():
        parent = _around(parent, [child for _, child in children.values()])
        top = runs.parent(experiment, params, started=parent.times and parent.times[0])
        top_id, logged = top.info.run_id, Models(runs)
        ids: dict[str, str] = {}
        models: dict[str, str] = {}
        for name, (recipe, child) in children.items():
            run = runs.child(
                experiment, name, recipe, top_id, started=child.times and child.times[0]
            )
            ids[name] = run.info.run_id
            model = None
            if child.model is not None:
                model = logged.log(run, f"{experiment}/{name}", child.model, _params(child.params))
                models[name] = model.model_id
            _write(runs, run, child, {PARENT: top_id, CURRENT: "true"}, model)
        _write(runs, top, parent, {RECIPE: digest(params), CURRENT: "true"})
        for run in [*runs.find(KEY, experiment), *runs.find(EXPERIMENT, experiment)]:
            if run.info.run_id not in {top_id, *ids.values()}:
                runs.client.set_tag(run.info.run_id, CURRENT, "false")
        return {
            "experiment_id": runs.experiment_id(),
            "parent_run_id": top_id,
            "children": ids,
            "models": models,
            "tracking_uri": without_secrets(runs.tracking_uri),
        }


def _around(parent: Record, children: Sequence[Record]) -> Record:
    """The parent from the first beginning to the last end, with the inputs of all."""
    times = [child.times for child in children if child.times is not None]
    lasted = (min(began for began, _ in times), max(end for _, end in times)) if times else None
    inputs = {item.digest: item for child in children for item in child.inputs}
    return replace(parent, times=lasted, inputs=list(inputs.values()))


def _write(
    runs: Runs,
    run: "Run",
    content: Record,
    own_tags: Mapping[str, str],
    model: "LoggedModel | None" = None,
) -> None:
    """Log what the run does not have yet, or has with another value, and finish it."""
    entities, run_id = mlflow_module().entities, run.info.run_id
    tags = {**_tags(content.tags), **own_tags}
    logged = {item.dataset.digest for item in run.inputs.dataset_inputs} if run.inputs else set()
    if inputs := [item.to_mlflow() for item in content.inputs if item.digest not in logged]:
        runs.client.log_inputs(run_id, inputs)
    runs.client.log_batch(
        run_id,
        metrics=_metrics(runs, run, content, model),
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
    ended = max(_ended(content), run.info.start_time)
    lasts_longer = PARENT not in tags and content.times and run.info.end_time != ended
    if run.info.status != "FINISHED" or lasts_longer:
        runs.client.set_terminated(run_id, "FINISHED", ended)


def _ended(content: Record) -> int:
    return milliseconds(time.time() if content.times is None else content.times[1])


def _metrics(
    runs: Runs, run: "Run", content: Record, model: "LoggedModel | None"
) -> list["Metric"]:
    """The numbers, and those of the history at its epochs, that the run does not have yet.

    Those that were measured with the run's model are the model's as well.
    """
    entities, ended, now = mlflow_module().entities, _ended(content), milliseconds(time.time())
    has, models_own = run.data.metrics, _metrics_of(model)
    data = {item.use: item for item in content.inputs}
    rows, summary = [], finite(content.metrics)
    for name, value in summary.items():
        use = next((use for prefix, use in MEASURED_ON.items() if name.startswith(prefix)), "")
        measured, on = model if use else None, data.get(use)
        if has.get(name) == value and (measured is None or models_own.get(name) == value):
            continue
        rows.append(
            entities.Metric(
                name,
                value,
                now if name in has else ended,  # of several values, MLflow shows the latest
                0,
                model_id=measured and measured.model_id,
                dataset_name=on and on.name,
                dataset_digest=on and on.digest,
            )
        )
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
            entities.Metric(name, float(value), ended, int(step))
            for step, value in zip(content.history["epoch"], columns[column], strict=True)
            if math.isfinite(value) and int(step) not in logged
        ]
    return rows


def _metrics_of(model: "LoggedModel | None") -> dict[str, float]:
    return {metric.key: metric.value for metric in (model and model.metrics) or ()}


def _text(value: object) -> str:
    """A text or path unchanged; anything else as JSON."""
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    return json.dumps(value, default=str)


def _params(nested: Mapping) -> dict[str, str]:
    return {valid_name(name): _text(value)[:LONGEST_PARAM] for name, value in flat(nested)}


def _tags(nested: Mapping) -> dict[str, str]:
    return {name[:LONGEST_NAME]: _text(value)[:LONGEST_TAG] for name, value in flat(nested)}
