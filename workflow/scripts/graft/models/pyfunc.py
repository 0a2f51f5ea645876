"""A trained network as MLflow's `pyfunc`: uint8 pictures to probabilities.

MLflow runs this file when the model is loaded ("models from code"); the packages `core`, `config`
and `models` lie beside it, so neither this project nor a pickle is needed.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from graft.models import model_file
from graft.models.transforms import to_input

BATCH = 64


class Pictures(PythonModel):
    """uint8 (n, side, side, 1 or 3), RGB, of the model's packed size -> a column per class."""

    def load_context(self, context: Any) -> None:
        self._network, self._description = model_file.load_network(Path(context.artifacts["model"]))

    @torch.inference_mode()
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        # MLflow would take type hints for a signature, which has one of its own.
        pictures = np.asarray(model_input)
        transform = self._description.backbone.transform
        rows = [
            self._network.whole(to_input(torch.from_numpy(part), transform)).double().softmax(1)
            for start in range(0, len(pictures), BATCH)
            for part in [np.ascontiguousarray(pictures[start : start + BATCH])]
        ]
        return pd.DataFrame(torch.cat(rows).numpy(), columns=self._description.classes)


set_model(Pictures())
