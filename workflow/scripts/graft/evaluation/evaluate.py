"""Predictions of a trained model for the test or the validation rows, and their metrics.

Which kind they are, of one class per picture or of several, follows from the table.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from graft.config.architectures import IMAGE
from graft.core.errors import GraftError
from graft.core.files import JsonValue
from graft.evaluation import metrics, multilabel
from graft.evaluation.calibration import fit_temperature
from graft.evaluation.predictions import inference, predictions_frame, unpack_predictions
from graft.images.packs import open_parts
from graft.models.model_file import load_network
from graft.training import loop
from graft.training.batches import Batches


def predict(
    model: Path, parts: Sequence[Path], *, device: str, precision: str, threads: int
) -> pd.DataFrame:
    """Predictions for packs or features at the model's cut, as `predictions.predictions_frame` or
    `multilabel.predictions_frame` returns them."""
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
    make = multilabel.predictions_frame if description.multilabel else predictions_frame
    return make(rows.sample_ids, rows.groups, np.asarray(rows.labels), logits.numpy(), rows.classes)


def measure(
    test: pd.DataFrame, val: pd.DataFrame, *, resamples: int, seed: int, level: float
) -> dict[str, JsonValue]:
    """The metrics of test predictions (see `metrics.measure` and `multilabel.measure`); what is
    fitted, a temperature or the classes' thresholds, is so on the validation predictions."""
    if multilabel.is_table(test):
        rows = multilabel.unpack_predictions(val, "validation rows")
        fitted: dict = {"thresholds": multilabel.fit_thresholds(rows.true, rows.scores)}
    else:
        single = unpack_predictions(val, "validation rows")
        fitted = {"temperature": fit_temperature(single.true, single.log_probabilities)}
    return _measure(test, fitted, resamples=resamples, seed=seed, level=level)


def measure_again(
    test: pd.DataFrame, record: Mapping, *, resamples: int, seed: int, level: float
) -> dict[str, JsonValue]:
    """The same, with what was fitted when `record` was returned."""
    if multilabel.is_table(test):
        fitted: dict = {"thresholds": record["thresholds"]}
    else:
        fitted = {"temperature": record["temperature"]["value"]}
    return _measure(test, fitted, resamples=resamples, seed=seed, level=level)


def inference_lines(test: pd.DataFrame) -> str:
    """A predictions table as Intel's neon course lists it: confidences and truth, a line a row."""
    if multilabel.is_table(test):
        return multilabel.inference(multilabel.unpack_predictions(test))
    return inference(unpack_predictions(test))


def _measure(
    test: pd.DataFrame, fitted: Mapping, *, resamples: int, seed: int, level: float
) -> dict[str, JsonValue]:
    measured = multilabel.measure if multilabel.is_table(test) else metrics.measure
    return measured(test, **fitted, resamples=resamples, seed=seed, level=level)
