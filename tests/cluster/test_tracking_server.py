"""A tracking server on PostgreSQL, shared by several processes, that is killed and comes back."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from mlflow_client import active, client, record, series, top
from project import TINY, Project, executed
from servers import PASSWORD, PROGRAMS, Server, postgresql

from graft.core.errors import GraftError
from graft.reporting import track
from graft.reporting.runs import Runs
from graft.reporting.track import Record

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(not PROGRAMS, reason="no PostgreSQL (Debian's package) on this machine"),
    pytest.mark.skipif(
        importlib.util.find_spec("psycopg2") is None, reason="no psycopg2 in this environment"
    ),
]

EPOCHS = 40
EIGHT = f"""
import multiprocessing
import queue
import sys
import time

import pandas as pd
from mlflow_client import record
from graft.reporting import live
from graft.reporting.track import Record

def log(seed):
    class OneByOne(queue.SimpleQueue):  # a request for each epoch
        def get_nowait(self):
            raise queue.Empty

    rows = OneByOne()
    for step in range({EPOCHS}):
        rows.put({{"step": step, "time": time.time(), "metrics": {{"live": step / (1 + seed)}}}})
    rows.put({{"status": "FINISHED", "time": time.time()}})
    about = {{"experiment": "shared", "mode": "m", "seed": seed, "recipe": f"r{{seed}}"}}
    run_id = live.record(rows, tracking_uri=sys.argv[1], **about)
    history = pd.DataFrame({{"epoch": range({EPOCHS}), "loss": range({EPOCHS})}})
    children = [(f"m/{{n}}", (f"r{{n}}", Record(history=history))) for n in range(3)]
    record(*children, uri=sys.argv[1], experiment=f"own_{{seed}}")
    return run_id

with multiprocessing.get_context("fork").Pool(8) as pool:
    print(*pool.map(log, range(8), chunksize=1))
"""
"""Eight processes at once: in one experiment as trainings do, then each one of its own."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with postgresql() as backend:
        server = Server(tmp_path_factory.mktemp("server"), backend)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "*")


def test_of_what_eight_processes_log_at_once_to_a_new_database_nothing_is_lost(server):
    paths = os.pathsep.join(str(ROOT / path) for path in ("workflow/scripts", "tests"))
    done = subprocess.run(
        [sys.executable, "-c", EIGHT, server.uri],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ids = done.stdout.split()
    steps = list(range(EPOCHS))
    for seed, run_id in enumerate(ids):
        assert series(server.uri, run_id, "live") == [(n, n / (1 + seed)) for n in steps]
        assert client(server.uri).get_run(run_id).info.status == "FINISHED"
    children = [(f"m/{seed}", (f"r{seed}", Record())) for seed in range(8)]
    made = record(*children, uri=server.uri, experiment="shared")
    assert list(made["children"].values()) == ids
    runs = active(server.uri)
    assert {key: len(found) for key, found in runs.items()} == dict.fromkeys(
        [
            *("shared", *(f"shared/m/{seed}" for seed in range(8))),
            *(f"own_{seed}" for seed in range(8)),
            *(f"own_{seed}/m/{n}" for seed in range(8) for n in range(3)),
        ],
        1,
    )
    for seed in range(8):
        for n in range(3):
            (run_id,) = runs[f"own_{seed}/m/{n}"]
            assert series(server.uri, run_id, "loss") == [(step, step) for step in steps]


def test_a_server_that_comes_back_is_waited_for_and_one_that_does_not_is_filled_in_later(
    server, monkeypatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")  # 2, 4, 8, 16, 32 seconds
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "6")
    Path("curve.svg").write_text("<svg/>")
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.25]})
    about = Record(params={"lr": 0.1}, history=history, files={"plots": ["curve.svg"]})
    children = {f"m/{seed}": (f"r{seed}", about) for seed in range(3)}
    runs = Runs(server.uri)
    log_artifact, restart = runs.client.log_artifact, threading.Thread(target=server.start)

    def log_while_it_dies(run_id, *arguments):
        number = len(logged)
        logged.append(run_id)
        if number < 2:
            server.kill()
        if number == 0:
            restart.start()
        if number == 1:
            restart.join()
            server.kill()
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        log_artifact(run_id, *arguments)

    logged: list[str] = []
    monkeypatch.setattr(runs.client, "log_artifact", log_while_it_dies)
    with pytest.raises(GraftError, match=rf"^mlflow\.tracking_uri: {server.uri} cannot be used"):
        track.record(runs, "faces", top(), children)
    assert len(logged) == 2
    server.start()
    made = record(*children.items(), uri=server.uri)
    assert [run_id for run_id in made["children"].values()][:2] == logged
    assert record(*children.items(), uri=server.uri) == made
    for run_id in made["children"].values():
        run = client(server.uri).get_run(run_id)
        assert (run.info.status, run.data.params) == ("FINISHED", {"lr": "0.1"})
        assert series(server.uri, run_id, "loss") == [(1, 0.5), (2, 0.25)]
        (file,) = client(server.uri).list_artifacts(run_id, "plots")
        assert file.path == "plots/curve.svg"
    assert {len(found) for key, found in active(server.uri).items() if "faces" in key} == {1}


