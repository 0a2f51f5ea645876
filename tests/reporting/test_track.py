"""Tracking in MLflow: complete, and the same however often it is done; old recipes stay."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow_client import URI, active, client, record, series, top

from graft.core.errors import GraftError
from graft.reporting import track
from graft.reporting.inputs import Input
from graft.reporting.runs import mlflow_module
from graft.reporting.track import Record

mlflow = mlflow_module()
SCRIPTS = Path(track.__file__).parents[2]


pytestmark = pytest.mark.usefixtures("home")


def history(epochs: int) -> pd.DataFrame:
    """The curve of a training: a loss that falls, an accuracy that is not measured at first."""
    epoch = np.arange(epochs)
    accuracy = np.where(epoch == 0, np.nan, 0.5 + epoch / 100)
    return pd.DataFrame(
        {"epoch": epoch, "train_loss": 1 / (1 + epoch), "val_accuracy": accuracy, "phase": "tune"}
    )


def child(
    mode="fine_tuning", seed=1, *, epochs=3, recipe="r1", model="model.safetensors", **changes
):
    """(name, (recipe, record)) of a child run, and its files."""
    Path("model.safetensors").write_bytes(b"weights")
    Path("fit.json").write_text("{}")
    about = {
        "params": {"train": {"lr": 0.01, "steps": [1, 2]}, "cut": "none", "half": True},
        "tags": {"device": "cpu"},
        "metrics": {"test": {"accuracy": 0.9, "matrix": [[1]], "auroc": None}},
        "history": history(epochs),
        "files": {"": ["fit.json"], "model": [model]},
    }
    return f"{mode}/{seed}", (recipe, Record(**(about | changes)))


def test_everything_of_an_experiment_is_recorded(home):
    before = mlflow.get_tracking_uri()
    Path("curve.svg").write_text("<svg/>")
    parent = top(metrics={"gain": 9.1}, files={"plots": ["curve.svg"]})
    made = record(child(), child("from_scratch", 2), parent=parent)

    assert json.loads(json.dumps(made)) == made
    assert made["tracking_uri"] == URI
    assert set(made["children"]) == {"fine_tuning/1", "from_scratch/2"}
    parent_run = client().get_run(made["parent_run_id"])
    assert parent_run.info.experiment_id == made["experiment_id"]
    assert (parent_run.info.run_name, parent_run.info.status) == ("faces", "FINISHED")
    assert parent_run.data.params == {"dataset": "portraits_sex", "seeds": "[1, 2]"}
    assert parent_run.data.metrics == {"gain": 9.1}
    assert (
        parent_run.data.tags["graft.key"] == "faces" and parent_run.data.tags["source"] == "faces"
    )
    plot = client().list_artifacts(parent_run.info.run_id, "plots")
    assert [artifact.path for artifact in plot] == ["plots/curve.svg"]

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
        "graft.current": "true",
        "mlflow.parentRunId": parent_run.info.run_id,
        "mlflow.runName": "fine_tuning/1",
        "device": "cpu",
    }
    assert set(run.data.metrics) == {"test.accuracy", "train_loss", "val_accuracy"}
    assert series(URI, run.info.run_id, "train_loss") == [(0, 1.0), (1, 1 / 2), (2, 1 / 3)]
    assert series(URI, run.info.run_id, "val_accuracy") == [(1, 0.51), (2, 0.52)]
    assert [artifact.path for artifact in client().list_artifacts(run.info.run_id)] == [
        "fit.json",
        "model",
    ]
    stored = home / f"results/mlflow/artifacts/graft/{run.info.run_id}/artifacts"
    assert (stored / "model/model.safetensors").read_bytes() == b"weights"

    # No global state, and nothing outside the folder of the database.
    assert mlflow.get_tracking_uri() == before and mlflow.active_run() is None
    assert {path.name for path in home.iterdir()} == {
        "results",
        "model.safetensors",
        "fit.json",
        "curve.svg",
    }


def test_runs_last_as_long_as_their_trainings_whenever_they_are_recorded():
    early, late = child(times=(1000.0, 1060.5)), child(seed=2, times=(2000.0, 2010.0))
    made = record(early, late)
    one, two, top_run = (
        client().get_run(run).info for run in (*made["children"].values(), made["parent_run_id"])
    )
    assert (one.start_time, one.end_time) == (1_000_000, 1_060_500)
    assert (two.start_time, two.end_time) == (2_000_000, 2_010_000)
    assert (top_run.start_time, top_run.end_time) == (1_000_000, 2_010_000)
    losses = client().get_metric_history(one.run_id, "train_loss")
    assert {row.timestamp for row in losses} == {1_060_500}
    # A later training, of another recipe, prolongs the parent only.
    record(early, child(seed=2, recipe="r2", times=(3000.0, 3001.0)))
    times = [client().get_run(run.run_id).info.end_time for run in (one, two, top_run)]
    assert times == [1_060_500, 2_010_000, 3_001_000]


def test_the_latest_value_of_a_metric_is_shown_though_it_was_measured_on_the_same_training():
    for value in (0.9, 0.4, 0.6):
        made = record(child(times=(1000.0, 1001.0), metrics={"test_accuracy": value}))
        run = client().get_run(made["children"]["fine_tuning/1"])
        assert run.data.metrics["test_accuracy"] == value


def test_inputs_are_logged_once_and_the_parent_has_those_of_all_children():
    def part(digest, use):
        return Input("faces", digest, use, "results/data/faces/packs", {"num_rows": 3}, (8, 8, 3))

    test = part("3", "test")
    children = [
        child(inputs=[part("1", "training"), test]),
        child("few/fine_tuning", inputs=[part("2", "training"), test]),
    ]

    def uses(run_id):
        logged = client().get_run(run_id).inputs.dataset_inputs
        return sorted((item.dataset.digest, item.tags[0].value) for item in logged)

    for _ in range(2):
        made = record(*children)
        assert {name: uses(run) for name, run in made["children"].items()} == {
            "fine_tuning/1": [("1", "training"), ("3", "test")],
            "few/fine_tuning/1": [("2", "training"), ("3", "test")],
        }
        all_of_them = [("1", "training"), ("2", "training"), ("3", "test")]
        assert uses(made["parent_run_id"]) == all_of_them


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


def current(*run_ids):
    return [client().get_run(run_id).data.tags["graft.current"] for run_id in run_ids]


def test_another_recipe_has_another_run_and_the_old_one_stays_as_it_was():
    first = record(child(), child("from_scratch"))
    changed = child(recipe="r2", params={"train": {"lr": 0.1}})
    second = record(changed, child("from_scratch"))
    old, new = (made["children"]["fine_tuning/1"] for made in (first, second))
    assert old != new
    assert first["parent_run_id"] == second["parent_run_id"]
    assert first["children"]["from_scratch/1"] == second["children"]["from_scratch/1"]
    assert current(old, new, second["children"]["from_scratch/1"]) == ["false", "true", "true"]
    kept = client().get_run(old)
    assert kept.info.lifecycle_stage == "active"
    assert kept.data.params["train.lr"] == "0.01" and len(series(URI, old, "train_loss")) == 3
    assert kept.data.tags["mlflow.parentRunId"] == first["parent_run_id"]
    assert client().get_run(new).data.params == {"train.lr": "0.1"}
    # Back to the first settings: the run of that recipe is there and is current again.
    assert record(child(), child("from_scratch")) == first
    assert current(old, new) == ["true", "false"]
    assert len(active()["faces/fine_tuning/1"]) == 2


def test_other_parameters_have_another_parent_and_the_old_one_keeps_what_is_only_its_own():
    first = record(child(), child("from_scratch"))
    second = record(child(), parent=Record(params={"seeds": [1, 2, 3]}))
    assert first["parent_run_id"] != second["parent_run_id"]
    assert second["children"]["fine_tuning/1"] == first["children"]["fine_tuning/1"]
    assert set(active()["faces"]) == {first["parent_run_id"], second["parent_run_id"]}
    assert current(first["parent_run_id"], second["parent_run_id"]) == ["false", "true"]
    own = {
        run_id: client().get_run(run_id).data.tags["mlflow.parentRunId"]
        for run_id in first["children"].values()
    }
    assert own == {
        first["children"]["fine_tuning/1"]: second["parent_run_id"],
        first["children"]["from_scratch/1"]: first["parent_run_id"],
    }
    assert client().get_run(first["parent_run_id"]).data.params["seeds"] == "[1, 2]"


def test_two_projects_with_one_database_leave_each_others_runs_alone():
    mine = [child("fine_tuning"), child("from_scratch")]
    others = [child("fine_tuning", recipe="x1"), child("from_scratch", recipe="x2")]
    others_parent = Record(params={"dataset": "other"})
    first, second = record(*mine), record(*others, parent=others_parent)
    assert record(*mine) == first and record(*others, parent=others_parent) == second
    assert not set(first["children"].values()) & set(second["children"].values())
    for made in (first, second):
        for run_id in made["children"].values():
            tags = client().get_run(run_id).data.tags
            assert tags["mlflow.parentRunId"] == made["parent_run_id"]


def test_experiments_and_names_that_begin_alike_are_kept_apart():
    one = record(child(seed=1), child(seed=11))
    two = record(child(seed=1), experiment="faces_2")
    ids = [one["parent_run_id"], two["parent_run_id"]]
    ids += [*one["children"].values(), *two["children"].values()]
    assert len(set(ids)) == 5
    assert one["experiment_id"] == two["experiment_id"]


def test_duplicates_under_a_key_are_reduced_to_the_oldest():
    made = record(child())
    for run_id in (made["parent_run_id"], made["children"]["fine_tuning/1"]):
        tags = client().get_run(run_id).data.tags
        client().create_run(made["experiment_id"], tags=tags)
    assert record(child()) == made
    assert all(len(ids) == 1 for ids in active().values())


def test_two_jobs_on_a_new_database_share_it(home):
    (home / URI.removeprefix("sqlite:///")).unlink()
    script = (
        "import sys; from graft.reporting import track; from graft.reporting.runs import Runs; "
        f"track.record(Runs({URI!r}), 'faces', track.Record(), "
        "{f'm/{seed}': ('r', track.Record()) for seed in (1, int(sys.argv[1]))})"
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


def test_what_cannot_be_recorded_is_refused_in_one_sentence():
    with pytest.raises(GraftError, match=r"lost\.safetensors: the file is missing"):
        record(child(model="lost.safetensors"))
    with pytest.raises(GraftError, match="apostrophe"):
        record(experiment="faces' OR 1")
    with pytest.raises(GraftError, match="'train_loss' is both a metric and a column"):
        record(child(metrics={"train_loss": 1}))
    made = record(child())
    client().delete_experiment(made["experiment_id"])
    with pytest.raises(GraftError, match="mlflow experiments restore -x 1"):
        record(child())


def test_a_copied_ledger_writes_into_its_own_folder(home, tmp_path, monkeypatch):
    """MLflow's database holds absolute paths: those of the original, until it is opened here."""
    Path("curve.svg").write_text("<svg/>")
    made = record(child(), parent=top(files={"plots": ["curve.svg"]}))
    original = home / "results/mlflow"
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in original.rglob("*.*")}
    other = tmp_path / "other"
    shutil.copytree(home / "results", other / "results")
    (other / "curve.svg").write_text("<svg>new</svg>")
    program = (  # in a process of its own: MLflow remembers where a run's files are
        "from mlflow_client import record, top\n"
        "print(record(parent=top(files={'plots': ['curve.svg']}))['parent_run_id'])"
    )
    path = {"PYTHONPATH": f"{Path(__file__).parent.parent}:{SCRIPTS}"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=other,
        env={**os.environ, **path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == made["parent_run_id"]
    (plot,) = (other / "results/mlflow/artifacts").rglob("curve.svg")
    assert plot.read_text() == "<svg>new</svg>"
    monkeypatch.chdir(other)
    for runs in active().values():
        for run in runs:
            assert client().get_run(run).info.artifact_uri.startswith(str(other))
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in original.rglob("*.*")} == before


def test_a_ledger_whose_files_a_person_has_put_elsewhere_stays_so(home, tmp_path):
    record(child())
    elsewhere = str(tmp_path / "elsewhere")
    with sqlite3.connect("results/mlflow/mlflow.db") as database:
        database.execute("update experiments set artifact_location = ?", (elsewhere,))
    record(child(recipe="r2"))
    assert client().get_experiment_by_name("graft").artifact_location == elsewhere
