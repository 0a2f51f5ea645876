"""Models in MLflow: loaded by a process that knows nothing of this project."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow_client import client, record
from networks import SIZE, described

from graft.config.models import Head
from graft.config.stages import CropSettings, PackSettings, Preparation
from graft.models import model_file
from graft.models.model_file import ModelDescription
from graft.models.network import Network
from graft.models.transforms import to_input
from graft.reporting.track import Record

pytestmark = pytest.mark.usefixtures("home")

PROGRAM = """
import json, sys
import mlflow, numpy as np
assert not any("graft" in path for path in sys.path), sys.path
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(f"models:/{sys.argv[2]}")
found = model.predict(np.load("pictures.npy"))
print(json.dumps({"columns": list(found.columns), "rows": found.to_numpy().tolist(),
                  "inputs": model.metadata.signature.inputs.to_dict()}))
"""


@pytest.fixture
def model(home):
    """A model file as the train stage writes it, cut before its head."""
    torch.manual_seed(0)
    backbone = described("vgg_mini")
    network = Network(backbone, "avgpool", Head(), 2, SIZE)
    description = ModelDescription(
        backbone=backbone,
        cut="avgpool",
        mode="feature_extraction",
        head=Head(),
        classes=["a cat", "dog"],
        input_size=SIZE,
        preparation=Preparation(
            crop=CropSettings(crop="whole", crop_size=SIZE, detector=None, device=None),
            pack=PackSettings(packed_size=SIZE, grayscale=False, equalize=False),
        ),
    )
    model_file.save(home / "model.safetensors", network.tensors(), description.to_json())
    return home / "model.safetensors"


def loaded(folder, model_id):
    """What a fresh process in `folder` predicts for pictures.npy."""
    uri = f"sqlite:///{(folder / 'results/mlflow/mlflow.db').absolute()}"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, uri, model_id],
        cwd=folder,
        env={**environment, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def logged(model):
    made = record(("feature_extraction/0", ("r1", Record(model=model, ended=2e9, seconds=60))))
    run = client().get_run(made["children"]["feature_extraction/0"])
    (output,) = run.outputs.model_outputs
    return run, output.model_id


def test_a_logged_model_predicts_in_a_process_without_the_project(home, model, tmp_path):
    run, model_id = logged(model)
    assert (run.info.start_time, run.info.end_time) == (2e12 - 60_000, 2e12)
    pictures = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    np.save(home / "pictures.npy", pictures)
    found = loaded(home, model_id)
    network, description = model_file.load_network(model)
    with torch.inference_mode():
        inputs = to_input(torch.from_numpy(pictures), description.backbone.transform)
        expected = network.whole(inputs).softmax(1)
    assert found["columns"] == ["a cat", "dog"]
    np.testing.assert_allclose(found["rows"], expected, atol=1e-6)
    (spec,) = found["inputs"]
    assert spec["tensor-spec"] == {"dtype": "uint8", "shape": [-1, SIZE, SIZE, 3]}

    # A copy, once it is opened here, is loaded from its own folder.
    copy = tmp_path / "copy"
    shutil.copytree(home / "results", copy / "results")
    shutil.copy2(home / "pictures.npy", copy)
    program = "from mlflow_client import record, top\nrecord(parent=top())"  # opens it
    tests, scripts = Path(__file__).parents[1], Path(model_file.__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": f"{tests}:{scripts}"},
        check=True,
    )
    shutil.rmtree(home / "results")
    assert loaded(copy, model_id)["rows"] == found["rows"]


def test_a_model_is_logged_once(model):
    run, first = logged(model)
    again, second = logged(model)
    assert (run.info.run_id, first) == (again.info.run_id, second)
    experiment = run.info.experiment_id
    assert len(client().search_logged_models([experiment])) == 1
    assert client().get_logged_model(first).status.value == "READY"


def test_data_and_weights_are_inputs_of_the_run(home):
    inputs = [
        ("faces", "a" * 64, "training", {"num_rows": 20}),
        ("faces", "b" * 64, "test", {"num_rows": 9}),
        ("imagenet", "c" * 64, "weights", {}),
    ]
    made = [record(("m/0", ("r1", Record(inputs=inputs)))) for _ in range(2)][1]
    run = client().get_run(made["children"]["m/0"])
    found = {
        (one.dataset.name, one.dataset.digest, one.tags[0].value): json.loads(one.dataset.profile)
        for one in run.inputs.dataset_inputs
    }
    assert found == {(name, key[:36], context): rows for name, key, context, rows in inputs}
    assert len(run.inputs.dataset_inputs) == 3