SECRETS = {
    "MLFLOW_TRACKING_USERNAME": "somebody_of_us",
    "MLFLOW_TRACKING_PASSWORD": "correct_horse",
    "MLFLOW_TRACKING_TOKEN": "battery_staple",
}


def test_a_training_goes_on_when_its_server_is_killed_and_a_later_run_records_it(
    server, tmp_path, monkeypatch
):
    overlay = tmp_path / "server.yaml"
    experiment = {"train": {"epochs": 150}}
    overlay.write_text(
        yaml.safe_dump(
            {
                "run": ["portraits_identity"],
                "mlflow": {"tracking_uri": server.uri, "experiment": "workflow"},
                "experiments": {"portraits_identity": experiment},
            }
        )
    )
    project = Project(tmp_path / "project", overlays=[TINY, overlay])
    with open("printed", "wb") as out:
        going = subprocess.Popen(
            project.command(),
            cwd=project.folder,
            env={**project.environment(), **SECRETS, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"},
            stdout=out,
            stderr=out,
        )
    (live,) = wait_for(lambda: with_metrics(server.uri, "workflow"), going)
    folder = project.results / "experiments/portraits_identity"
    assert not list(folder.rglob("fit.json"))
    server.kill()
    assert going.wait(300) == 1
    printed = Path("printed").read_text()
    told = f"graft track: mlflow.tracking_uri: {server.uri} cannot be used"
    assert printed.count(f"  {told}") == 1 and "(100%) done" not in printed
    (log,) = project.results.glob("logs/train/portraits_identity/*/*.log")
    assert log.read_text().count("does not accept live metrics") == 1
    assert (project.results / "report.html").exists()
    assert not (folder / "mlflow.json").exists()

    server.start()
    again = project.snakemake(environment=SECRETS)
    assert set(executed(again)) - {"all"} == {"track"}
    made = json.loads((folder / "mlflow.json").read_text())
    assert live.info.run_id in made["children"].values()
    (history,) = folder.rglob("history.csv")
    wanted = pd.read_csv(history)
    recorded = series(server.uri, live.info.run_id, "val_loss")
    assert recorded == list(zip(wanted["epoch"], wanted["val_loss"], strict=True))
    run = client(server.uri).get_run(live.info.run_id)
    assert run.info.status == "FINISHED" and "test_accuracy" in run.data.metrics
    for path in [*project.folder.rglob("*"), Path("printed")]:
        if path.is_file():
            content = path.read_bytes()
            assert not [s for s in (*SECRETS.values(), PASSWORD) if s.encode() in content], path
    assert not [secret for secret in SECRETS.values() if secret in again]


def wait_for(found, process, limit=120):
    give_up = time.monotonic() + limit
    while not (answer := found()):
        assert process.poll() is None and time.monotonic() < give_up, Path("printed").read_text()
        time.sleep(0.1)
    return answer


def with_metrics(uri, name):
    """The runs of an MLflow experiment that have metrics."""
    experiment = client(uri).get_experiment_by_name(name)
    runs = client(uri).search_runs([experiment.experiment_id]) if experiment else []
    return [run for run in runs if run.data.metrics]


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_servers_pages_show_the_runs_and_need_no_other_host(server):
    history = pd.DataFrame({"epoch": [1, 2], "val_loss": [1.5, 0.5]})
    about = Record(metrics={"test_accuracy": 0.75}, history=history)
    made = record(("tuned/7", ("r", about)), uri=server.uri, experiment="seen_in_a_browser")
    runs = f"{server.uri}/#/experiments/{made['experiment_id']}/runs"
    for page, shown in (
        (runs, ["seen_in_a_browser", "matching runs"]),
        (f"{runs}/{made['children']['tuned/7']}", ["tuned/7", "test_accuracy", "0.75", "val_loss"]),
    ):
        browser = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
            + ["--virtual-time-budget=20000", "--no-proxy-server", "--window-size=1400,900"]
            + ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", page],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert [words for words in shown if words not in browser.stdout] == []
