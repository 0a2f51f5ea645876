"""Runs that grow while a model is trained: completed by the record, and never in its way."""

import json
import queue
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import psutil
import pytest
import requests
from builders import CLASSES, save_model
from mlflow_client import active, client, record, series, top
from servers import Server, free_port

from graft.core.code import Code
from graft.reporting import live as live_runs
from graft.reporting.logged_models import Model
from graft.reporting.track import Record
from graft.training import live
from graft.training.live import Live

ABOUT = {"experiment": "faces", "mode": "fine_tuning", "seed": 1, "recipe": "r1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


def epoch(step, **metrics):
    return {"step": step, "time": time.time(), "metrics": metrics}


def log(uri, *rows, status="FINISHED", **about):
    """The id of a run to which these rows were logged."""
    given: queue.SimpleQueue = queue.SimpleQueue()
    for row in (*rows, {"status": status, "time": time.time()}):
        given.put(row)
    return live_runs.record(given, tracking_uri=uri, **{**ABOUT, **about})


def test_the_recipe_of_a_training_names_nothing_of_the_tracking():
    reached = {module for module, _ in Code.read(live.SCRIPTS).reach("train").parents}
    assert "graft.training.live" in reached
    assert not {module for module in reached if module.startswith("graft.reporting")}


def test_without_a_server_nothing_is_started(new_database, capfd):
    with Live(None, **ABOUT) as run:
        run.log_epoch(1, {"train_loss": 1.0})
    assert list(new_database.iterdir()) == [] and capfd.readouterr() == ("", "")


def test_a_server_that_does_not_run_costs_one_line(new_database, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    monkeypatch.setattr(live, "PATIENCE", 60)
    uri = f"http://127.0.0.1:{free_port()}"
    with Live({"tracking_uri": uri, "name": "graft"}, **ABOUT) as run:
        for step in range(100):
            run.log_epoch(step, {"train_loss": 1.0, "odd": object()})
    printed = capfd.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith(f"warning: mlflow.tracking_uri: {uri} does not accept live metrics")
    assert "Connection refused" in line and "secret" not in line and printed.out == ""


def test_a_server_that_never_answers_is_not_waited_for(new_database, monkeypatch, capfd):
    monkeypatch.setattr(live, "PATIENCE", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Live({"tracking_uri": uri, "name": "graft"}, **ABOUT) as run:
            for step in range(5000):  # more than a pipe holds
                run.log_epoch(step, {"train_loss": 1.0})
    (line,) = capfd.readouterr().err.splitlines()
    assert "in time" in line


def test_lines_that_end_without_a_status_are_of_a_training_that_was_killed(server, new_database):
    lines = [{"tracking_uri": server.uri, "name": "killed", **ABOUT}, epoch(1, train_loss=0.5)]
    live_runs.main([*map(json.dumps, lines), '{"step": 2, "tim'])
    (run,) = client(server.uri).search_runs(
        [client(server.uri).get_experiment_by_name("killed").experiment_id],
        "tags.`graft.recipe` = 'r1'",
    )
    assert (run.info.status, run.data.metrics) == ("KILLED", {"train_loss": 0.5})


def test_runs_of_an_experiment_and_of_its_variants_end_up_under_one_parent(server, new_database):
    about = [{"mode": "m", "seed": seed, "experiment": "many"} for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        ids = list(pool.map(lambda about: log(server.uri, **about), about))
    ids.append(log(server.uri, mode="m", seed=0, experiment="many/few"))
    assert len(set(ids)) == 4
    names = [*(f"m/{seed}" for seed in range(3)), "few/m/0"]
    record(*((name, ("r1", Record())) for name in names), uri=server.uri, experiment="many")
    runs = active(server.uri)
    children = [client(server.uri).get_run(run_id) for run_id in ids]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == set(runs["many"])
    assert len(runs["many"]) == 1
    assert [runs[f"many/{name}"] for name in names] == [[run_id] for run_id in ids]
    assert [run.info.run_name for run in children] == names
    assert {run.data.tags["graft.experiment"] for run in children} == {"many"}


def test_a_live_run_is_completed_by_the_record(server, new_database):
    uri = server.uri
    # Killed in epoch 2, resumed from the checkpoint after epoch 1.
    rows = [epoch(0, train_loss=1.0, val_accuracy=float("nan")), epoch(1, train_loss=0.5)]
    run_id = log(uri, *rows, status="KILLED")
    run = client(uri).get_run(run_id)
    assert (run.info.status, run.data.metrics) == ("KILLED", {"train_loss": 0.5})
    with Live({"tracking_uri": uri, "name": "graft"}, **ABOUT) as again:
        again.log_epoch(1, {"train_loss": 0.5})
        again.log_epoch(2, {"train_loss": 1 / 3})
    run = client(uri).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert series(uri, run_id, "train_loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]

    Path("curve.svg").write_text("<svg/>")
    parent = top(files={"plots": ["curve.svg"]})
    save_model(Path("model.safetensors"))
    model = Model(Path("model.safetensors"), "sha256", (32, 32, 3), CLASSES)
    history = pd.DataFrame({"epoch": [0, 1, 2, 3], "train_loss": [1, 1 / 2, 1 / 3, 1 / 4]})
    times = (time.time(), time.time() + 60)
    about = Record(params={"empty": ""}, history=history, model=model, times=times)
    child = "fine_tuning/1", ("r1", about)
    made = record(child, uri=uri, parent=parent)
    assert made["children"] == {"fine_tuning/1": run_id}
    assert len(series(uri, run_id, "train_loss")) == 4
    run = client(uri).get_run(run_id)
    assert run.data.tags["mlflow.parentRunId"] == made["parent_run_id"]
    assert run.data.params == {"empty": ""}
    assert run.info.end_time < 1000 * times[0]  # as it was logged live
    (logged,) = server.folder.glob(f"artifacts/**/{made['models']['fine_tuning/1']}/artifacts")
    assert (logged / "model.safetensors").read_bytes() == model.file.read_bytes()
    assert (logged / "MLmodel").exists()
    assert len(list(server.folder.glob("artifacts/**/plots/curve.svg"))) == 1
    assert record(child, uri=uri, parent=parent) == made

    # A new recipe starts a new live run under the same parent; the old run stays.
    newer = log(uri, epoch(0, train_loss=1.0), recipe="r2")
    assert newer != run_id
    runs = active(uri)
    assert runs["faces"] == [made["parent_run_id"]]
    assert set(runs["faces/fine_tuning/1"]) == {run_id, newer}


def test_a_server_answers_this_machine_alone_and_has_no_telemetry(server):
    session = requests.Session()
    session.trust_env = False  # no proxy
    processes = psutil.Process(server.pid).children(recursive=True)
    assert {p.environ()["MLFLOW_DISABLE_TELEMETRY"] for p in processes} == {"true"}
    rebound = session.get(server.uri, headers={"Host": "elsewhere.example"}, timeout=30)
    assert rebound.status_code == 403
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), timeout=30)
