"""Runs of MLflow: searched or made by their recipe.

An experiment of the workflow is a parent run, each of its modes and seeds a child run. A run is
identified by the tags `graft.key` (`<experiment>`, or `<experiment>/<mode>/<seed>`) and
`graft.recipe`: the same recipe has the same run, another recipe has a run of its own. An experiment
that is called `<experiment>/<variant>` has its runs under the same parent.

MLflow is imported on first use: that takes more than a second.
"""

import contextlib
import math
import numbers
import os
import posixpath
import re
import time
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING

from graft.config.models import SERVERS
from graft.core.errors import GraftError
from graft.core.files import digest
from graft.reporting import ledger

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEY = "graft.key"
EXPERIMENT = "graft.experiment"  # of child runs
RECIPE = "graft.recipe"
CURRENT = "graft.current"  # "false": an older recipe of the experiment
PARENT = "mlflow.parentRunId"  # MLflow's own tag for nested runs
LONGEST_NAME = 250  # characters, see mlflow/utils/validation.py
MOST_RUNS = 50_000  # that one search may return


def mlflow_module() -> ModuleType:
    """MLflow, set to send no telemetry, to print no addresses and to wait for a server that is
    restarted: of a request it makes five more after 0, 4, 8, 16 and 32 seconds."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
    import mlflow  # noqa: PLC0415
    import mlflow.entities  # noqa: PLC0415

    return mlflow


def without_secrets(text: str) -> str:
    """The text with user, password and query removed from every URI."""
    return re.sub(r"(?<=://)[^/\s]*@|\?\S*", "", text)


def reason(error: BaseException) -> str:
    """Why a request failed: MLflow wraps the operating system's sentence in four others."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return without_secrets(line)[:200]


def milliseconds(seconds: float) -> int:
    """A time as MLflow takes it."""
    return int(seconds * 1000)


def flat(nested: Mapping, above: str = "") -> Iterator[tuple[str, object]]:
    """(dotted name, value) of nested mappings."""
    for name, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def valid_name(name: str) -> str:
    """The nearest name that MLflow accepts for a parameter or metric."""
    name = re.sub(r"[^/\w.\- :]", "_", name)[:LONGEST_NAME]
    if posixpath.normpath(name) != name or name.startswith(("/", "..")) or name == ".":
        name = name.replace("/", "_").replace("..", "__").rstrip(".") or "_"
    return name


def finite(metrics: Mapping) -> dict[str, float]:
    """The finite numbers by name; lists, texts and None are not metrics."""
    return {
        valid_name(name): float(value)
        for name, value in flat(metrics)
        if isinstance(value, numbers.Real) and math.isfinite(value)
    }


