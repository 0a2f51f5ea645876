"""Reading what was recorded in MLflow, and recording it."""

from pathlib import Path

from graft.reporting import track
from graft.reporting.runs import Runs, mlflow_module
from graft.reporting.track import Record

URI = "sqlite:///results/mlflow/mlflow.db"


def top(**about):
    """The record of a parent run."""
    params = {"dataset": "portraits_sex", "seeds": [1, 2]}
    return Record(**{"params": params, "tags": {"source": "faces"}, **about})


def record(*children, uri=URI, parent=None, experiment="faces"):
    return track.record(Runs(uri), experiment, parent or top(), dict(children))


def client(uri=URI):
    if uri.startswith("sqlite"):
        uri = f"sqlite:///{Path(uri.removeprefix('sqlite:///')).absolute()}"
    return mlflow_module().MlflowClient(uri, registry_uri=uri)


def series(uri, run_id, name) -> list[tuple[int, float]]:
    return [(row.step, row.value) for row in client(uri).get_metric_history(run_id, name)]


def active(uri=URI) -> dict[str, list[str]]:
    """Ids of the active runs by key."""
    ids: dict[str, list[str]] = {}
    experiment = client(uri).get_experiment_by_name("graft").experiment_id
    for run in client(uri).search_runs([experiment]):
        ids.setdefault(run.data.tags["graft.key"], []).append(run.info.run_id)
    return ids
