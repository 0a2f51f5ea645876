"""MLflow as a ledger: what the workflow made is written down there, and nothing depends on it.

One Graft experiment is one parent run, each of its modes and seeds a child run. Runs are found
again by the tag `graft.key` (`<experiment>`, or `<experiment>/<mode>/<seed>`), so recording
twice updates what is there, and a result that came out of the cache is recorded like any other.

MLflow is imported on first use: that takes more than a second.
"""

import contextlib
import fcntl
import json
import math
import numbers
import os
import posixpath
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from graft.core.errors import GraftError

KEY = "graft.key"  # the tag that finds a run again
EXPERIMENT = "graft.experiment"  # the tag that finds all children of an experiment
RECIPE = "graft.recipe"  # the tag that tells whether a run is out of date
PARENT = "mlflow.parentRunId"  # MLflow's own tag for nested runs
SQLITE = "sqlite:///"

# The limits of MLflow 3 (mlflow/utils/validation.py), in characters.
LONGEST_NAME = 250
LONGEST_PARAM = 6000
LONGEST_TAG = 8000
MOST_RUNS = 50_000  # that one search may return


@dataclass(frozen=True)
class ChildRun:
    """What is recorded of one mode and seed.

    recipe: digest of everything that the result depends on.
    params, tags, metrics: may be nested; names are joined by dots.
    history: one row per epoch: integer column `epoch`, numeric columns to record; other
        columns, and values that are not finite, are left out.
    model: model file, recorded under `model/`.
    artifacts: further files or folders.
    """

    mode: str
    seed: int
    recipe: str
    params: Mapping = field(default_factory=dict)
    tags: Mapping = field(default_factory=dict)
    metrics: Mapping = field(default_factory=dict)
    history: pd.DataFrame | None = None
    model: str | os.PathLike | None = None
    artifacts: Sequence[str | os.PathLike] = ()


def _mlflow():
    """MLflow, told to send no telemetry, to print no addresses and not to wait for the dead."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    import mlflow  # noqa: PLC0415
    import mlflow.entities  # noqa: PLC0415

    return mlflow


def _without_secrets(text: str) -> str:
    """A text in which no URI has a user, a password or a query."""
    return re.sub(r"(?<=://)[^/\s]*@|\?\S*", "", text)


def _in_brief(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _without_secrets(line)[:200]


def _flat(nested: Mapping, above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _name(name: str) -> str:
    """The nearest name that MLflow takes for a parameter or metric."""
    name = re.sub(r"[^/\w.\- :]", "_", str(name))[:LONGEST_NAME]
    if posixpath.normpath(name) != name or name.startswith(("/", "..")) or name == ".":
        name = name.replace("/", "_").replace("..", "__").rstrip(".") or "_"
    return name


def _text(value) -> str:
    """A text or path as it is; anything else as JSON, NumPy's scalars and arrays included."""
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    return json.dumps(value, default=lambda odd: getattr(odd, "tolist", odd.__str__)())


def _params(nested: Mapping) -> dict[str, str]:
    return {_name(name): _text(value)[:LONGEST_PARAM] for name, value in _flat(nested)}


def _tags(nested: Mapping) -> dict[str, str]:
    return {name[:LONGEST_NAME]: _text(value)[:LONGEST_TAG] for name, value in _flat(nested)}


def _metrics(nested: Mapping) -> dict[str, float]:
    """The finite numbers; lists, texts and None are not metrics."""
    return {
        _name(name): float(value)
        for name, value in _flat(nested)
        if isinstance(value, numbers.Real) and math.isfinite(value)
    }


