"""How MLflow loads a trained model where Graft is not installed.

This module is the model's `loader_module`, and lies beside it with the modules that it imports
(see `reporting.logged_models`).

Imports are within the functions, so that naming the module costs nothing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MODEL = "model.safetensors"
BATCH = 256
"""Pictures at a time."""


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> "Predictor":
    """The model in a folder; `model_config={"device": "cuda"}` puts it on a GPU.

    MLflow prescribes the name.
    """
    return Predictor(Path(path) / MODEL, (model_config or {}).get("device", "cpu"))


class Predictor:
    """A trained network that predicts pictures, in fp32."""

    def __init__(self, path: Path, device: str):
        from graft.models.model_file import load_network  # noqa: PLC0415

        network, self.description = load_network(path)
        self._network, self._device = network.to(device), device

    def predict(
        self, model_input: "np.ndarray", params: dict[str, Any] | None = None
    ) -> "pd.DataFrame":
        """Probabilities float64 (n, classes), named by class, of pictures uint8 (n, side, side,
        channels) as a pack holds them: RGB, or one grey channel. Those of a row sum to 1, unless a
        picture may have several classes."""
        import numpy as np  # noqa: PLC0415
        import pandas as pd  # noqa: PLC0415
        import torch  # noqa: PLC0415

        from graft.models.transforms import to_input  # noqa: PLC0415

        parts = [np.empty((0, len(self.description.classes)))]
        with torch.inference_mode():
            for start in range(0, len(model_input), BATCH):
                pictures = torch.from_numpy(np.array(model_input[start : start + BATCH]))
                inputs = to_input(pictures.to(self._device), self.description.backbone.transform)
                logits = self._network.whole(inputs)
                parts.append(self.description.confidences(logits.double()).cpu().numpy())
        return pd.DataFrame(np.concatenate(parts), columns=self.description.classes)
