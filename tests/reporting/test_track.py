"""The MLflow ledger: complete, idempotent, and never in the way of training."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.core.errors import GraftError
from graft.reporting import track
from graft.reporting.track import ChildRun, Ledger, LiveRun

mlflow = track._mlflow()
SCRIPTS = Path(track.__file__).parents[2]
URI = "sqlite:///results/mlflow/mlflow.db"
PARENT = {"params": {"dataset": "portraits_sex", "seeds": [1, 2]}, "tags": {"source": "faces"}}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Every test runs in an empty working directory; no proxy, no impatience."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    return tmp_path


def history(epochs: int) -> pd.DataFrame:
    """The curve of a training: a loss that falls, an accuracy that is not measured at first."""
    epoch = np.arange(epochs)
    accuracy = np.where(epoch == 0, np.nan, 0.5 + epoch / 100)
    return pd.DataFrame(
        {"epoch": epoch, "train_loss": 1 / (1 + epoch), "val_accuracy": accuracy, "phase": "tune"}
    )


def child(mode="fine_tuning", seed=1, *, epochs=3, **changes) -> ChildRun:
    model, note = Path("model.safetensors"), Path("fit.json")
    model.write_bytes(b"weights")
    note.write_text("{}")
    about = {
        "recipe": "r1",
        "params": {"train": {"lr": 0.01, "steps": np.array([1, 2])}, "cut": "none", "half": True},
        "tags": {"device": "cpu"},
        "metrics": {"test": {"accuracy": 0.9, "matrix": [[1]], "auroc": None}},
        "history": history(epochs),
        "model": model,
        "artifacts": [note],
    }
    return ChildRun(mode, seed, **(about | changes))


def record(*children, uri=URI, parent=PARENT, experiment="faces"):
    return Ledger(uri).record_experiment(experiment, parent=parent, children=children)


def client(uri=f"{URI}"):
    path = Path(uri.removeprefix("sqlite:///")).absolute()
    uri = f"sqlite:///{path}" if uri.startswith("sqlite") else uri
    return mlflow.MlflowClient(uri, registry_uri=uri)


def series(uri, run_id, name) -> list[tuple[int, float]]:
    return [(row.step, row.value) for row in client(uri).get_metric_history(run_id, name)]


def active(uri=URI) -> dict[str, list[str]]:
    """Ids of the active runs by key."""
    found = {}
    experiment = client(uri).get_experiment_by_name("graft").experiment_id
    for run in client(uri).search_runs([experiment]):
        found.setdefault(run.data.tags["graft.key"], []).append(run.info.run_id)
    return found


def test_everything_of_an_experiment_is_recorded(home):
    before = mlflow.get_tracking_uri()
    Path("curve.svg").write_text("<svg/>")
    parent = PARENT | {"metrics": {"gain": 9.1}, "plots": ["curve.svg"]}
    made = record(child(), child("from_scratch", 2), parent=parent)

    assert json.loads(json.dumps(made)) == made
    assert made["tracking_uri"] == URI
    assert set(made["children"]) == {"fine_tuning/1", "from_scratch/2"}
    top = client().get_run(made["parent_run_id"])
    assert top.info.experiment_id == made["experiment_id"]
    assert (top.info.run_name, top.info.status) == ("faces", "FINISHED")
    assert top.data.params == {"dataset": "portraits_sex", "seeds": "[1, 2]"}
    assert top.data.metrics == {"gain": 9.1}
    assert top.data.tags["graft.key"] == "faces" and top.data.tags["source"] == "faces"
    plot = client().list_artifacts(top.info.run_id, "plots")
    assert [found.path for found in plot] == ["plots/curve.svg"]

    run = client().get_run(made["children"]["fine_tuning/1"])
    assert (run.info.run_name, run.info.status) == ("fine_tuning/1", "FINISHED")
    assert run.data.params == {
        "train.lr": "0.01",
        "train.steps": "[1, 2]",
        "cut": "none",
        "half": "true",
    }
    assert run.data.tags == {
        "graft.key": "faces/fine_tuning/1",
        "graft.experiment": "faces",
        "graft.recipe": "r1",
        "mlflow.parentRunId": top.info.run_id,
        "mlflow.runName": "fine_tuning/1",
        "device": "cpu",
    }
    assert set(run.data.metrics) == {"test.accuracy", "train_loss", "val_accuracy"}
    assert series(URI, run.info.run_id, "train_loss") == [(0, 1.0), (1, 1 / 2), (2, 1 / 3)]
    assert series(URI, run.info.run_id, "val_accuracy") == [(1, 0.51), (2, 0.52)]
    assert [found.path for found in client().list_artifacts(run.info.run_id)] == [
        "fit.json",
        "model",
    ]
    stored = home / f"results/mlflow/artifacts/graft/{run.info.run_id}/artifacts"
    assert (stored / "model/model.safetensors").read_bytes() == b"weights"

    # No global state, and nothing outside the ledger's folder.
    assert mlflow.get_tracking_uri() == before and mlflow.active_run() is None
    assert {path.name for path in home.iterdir()} == {
        "results",
        "model.safetensors",
        "fit.json",
        "curve.svg",
    }


def test_recording_again_changes_nothing():
    first = record(child(), child(seed=2))
    run_id = first["children"]["fine_tuning/1"]
    ended = client().get_run(run_id).info.end_time
    assert record(child(), child(seed=2)) == first
    for name, length in {"train_loss": 3, "val_accuracy": 2, "test.accuracy": 1}.items():
        assert len(series(URI, run_id, name)) == length
    assert client().get_run(run_id).info.end_time == ended
    assert all(len(ids) == 1 for ids in active().values())
    assert len(active()) == 3


def test_recording_again_adds_what_is_new_and_corrects_what_changed():
    run_id = record(child())["children"]["fine_tuning/1"]
    newer = child(epochs=5, metrics={"test": {"accuracy": 0.95}}, tags={"device": "cuda"})
    Path("model.safetensors").write_bytes(b"better weights")
    assert record(newer)["children"] == {"fine_tuning/1": run_id}
    assert [step for step, _ in series(URI, run_id, "train_loss")] == [0, 1, 2, 3, 4]
    data = client().get_run(run_id).data
    assert (data.metrics["test.accuracy"], data.tags["device"]) == (0.95, "cuda")
    folder = Path(client().get_run(run_id).info.artifact_uri)
    assert (folder / "model/model.safetensors").read_bytes() == b"better weights"


def test_another_recipe_replaces_the_run_restorably():
    first = record(child(), child("from_scratch"))
    second = record(child(recipe="r2", params={"train": {"lr": 0.1}}), child("from_scratch"))
    old, new = (made["children"]["fine_tuning/1"] for made in (first, second))
    assert old != new
    assert first["parent_run_id"] == second["parent_run_id"]
    assert first["children"]["from_scratch/1"] == second["children"]["from_scratch/1"]
    assert client().get_run(old).info.lifecycle_stage == "deleted"
    assert len(series(URI, old, "train_loss")) == 3  # kept, for whoever restores it
    assert client().get_run(new).data.params == {"train.lr": "0.1"}
    assert active()["faces/fine_tuning/1"] == [new]


def test_new_parameters_replace_the_parent_and_keep_all_children():
    first = record(child(), child("from_scratch"))
    second = record(child(), parent={"params": {"seeds": [1, 2, 3]}})
    assert first["parent_run_id"] != second["parent_run_id"]
    assert second["children"]["fine_tuning/1"] == first["children"]["fine_tuning/1"]
    assert active()["faces"] == [second["parent_run_id"]]
    for run_id in first["children"].values():  # the one that is no longer listed, too
        tags = client().get_run(run_id).data.tags
        assert tags["mlflow.parentRunId"] == second["parent_run_id"]


def test_experiments_and_names_that_begin_alike_are_kept_apart():
    one = record(child(seed=1), child(seed=11))
    two = record(child(seed=1), experiment="faces_2")
    ids = [one["parent_run_id"], two["parent_run_id"]]
    ids += [*one["children"].values(), *two["children"].values()]
    assert len(set(ids)) == 5
    assert one["experiment_id"] == two["experiment_id"]


def test_duplicates_under_a_key_are_reduced_to_the_oldest():
    made = record(child())
    for key in ("faces", "faces/fine_tuning/1"):
        tags = {"graft.key": key, "graft.recipe": "r1"}
        client().create_run(made["experiment_id"], tags=tags)
    assert record(child()) == made
    assert all(len(ids) == 1 for ids in active().values())


def test_two_jobs_on_a_fresh_ledger_share_it():
    script = (
        "import sys; from graft.reporting.track import ChildRun, Ledger; "
        f"Ledger({URI!r}).record_experiment('faces', parent={{}}, "
        "children=[ChildRun('m', 1, 'r'), ChildRun('m', int(sys.argv[1]), 'r')])"
    )
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", script, seed], env=os.environ | {"PYTHONPATH": str(SCRIPTS)}
        )
        for seed in "23"
    ]
    assert [job.wait(60) for job in jobs] == [0, 0]
    assert {key: len(ids) for key, ids in active().items()} == {
        "faces": 1,
        "faces/m/1": 1,
        "faces/m/2": 1,
        "faces/m/3": 1,
    }


def test_values_beyond_the_limits_of_mlflow_are_cut_to_them():
    made = record(
        child(
            params={"text": "x" * 9000, "empty": "", "none": None, "odd@name?": 1, "a": {}},
            tags={"note": "y" * 9000},
            metrics={"inf": np.inf, "nan": np.nan, "precision@0.5": np.float32(0.5)},
            history=pd.DataFrame({"epoch": [0], "loss": [np.inf], "recall%": [1]}),
        )
    )
    data = client().get_run(made["children"]["fine_tuning/1"]).data
    assert len(data.params.pop("text")) == 6000
    assert data.params == {"empty": "", "none": "null", "odd_name_": "1", "a": "{}"}
    assert len(data.tags["note"]) == 8000
    assert data.metrics == {"precision_0.5": 0.5, "recall_": 1.0}


@given(st.text(st.sampled_from("ab/.@ :-é\n"), max_size=8) | st.text(max_size=300))
def test_every_name_becomes_one_that_mlflow_takes(name):
    mlflow.utils.validation._validate_metric_name(track._name(name))
    assert len(track._name(name)) <= 250
    if not set(name) - set("ab"):
        assert track._name(name) == (name or "_")


def test_what_cannot_be_recorded_is_told_in_one_sentence():
    with pytest.raises(GraftError, match=r"lost\.safetensors does not exist"):
        record(child(model="lost.safetensors"))
    with pytest.raises(GraftError, match="apostrophe"):
        record(experiment="faces' OR 1")
    with pytest.raises(GraftError, match="'train_loss' is both a summary metric and a column"):
        record(child(metrics={"train_loss": 1}))
    with pytest.raises(ValueError, match="figures"):
        record(parent={"figures": []})
    made = record(child())
    client().delete_experiment(made["experiment_id"])
    with pytest.raises(GraftError, match="mlflow experiments restore -x 1"):
        record(child())


def test_ledgers_that_cannot_be_used_are_told_in_one_sentence_without_their_passwords():
    with pytest.raises(GraftError, match="so say where artifacts go") as caught:
        Ledger("postgresql://me:secret@db/x?password=secret")
    assert "secret" not in str(caught.value) and "postgresql://db/x" in str(caught.value)
    with pytest.raises(GraftError, match="cannot be used"):
        Ledger("postgresql+nothing://me:secret@db/x", "artifacts")
    Path("in_the_way").write_text("")
    with pytest.raises(GraftError, match="cannot be used"):
        Ledger("sqlite:///in_the_way/mlflow.db")
    with pytest.raises(GraftError, match=r"127\.0\.0\.1") as caught:
        record(uri=f"http://me:secret@127.0.0.1:{free_port()}")
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("uri", [None, URI])
def test_without_a_server_nothing_is_logged_live(home, uri, capsys):
    with LiveRun.open(uri, "faces", "m", 1, "r") as live:
        live.log_epoch(0, {"train_loss": 1.0})
    assert list(home.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_a_server_that_is_away_costs_one_line_and_no_time(capfd):
    uri = f"http://me:secret@127.0.0.1:{free_port()}"
    began = time.monotonic()
    with LiveRun.open(uri, "faces", "m", 1, "r") as live:
        for epoch in range(100):
            live.log_epoch(epoch, {"train_loss": 1.0})
    assert time.monotonic() - began < 5
    said = capfd.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert "training carries on" in said.err and "secret" not in said.err


def test_a_server_that_never_answers_is_given_up_after_the_timeout(monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        live = LiveRun.open(f"http://127.0.0.1:{silent.getsockname()[1]}", "faces", "m", 1, "r")
        assert time.monotonic() - began < 10
    assert live.run_id is None
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.fixture
def server(home):
    """A real tracking server; yields its address and a function that stops it."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--backend-store-uri"]
    command += [f"sqlite:///{home}/server.db", "--artifacts-destination", f"{home}/kept"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with open("server.log", "wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True
        )

    def stop():
        if process.poll() is None:
            os.killpg(process.pid, 15)
            process.wait(20)

    try:
        limit = time.monotonic() + 50
        while True:
            assert process.poll() is None and time.monotonic() < limit, Path(
                "server.log"
            ).read_text()
            try:
                with urllib.request.urlopen(f"{uri}/health", timeout=5):
                    break
            except OSError:
                time.sleep(0.1)
        yield uri, stop
    finally:
        stop()


def test_live_run_is_completed_by_the_record_and_survives_the_server(server, home, capfd):
    uri, stop = server
    with_password = uri.replace("://", "://me:secret@")

    # Jobs that start side by side end up under one parent.
    with ThreadPoolExecutor(3) as pool:
        jobs = list(pool.map(lambda seed: LiveRun.open(uri, "many", "m", seed, "r"), range(3)))
    assert len({job.run_id for job in jobs} - {None}) == 3
    record(*(ChildRun("m", seed, "r") for seed in range(3)), uri=uri, experiment="many")
    runs = active(uri)
    parents = {client(uri).get_run(job.run_id).data.tags["mlflow.parentRunId"] for job in jobs}
    assert parents == set(runs["many"]) and len(parents) == 1
    assert [runs[f"many/m/{seed}"] for seed in range(3)] == [[job.run_id] for job in jobs]

    # Killed in epoch 2, resumed from the checkpoint after epoch 1.
    live = LiveRun.open(with_password, "faces", "fine_tuning", 1, "r1")
    for epoch in range(2):
        live.log_epoch(epoch, {"train_loss": 1 / (1 + epoch), "val_accuracy": float("nan")})
    run = client(uri).get_run(live.run_id)
    assert (run.info.status, run.data.metrics) == ("RUNNING", {"train_loss": 0.5})
    with LiveRun.open(uri, "faces", "fine_tuning", 1, "r1") as again:
        again.log_epoch(1, {"train_loss": 0.5})
    assert again.run_id is None
    assert client(uri).get_run(live.run_id).info.status == "FINISHED"

    Path("curve.svg").write_text("<svg/>")
    parent = PARENT | {"plots": ["curve.svg"]}
    made = record(child(params={"empty": ""}), uri=with_password, parent=parent)
    assert made["tracking_uri"] == uri
    assert made["children"] == {"fine_tuning/1": live.run_id}
    assert series(uri, live.run_id, "train_loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    run = client(uri).get_run(live.run_id)
    assert run.data.tags["mlflow.parentRunId"] == made["parent_run_id"]
    assert run.data.params == {"empty": ""}
    assert [path.read_bytes() for path in home.glob("kept/**/model/*")] == [b"weights"]
    assert len(list(home.glob("kept/**/plots/curve.svg"))) == 1
    assert record(child(params={"empty": ""}), uri=uri, parent=parent) == made

    # A new recipe starts a new live run under the same parent.
    newer = LiveRun.open(uri, "faces", "fine_tuning", 1, "r2")
    assert newer.run_id != live.run_id
    runs = active(uri)
    assert runs["faces"] == [made["parent_run_id"]]
    assert runs["faces/fine_tuning/1"] == [newer.run_id]
    capfd.readouterr()
    stop()
    newer.log_epoch(0, {"train_loss": 1.0})
    newer.log_epoch(1, {"train_loss": 0.5})
    newer.close()
    said = capfd.readouterr()
    assert len(said.err.splitlines()) == 1 and "secret" not in said.err + said.out
