"""Runs that grow while a model is trained: completed by the record, and never in its way."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from builders import CLASSES, save_model
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils import validation
from mlflow_client import URI, active, client, record, series, top

from graft.core.errors import GraftError
from graft.reporting.logged_models import Model
from graft.reporting.runs import LiveRun, Runs, valid_name
from graft.reporting.track import Record


@given(st.text(st.sampled_from("ab/.@ :-é\n"), max_size=8) | st.text(max_size=300))
def test_every_name_becomes_one_that_mlflow_takes(name):
    validation._validate_metric_name(valid_name(name))
    assert len(valid_name(name)) <= 250
    if not set(name) - set("ab"):
        assert valid_name(name) == (name or "_")


def test_databases_that_cannot_be_used_are_named_in_one_sentence_without_passwords(new_database):
    with pytest.raises(GraftError, match="mlflow.tracking_uri is") as caught:
        Runs("postgresql://me:secret@db/x?password=secret")
    assert "secret" not in str(caught.value) and "postgresql://db/x" in str(caught.value)
    Path("in_the_way").write_text("")
    with pytest.raises(GraftError, match="cannot be used"):
        Runs("sqlite:///in_the_way/mlflow.db")
    with pytest.raises(GraftError, match=r"127\.0\.0\.1") as caught:
        record(uri=f"http://me:secret@127.0.0.1:{free_port()}")
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("uri", [None, URI])
def test_without_a_server_nothing_is_logged_live(new_database, uri, capsys):
    with LiveRun.open(uri, "faces", "m", 1, "r") as live:
        live.log_epoch(0, {"train_loss": 1.0})
    assert list(new_database.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_a_server_that_does_not_run_costs_one_line_and_no_time(new_database, capfd):
    uri = f"http://me:secret@127.0.0.1:{free_port()}"
    began = time.monotonic()
    with LiveRun.open(uri, "faces", "m", 1, "r") as live:
        for epoch in range(100):
            live.log_epoch(epoch, {"train_loss": 1.0})
    assert time.monotonic() - began < 5
    printed = capfd.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert "Training continues" in printed.err and "secret" not in printed.err


def test_a_server_that_never_answers_is_given_up_after_the_timeout(
    new_database, monkeypatch, capfd
):
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
def server(new_database):
    """A real tracking server; yields its address and a function that stops it."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--backend-store-uri"]
    command += [
        f"sqlite:///{new_database}/server.db",
        "--artifacts-destination",
        f"{new_database}/kept",
    ]
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


def test_live_runs_of_an_experiment_and_of_its_variants_end_up_under_one_parent(server):
    uri, _ = server
    with ThreadPoolExecutor(3) as pool:
        jobs = list(pool.map(lambda seed: LiveRun.open(uri, "many", "m", seed, "r"), range(3)))
    jobs.append(LiveRun.open(uri, "many/few", "m", 0, "r"))
    assert len({job.run_id for job in jobs} - {None}) == 4
    names = [*(f"m/{seed}" for seed in range(3)), "few/m/0"]
    record(*((name, ("r", Record())) for name in names), uri=uri, experiment="many")
    runs = active(uri)
    children = [client(uri).get_run(job.run_id) for job in jobs]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == set(runs["many"])
    assert len(runs["many"]) == 1
    assert [runs[f"many/{name}"] for name in names] == [[job.run_id] for job in jobs]
    assert [run.info.run_name for run in children] == names
    assert {run.data.tags["graft.experiment"] for run in children} == {"many"}


def test_live_run_is_completed_by_the_record_and_survives_the_server(server, new_database, capfd):
    uri, stop = server
    with_password = uri.replace("://", "://me:secret@")

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
    parent = top(files={"plots": ["curve.svg"]})
    save_model(Path("model.safetensors"))
    model = Model(Path("model.safetensors"), "sha256", (32, 32, 3), CLASSES)
    history = pd.DataFrame({"epoch": [0, 1, 2], "train_loss": [1, 1 / 2, 1 / 3]})
    times = (time.time(), time.time() + 60)
    about = Record(params={"empty": ""}, history=history, model=model, times=times)
    child = "fine_tuning/1", ("r1", about)
    made = record(child, uri=with_password, parent=parent)
    assert made["tracking_uri"] == uri
    assert made["children"] == {"fine_tuning/1": live.run_id}
    assert series(uri, live.run_id, "train_loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    run = client(uri).get_run(live.run_id)
    assert run.data.tags["mlflow.parentRunId"] == made["parent_run_id"]
    assert run.data.params == {"empty": ""}
    assert run.info.end_time < 1000 * times[0]  # as it was logged live
    (logged,) = new_database.glob(f"kept/**/{made['models']['fine_tuning/1']}/artifacts")
    assert (logged / "model.safetensors").read_bytes() == model.file.read_bytes()
    assert (logged / "MLmodel").exists()
    assert len(list(new_database.glob("kept/**/plots/curve.svg"))) == 1
    assert record(child, uri=uri, parent=parent) == made

    # A new recipe starts a new live run under the same parent; the old run stays.
    newer = LiveRun.open(uri, "faces", "fine_tuning", 1, "r2")
    assert newer.run_id != live.run_id
    runs = active(uri)
    assert runs["faces"] == [made["parent_run_id"]]
    assert set(runs["faces/fine_tuning/1"]) == {live.run_id, newer.run_id}
    capfd.readouterr()
    stop()
    newer.log_epoch(0, {"train_loss": 1.0})
    newer.log_epoch(1, {"train_loss": 0.5})
    newer.close()
    printed = capfd.readouterr()
    assert len(printed.err.splitlines()) == 1 and "secret" not in printed.err + printed.out
