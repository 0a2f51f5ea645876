"""Trained models as models of MLflow, which `mlflow.pyfunc.load_model` loads without Graft.

A model has a signature, its requirements, `model.safetensors` and, as text, the modules of ours
that load it. Nothing is pickled.
"""

import re
import shutil
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from graft.core.code import Code, Reach
from graft.core.errors import GraftError
from graft.core.files import digest
from graft.models import pyfunc
from graft.reporting.runs import Runs, mlflow_module

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.models import ModelSignature

SCRIPTS = Path(__file__).parents[2]
REQUIREMENTS = ("mlflow", "numpy", "pandas", "pydantic", "safetensors", "torch", "torchvision")
DIGEST = "graft.digest"
"""The tag that tells whether a logged model is the one that would be logged now."""


class Model(NamedTuple):
    """A model file that the train stage wrote, and what goes in and comes out.

    shape: (side, side, channels) of the pictures. classes: names, in the order of the logits.
    """

    file: Path
    sha256: str
    shape: tuple[int, int, int]
    classes: list[str]


class Models:
    """The models of an MLflow experiment. `runs` has to be locked."""

    def __init__(self, runs: Runs):
        self._client, self._experiment = runs.client, runs.experiment_id()
        self._code: Reach | None = None

    def log(self, run: "Run", name: str, model: Model, params: Mapping[str, str]) -> "LoggedModel":
        """The model of a run, logged unless it is there; others of that run are deleted, as
        MLflow deletes: they can be restored.

        name, params: what the model is called and has in lists of models.
        """
        if not model.file.exists():
            raise GraftError(f"{model.file}: the file is missing, so MLflow cannot record it.")
        entities = mlflow_module().entities
        code = self._reached()
        wanted = digest([model.sha256, model.shape, model.classes, code.digest()])
        found = None
        for old in self._of(run):
            if found is None and old.tags.get(DIGEST) == wanted and old.status == "READY":
                found = old
            else:
                self._client.delete_logged_model(old.model_id)
        if found is not None:
            return found
        new = self._client.create_logged_model(
            self._experiment,
            name=re.sub(r"[/:.%\"']", "-", name),
            source_run_id=run.info.run_id,
            tags={DIGEST: wanted},
            params=dict(params),
            model_type="image classifier",
        )
        self._client.log_outputs(run.info.run_id, [entities.LoggedModelOutput(new.model_id, 0)])
        with TemporaryDirectory() as folder:
            _write(Path(folder, "model"), model, code, run.info.run_id, new.model_id)
            self._client.log_model_artifacts(new.model_id, f"{folder}/model")
        # Large, so not by way of the temporary folder.
        self._client.log_model_artifact(new.model_id, str(model.file))
        return self._client.finalize_logged_model(new.model_id, "READY")

    def _of(self, run: "Run") -> list["LoggedModel"]:
        query = f"source_run_id = '{run.info.run_id}'"
        return list(self._client.search_logged_models([self._experiment], query))

    def _reached(self) -> Reach:
        self._code = self._code or Code.read(SCRIPTS).reach(pyfunc.__name__)
        return self._code


def _write(folder: Path, model: Model, code: Reach, run_id: str, model_id: str) -> None:
    """All files of an MLflow model but the weights."""
    from mlflow.models import Model as Description  # noqa: PLC0415
    from mlflow.pyfunc import save_model  # noqa: PLC0415

    library = folder.with_name("graft")
    for module in {module for module, _ in code.parents}:
        file = SCRIPTS / Path(*module.split("."))
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        target = library.parent / file.relative_to(SCRIPTS)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no example: the signature says all
        save_model(
            folder,
            loader_module=pyfunc.__name__,
            code_paths=[str(library)],
            signature=_signature(model),
            # Given, because MLflow would load the model in another process to find them.
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in REQUIREMENTS],
            mlflow_model=Description(run_id=run_id, model_uuid=model_id, model_id=model_id),
        )


def _signature(model: Model) -> "ModelSignature":
    import numpy as np  # noqa: PLC0415
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema, TensorSpec  # noqa: PLC0415

    pictures = TensorSpec(np.dtype(np.uint8), (-1, *model.shape))
    probabilities = Schema([ColSpec("double", name) for name in model.classes])
    return ModelSignature(Schema([pictures]), probabilities)