class Runs:
    """The runs of one MLflow experiment.

    tracking_uri: `sqlite:///<path>` (a relative path starts from the working directory; folder
        and database are made, files are recorded in the folder `artifacts` beside it), or
        `http(s)://...` of a tracking server, which decides where files are.
    name: the MLflow experiment.

    Raises GraftError, here and in `errors`, if MLflow cannot be used.
    """

    def __init__(self, tracking_uri: str, *, name: str = "graft"):
        self.tracking_uri = tracking_uri
        self._name = name
        self._id: str | None = None
        self._database = ledger.path_of(tracking_uri)
        if self._database is not None:
            query = tracking_uri.partition("?")[2]
            tracking_uri = f"{ledger.SQLITE}{self._database}" + (f"?{query}" if query else "")
        elif not tracking_uri.startswith(SERVERS):
            raise GraftError(
                f"mlflow.tracking_uri is {without_secrets(tracking_uri)!r}. Give sqlite:///<path> "
                "or the http(s) address of a tracking server."
            )
        with self.errors(), self.lock():
            if self._database is not None:
                ledger.move_places(self._database)
            # This also makes the tables of a new database.
            mlflow = mlflow_module()
            self.client: MlflowClient = mlflow.MlflowClient(tracking_uri, registry_uri=tracking_uri)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Errors of MLflow as GraftError."""
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        try:
            yield
        except (mlflow_module().MlflowException, SQLAlchemyError, ImportError, OSError) as error:
            raise GraftError(
                f"mlflow.tracking_uri: {without_secrets(self.tracking_uri)} cannot be used "
                f"({reason(error)}). Correct the address, the server or its credentials, then run "
                "again: the results are complete, and `track` adds what MLflow does not have."
            ) from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of a sqlite database: one process at a time makes tables and runs."""
        with contextlib.nullcontext() if self._database is None else ledger.lock(self._database):
            yield

    def experiment_id(self) -> str:
        if self._id is None:
            experiment = self.client.get_experiment_by_name(self._name)
            if experiment is None:
                database = self._database  # a server has a place of its own
                folder = ledger.files_of(database, self._name) if database else None
                # Another job may make it at the same time.
                with contextlib.suppress(mlflow_module().MlflowException):
                    self.client.create_experiment(self._name, folder)
                experiment = self.client.get_experiment_by_name(self._name)
            if experiment is None or experiment.lifecycle_stage != "active":
                number = experiment.experiment_id if experiment else "<id>"
                raise GraftError(
                    f"{without_secrets(self.tracking_uri)}: the MLflow experiment {self._name!r} "
                    f"has been deleted. Restore it with `mlflow experiments restore -x {number}`."
                )
            self._id = experiment.experiment_id
        return self._id

    def find(self, tag: str, value: str) -> list["Run"]:
        """The active runs with a tag, oldest first."""
        runs = self.client.search_runs(
            [self.experiment_id()], f"tags.`{tag}` = '{value}'", max_results=MOST_RUNS
        )
        return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))

    def parent(
        self,
        experiment: str,
        params: Mapping[str, str] | None = None,
        *,
        started: float | None = None,
    ) -> "Run":
        """The parent run with these parameters, or a new one; None: the current one.

        A parent that a training made has no parameters yet and is used for any. `started` is when
        a new run has begun, in seconds since 1970; None: now.
        """

        def matches() -> list["Run"]:
            runs = self.find(KEY, experiment)
            if params is None:
                return [run for run in runs if run.data.tags.get(CURRENT) != "false"][-1:]
            equal = [run for run in runs if run.data.tags.get(RECIPE) == digest(dict(params))]
            return equal or [
                run
                for run in runs
                if RECIPE not in run.data.tags and run.data.params.items() <= params.items()
            ]

        return self._one(matches, experiment, {KEY: experiment}, started)

    def child(
        self,
        experiment: str,
        name: str,
        recipe: str,
        parent_id: str,
        *,
        started: float | None = None,
    ) -> "Run":
        """The child run of a recipe, or a new one; `name` is `[<variant>/]<mode>/<seed>`."""
        key = f"{experiment}/{name}"
        tags = {KEY: key, RECIPE: recipe, EXPERIMENT: experiment, PARENT: parent_id}

        def matches() -> list["Run"]:
            return [run for run in self.find(KEY, key) if run.data.tags.get(RECIPE) == recipe]

        return self._one(matches, name, tags, started)

    def _one(
        self,
        matches: Callable[[], list["Run"]],
        name: str,
        tags: Mapping[str, str],
        started: float | None,
    ) -> "Run":
        """The oldest match, or a new run. Jobs that run side by side may each have made one, so
        duplicates are deleted as MLflow deletes: they can be restored."""
        if not (runs := matches()):
            begun = milliseconds(time.time() if started is None else started)
            self.client.create_run(self.experiment_id(), begun, dict(tags), name)
            runs = matches()
        for duplicate in runs[1:]:
            self.client.delete_run(duplicate.info.run_id)
        return runs[0]

    def steps(self, run: "Run", metric: str) -> set[int]:
        """The steps at which a run has a metric."""
        if metric not in run.data.metrics:
            return set()
        return {row.step for row in self.client.get_metric_history(run.info.run_id, metric)}
