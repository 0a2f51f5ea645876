"""Models in MLflow: a run's network as a model that `mlflow.pyfunc.load_model` loads anywhere.

The model holds its tensors as safetensors and the code that reads them (see `models.pyfunc`).
"""

import shutil
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.core.assets import Asset
from graft.core.files import sha256
from graft.models import model_file
from graft.reporting.runs import mlflow_module

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

CODE = Asset(__file__, "../models/pyfunc.py")
LIBRARY = Path(__file__).parents[1]
PACKAGES = ("core", "config", "models")
"""Of the library what a network is built from."""

NEEDED = ("mlflow", "torch", "torchvision", "numpy", "pandas", "safetensors", "pydantic", "h5py")
SHA256 = "graft.sha256"


def log(client: "MlflowClient", run: "Run", model: Path) -> str:
    """Log a model file of the train stage as a model of the run, once; returns the model's id.

    The signature takes uint8 pictures (n, side, side, channels) as the model's packs hold them, and
    gives a probability for each class.
    """
    digest = sha256(model)
    for output in run.outputs.model_outputs if run.outputs else []:
        if client.get_logged_model(output.model_id).tags.get(SHA256) == digest:
            return str(output.model_id)
    mlflow = mlflow_module()
    made = client.create_logged_model(
        run.info.experiment_id,
        name=str(run.info.run_name).replace("/", "-"),  # MLflow refuses the slash
        source_run_id=run.info.run_id,
        tags={SHA256: digest},
        model_type="graft",
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        _save(model, path, mlflow.models.Model(model_id=made.model_id, run_id=run.info.run_id))
        client.log_model_artifacts(made.model_id, str(path))
    client.finalize_logged_model(made.model_id, "READY")
    output = mlflow.entities.LoggedModelOutput(made.model_id, 0)
    client.log_outputs(run.info.run_id, [output])
    return str(made.model_id)


def _save(model: Path, path: Path, described: object) -> None:
    """Write MLflow's folder of a model."""
    from mlflow import pyfunc  # noqa: PLC0415
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec  # noqa: PLC0415

    header = model_file.ModelDescription.from_json(model_file.load(model)[1])
    pack = header.preparation.pack
    shape = (-1, pack.packed_size, pack.packed_size, 1 if pack.grayscale else 3)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), shape)]),
        outputs=Schema([ColSpec(DataType.double, label) for label in header.classes]),
    )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        code = Path(folder) / "graft"
        for package in PACKAGES:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(LIBRARY / package, code / package, ignore=ignored)
        shutil.copy2(LIBRARY / "__init__.py", code)
        warnings.simplefilter("ignore")  # on the missing input example: it would be a photograph
        pyfunc.save_model(
            path,
            python_model=str(LIBRARY / "models" / "pyfunc.py"),
            artifacts={"model": str(model.resolve())},
            code_paths=[str(code)],
            signature=signature,
            mlflow_model=described,
            pip_requirements=[f"{name}=={version(name)}" for name in NEEDED],
        )
