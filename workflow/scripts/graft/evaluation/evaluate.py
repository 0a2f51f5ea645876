"""Predictions of a trained model for the test or the validation rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from graft.config.architectures import IMAGE
from graft.core.errors import GraftError
from graft.evaluation.predictions import predictions_frame
from graft.images.packs import open_parts
from graft.models.model_file import load_network
from graft.training import loop
from graft.training.batches import Batches


def predict(
    model: Path, parts: Sequence[Path], *, device: str, precision: str, threads: int
) -> pd.DataFrame:
    """Predictions for packs or features at the model's cut, a `predictions.predictions_frame`."""
    torch.set_num_threads(threads)
    network, description = load_network(model)
    rows = open_parts(parts)
    if rows.classes != description.classes:
        raise GraftError(f"{parts[0]} has other classes than {model}; run the pack stage again.")
    if not len(rows):
        raise GraftError(
            f"{parts[0]}: no sample is left; raise the data set's share of that split."
        )
    batches = Batches(
        rows,
        description.backbone.transform if description.cut == IMAGE else None,
        device=device,
    )
    logits = loop.logits(network.to(device), batches, precision)
    return predictions_frame(
        rows.sample_ids, rows.groups, np.asarray(rows.labels), logits.numpy(), rows.classes
    )
