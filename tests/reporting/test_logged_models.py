"""Models in MLflow: logged once, and loaded by a process that does not have Graft."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from builders import CLASSES, picture, save_model
from mlflow_client import client, record

from graft.core.errors import GraftError
from graft.core.files import sha256
from graft.models import model_file
from graft.models.transforms import to_input
from graft.reporting.logged_models import Model
from graft.reporting.track import Record

pytestmark = pytest.mark.usefixtures("home")
FILE = Path("model.safetensors")

LOAD = """
import sys
import mlflow, numpy, pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
assert "workflow" not in str(sys.path)
print(sys.modules["graft"].__file__)
pictures = numpy.load("pictures.npy")
model.predict(pictures).to_csv("probabilities.csv", index=False)
try:
    model.predict(pictures[:, 1:])
except mlflow.MlflowException:
    sys.exit(0)
sys.exit("a picture of another size was taken")
"""


def child(model=FILE, **metrics):
    """The name and the record of a run with a model."""
    made = Model(model, sha256(model) if model.exists() else "", (32, 32, 3), CLASSES)
    return "m/1", ("r1", Record(model=made, metrics=metrics, params={"lr": 0.1}))


def load(database: Path, uri: str) -> Path:
    """Load and predict in a fresh process, isolated from this one; the folder of its code."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    command = [sys.executable, "-I", "-c", LOAD, f"sqlite:///{database}", uri]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.split()[-1])


def test_a_fresh_process_without_graft_predicts_with_the_model_and_with_that_of_a_copy(home):
    save_model(FILE)
    pictures = np.stack([picture(seed, (32, 32)) for seed in range(5)])
    np.save("pictures.npy", pictures)
    made = record(child())
    original, other = home / "results", home / "other/results"
    uri = f"models:/{made['models']['m/1']}"
    assert original in load(original / "mlflow/mlflow.db", uri).parents

    network, description = model_file.load_network(FILE)
    with torch.inference_mode():
        logits = network.whole(to_input(torch.from_numpy(pictures), description.backbone.transform))
    probabilities = pd.read_csv("probabilities.csv")
    assert list(probabilities) == CLASSES
    assert np.allclose(probabilities, logits.double().softmax(1).numpy(), rtol=0, atol=1e-6)
    assert np.ptp(probabilities.to_numpy(), axis=0).max() > 0.1

    # A copy has its models beside it, from when it is first opened.
    shutil.copytree(original, other)
    shutil.rmtree(original / "mlflow/artifacts")
    database = other / "mlflow/mlflow.db"
    assert record(child(), uri=f"sqlite:///{database}")["models"] == made["models"]
    assert other in load(database, uri).parents


def test_the_model_is_logged_once_with_the_runs_parameters_and_what_was_measured_with_it():
    save_model(FILE)
    first = record(child(test_accuracy=0.5, best_val_accuracy=0.25, seconds=3.0))
    model_id = first["models"]["m/1"]
    model = client().get_logged_model(model_id)
    assert (model.name, model.status, model.params) == ("faces-m-1", "READY", {"lr": "0.1"})
    assert model.source_run_id == first["children"]["m/1"]
    assert {m.key: m.value for m in model.metrics} == {
        "test_accuracy": 0.5,
        "best_val_accuracy": 0.25,
    }
    (output,) = client().get_run(first["children"]["m/1"]).outputs.model_outputs
    assert output.model_id == model_id
    files = Path(model.artifact_location)
    assert (files / "model.safetensors").read_bytes() == FILE.read_bytes()
    assert {path.name for path in (files / "code/graft").iterdir()} == {
        "__init__.py",
        "config",
        "core",
        "models",
    }

    written = files.stat().st_mtime_ns
    assert record(child(test_accuracy=0.75, best_val_accuracy=0.25))["models"] == first["models"]
    model = client().get_logged_model(model_id)
    assert {m.key: m.value for m in model.metrics}["test_accuracy"] == 0.75
    assert files.stat().st_mtime_ns == written


def models_of(experiment: str) -> set[str]:
    return {model.model_id for model in client().search_logged_models([experiment])}


def test_other_weights_replace_the_model_and_one_that_was_deleted_or_not_finished_comes_back():
    save_model(FILE)
    first = record(child())
    save_model(FILE, size=36)
    second = record(child())
    assert first["children"] == second["children"]
    assert models_of(first["experiment_id"]) == set(second["models"].values())
    assert first["models"] != second["models"]
    client().delete_logged_model(second["models"]["m/1"])
    third = record(child())
    assert models_of(first["experiment_id"]) == set(third["models"].values())
    tags = client().get_logged_model(third["models"]["m/1"]).tags
    run = third["children"]["m/1"]
    client().delete_logged_model(third["models"]["m/1"])
    killed = client().create_logged_model(first["experiment_id"], source_run_id=run, tags=tags)
    fourth = record(child())
    assert killed.model_id not in models_of(first["experiment_id"])
    assert models_of(first["experiment_id"]) == set(fourth["models"].values())


def test_a_model_that_is_missing_is_named():
    with pytest.raises(GraftError, match=r"lost\.safetensors: the file is missing"):
        record(child(Path("lost.safetensors")))