class Ledger:
    """The MLflow experiment in which a workflow writes down its results.

    tracking_uri: `sqlite:///<path>` (a relative path starts from the working directory; folder
        and database are made), `http(s)://...` of a tracking server, or another database.
    artifact_root: where files are recorded. None: beside the sqlite file in `artifacts`, or
        wherever the tracking server says.
    name: the MLflow experiment.

    Raises GraftError if the ledger cannot be used, here or in `record_experiment`.
    """

    def __init__(self, tracking_uri: str, artifact_root: str | None = None, *, name="graft"):
        self.tracking_uri = tracking_uri
        self._name = name
        self._id = None
        self._database = None
        self._artifacts = artifact_root
        if tracking_uri.startswith(SQLITE):
            path, _, query = tracking_uri.removeprefix(SQLITE).partition("?")
            self._database = Path(path).absolute()
            self._artifacts = artifact_root or str(self._database.parent / "artifacts")
            tracking_uri = f"{SQLITE}{self._database}" + (f"?{query}" if query else "")
        elif not tracking_uri.startswith(("http://", "https://")) and artifact_root is None:
            raise GraftError(
                f"the tracking URI {_without_secrets(tracking_uri)} is neither sqlite:///<path> "
                "nor a tracking server (http or https), so say where artifacts go, too"
            )
        if self._database and "://" not in self._artifacts:
            self._artifacts = str(Path(self._artifacts).absolute())
        with self._clear_errors(), self._alone():
            # This also makes the tables of a fresh database.
            self._client = _mlflow().MlflowClient(tracking_uri, registry_uri=tracking_uri)

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        failures = (_mlflow().MlflowException, SQLAlchemyError, ImportError, OSError)
        try:
            yield
        except failures as error:
            raise GraftError(
                f"the MLflow ledger at {_without_secrets(self.tracking_uri)} cannot be used: "
                f"{_in_brief(error)}; see to it and start the track stage again"
            ) from error

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of a sqlite ledger: making tables and finding runs again need it."""
        if self._database is None:
            yield
            return
        self._database.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{self._database}.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def record_experiment(
        self, name: str, *, parent: Mapping, children: Iterable[ChildRun]
    ) -> dict:
        """Record an experiment of the workflow, or bring its record up to date.

        parent: any of `params`, `tags`, `metrics` (mappings, may be nested), `plots` (files,
            recorded under `plots/`), `artifacts` (files or folders).

        A run whose recipe (for a parent: parameters) changed is deleted as MLflow deletes,
        restorably, and made anew under the same key. Otherwise only what is missing or
        changed is written; files are written again. Children that are not listed stay.

        Returns a JSON-safe dict: `experiment_id`, `parent_run_id`, `children` (`<mode>/<seed>`
        to run id), `tracking_uri` (without credentials).
        """
        if odd := set(parent) - {"params", "tags", "metrics", "plots", "artifacts"}:
            raise ValueError(f"unknown part of a parent run: {sorted(odd)}")
        with self._clear_errors(), self._alone():
            parent_id = self._run(name, name, params=_params(parent.get("params", {}))).info.run_id
            ids = {}
            for child in children:
                run = self._child(
                    name, child.mode, child.seed, child.recipe, parent_id=parent_id, child=child
                )
                ids[f"{child.mode}/{child.seed}"] = run.info.run_id
                self._update(run, child.tags, child.metrics, child.history)
                self._store(run, child.artifacts)
                self._store(run, [] if child.model is None else [child.model], "model")
                self._finish(run)
            for run in self._find(EXPERIMENT, name):
                if run.data.tags.get(PARENT) != parent_id:
                    self._client.set_tag(run.info.run_id, PARENT, parent_id)
            run = self._client.get_run(parent_id)
            self._update(run, parent.get("tags", {}), parent.get("metrics", {}), None)
            self._store(run, parent.get("artifacts", ()))
            self._store(run, parent.get("plots", ()), "plots")
            self._finish(run)
        return {
            "experiment_id": self._experiment_id(),
            "parent_run_id": parent_id,
            "children": ids,
            "tracking_uri": _without_secrets(self.tracking_uri),
        }

    def _experiment_id(self) -> str:
        if self._id is None:
            experiment = self._client.get_experiment_by_name(self._name)
            if experiment is None:
                location = f"{self._artifacts}/{self._name}" if self._artifacts else None
                try:
                    self._id = self._client.create_experiment(self._name, location)
                    return self._id
                except _mlflow().MlflowException:  # somebody made it meanwhile
                    experiment = self._client.get_experiment_by_name(self._name)
                    if experiment is None:
                        raise
            if experiment.lifecycle_stage != "active":
                raise GraftError(
                    f"the MLflow experiment {self._name!r} has been deleted: restore it with "
                    f"`mlflow experiments restore -x {experiment.experiment_id}`"
                )
            self._id = experiment.experiment_id
        return self._id

    def _find(self, tag: str, value: str) -> list:
        """The active runs with a tag, oldest first."""
        if "'" in value:
            raise GraftError(f"{value!r} cannot be recorded in MLflow: leave out the apostrophe")
        runs = self._client.search_runs(
            [self._experiment_id()], f"tags.`{tag}` = '{value}'", max_results=MOST_RUNS
        )
        return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))

    def _run(
        self,
        key: str,
        name: str,
        *,
        recipe: str | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ):
        """The one active run under a key: found, replaced if out of date, or made.

        A `recipe` or `params` of None fits any.
        """

        def fits(run) -> bool:
            found = run.data.params
            return (recipe is None or run.data.tags.get(RECIPE) == recipe) and (
                params is None or all(params.get(name) == found[name] for name in found)
            )

        runs = self._find(KEY, key)
        run = next(filter(fits, runs), None)
        for other in runs:
            if other is not run:
                self._client.delete_run(other.info.run_id)
        if run is None:
            about = {KEY: key} | ({} if recipe is None else {RECIPE: recipe}) | dict(tags or {})
            made = self._client.create_run(self._experiment_id(), tags=about, run_name=name)
            # Jobs that train side by side may all have made it: the first one counts.
            run = self._find(KEY, key)[0]
            if run.info.run_id != made.info.run_id:
                self._client.delete_run(made.info.run_id)
        missing = {
            name: text for name, text in (params or {}).items() if name not in run.data.params
        }
        entities = _mlflow().entities
        self._client.log_batch(
            run.info.run_id, params=[entities.Param(*param) for param in missing.items()]
        )
        return run

    def _child(
        self,
        experiment: str,
        mode: str,
        seed: int,
        recipe: str,
        *,
        parent_id: str,
        child: ChildRun | None = None,
    ):
        return self._run(
            f"{experiment}/{mode}/{seed}",
            f"{mode}/{seed}",
            recipe=recipe,
            params=None if child is None else _params(child.params),
            tags={EXPERIMENT: experiment, PARENT: parent_id},
        )

    def _update(self, run, tags: Mapping, metrics: Mapping, history: pd.DataFrame | None) -> None:
        """Log the tags and metrics that `run` has not got, or has with another value."""
        entities = _mlflow().entities
        now = int(time.time() * 1000)
        summary = _metrics(metrics)
        rows = [
            entities.Metric(name, value, now, 0)
            for name, value in summary.items()
            if run.data.metrics.get(name) != value
        ]
        if history is not None:
            columns = history.drop(columns="epoch").select_dtypes("number")
            for column in columns:
                name = _name(column)
                if name in summary:
                    raise GraftError(
                        f"{name!r} is both a summary metric and a column of the history of run "
                        f"{run.info.run_name}: rename one of them"
                    )
                known = self._steps(run, name)
                rows += [
                    entities.Metric(name, float(value), now, int(step))
                    for step, value in zip(history["epoch"], columns[column], strict=True)
                    if math.isfinite(value) and int(step) not in known
                ]
        changed = {
            name: text for name, text in _tags(tags).items() if run.data.tags.get(name) != text
        }
        self._client.log_batch(
            run.info.run_id,
            metrics=rows,
            tags=[entities.RunTag(*tag) for tag in changed.items()],
        )

    def _steps(self, run, name: str) -> set[int]:
        """The steps at which `run` has a metric."""
        if name not in run.data.metrics:
            return set()
        return {row.step for row in self._client.get_metric_history(run.info.run_id, name)}

    def _store(self, run, paths: Iterable[str | os.PathLike], folder: str | None = None) -> None:
        for path in paths:
            if not Path(path).exists():
                raise GraftError(f"{path} does not exist, so it cannot be recorded in MLflow")
            self._client.log_artifact(run.info.run_id, os.fspath(path), folder)

    def _finish(self, run) -> None:
        if run.info.status != "FINISHED":
            self._client.set_terminated(run.info.run_id, "FINISHED")


class LiveRun:
    """A child run that grows while it trains, where a tracking server is configured.

    A convenience: without a server, or when it goes away, every call does nothing, after one
    line of warning. `Ledger.record_experiment` finds the same run and adds what it lacks.
    As a context manager it closes itself.
    """

    def __init__(self):
        self.run_id: str | None = None  # None: nothing is logged (any more)
        self._ledger: Ledger | None = None
        self._known: dict[str, set[int]] = {}

    @classmethod
    def open(
        cls,
        tracking_uri: str | None,
        experiment: str,
        mode: str,
        seed: int,
        recipe_digest: str,
        *,
        name: str = "graft",
    ) -> "LiveRun":
        """Find or make the child run, and its parent, on an http(s) tracking server.

        A run of another recipe is replaced; one of the same recipe goes on, as after a
        training that was killed. `name` is the MLflow experiment. Never raises.
        """
        live = cls()
        if tracking_uri is None or not tracking_uri.startswith(("http://", "https://")):
            return live
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")  # seconds
        with live._or_carry_on(tracking_uri):
            ledger = Ledger(tracking_uri, name=name)
            parent = ledger._run(experiment, experiment)
            run = ledger._child(experiment, mode, seed, recipe_digest, parent_id=parent.info.run_id)
            if run.info.status != "RUNNING":
                ledger._client.update_run(run.info.run_id, "RUNNING")
            live._known = {metric: ledger._steps(run, metric) for metric in run.data.metrics}
            live._ledger, live.run_id = ledger, run.info.run_id
        return live

    @contextlib.contextmanager
    def _or_carry_on(self, tracking_uri: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever it is, training goes on
            self.run_id = None
            print(
                f"warning: the MLflow server at {_without_secrets(tracking_uri)} does not take "
                f"live metrics ({_in_brief(error)}); training carries on without it",
                file=sys.stderr,
            )

    def log_epoch(self, step: int, metrics: Mapping) -> None:
        """Log the finite numbers of one epoch; steps that are there already stay as they are."""
        if self.run_id is None:
            return
        with self._or_carry_on(self._ledger.tracking_uri):
            now = int(time.time() * 1000)
            rows = [
                _mlflow().entities.Metric(name, value, now, step)
                for name, value in _metrics(metrics).items()
                if step not in self._known.setdefault(name, set())
            ]
            self._ledger._client.log_batch(self.run_id, metrics=rows)
            for row in rows:
                self._known[row.key].add(step)

    def close(self, status: str = "FINISHED") -> None:
        """Mark the run as `FINISHED`, `FAILED` or `KILLED` and log nothing more."""
        if self.run_id is None:
            return
        with self._or_carry_on(self._ledger.tracking_uri):
            self._ledger._client.set_terminated(self.run_id, status)
        self.run_id = None

    def __enter__(self) -> "LiveRun":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close("FINISHED" if kind is None else "FAILED")
