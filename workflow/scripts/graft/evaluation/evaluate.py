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
from graft.images import patches
from graft.images.packs import Packs, open_parts
from graft.images.patch_rows import PatchRows
from graft.models.model_file import load_network
from graft.models.network import Network
from graft.training import loop
from graft.training.batches import Batches
from graft.training.targets import mean_average_precision

EXPONENTS = (1, 2, 3, 5, 8, 12, 20)
"""k of the scores of pictures by their patches; which one is chosen on the validation rows."""

PICTURES = 16
"""Whose patches are read at once."""

LEAST_SCORE = -1e6
"""A score that is below all others."""

Fitted = dict[str, JsonValue]


def predict(
    model: Path,
    test_parts: Sequence[Path],
    val_parts: Sequence[Path],
    *,
    device: str,
    precision: str,
    threads: int,
) -> tuple[pd.DataFrame, pd.DataFrame, Fitted]:
    """Predictions for the packs or features at the model's cut: (test, validation, what was chosen
    by the validation rows to make them).

    The tables are as `predictions.predictions_frame` or `multilabel.predictions_frame` returns
    them. Of a model of patches the `exponent` k is chosen, and `exponents` are the mean average
    precisions of those tried.
    """
    torch.set_num_threads(threads)
    network, description = load_network(model)
    network = network.to(device)

    def rows_of(parts: Sequence[Path]) -> Packs:
        rows = open_parts(parts)
        known = description.classes[: len(rows.classes)]
        if known != rows.classes or len(description.classes) - len(known) != description.on_patches:
            raise GraftError(
                f"{parts[0]} has other classes than {model}; run the pack stage again."
            )
        if not len(rows):
            raise GraftError(
                f"{parts[0]}: no sample is left; raise the data set's share of that split."
            )
        return rows

    def batches(rows: Packs | PatchRows) -> Batches:
        transform = description.backbone.transform if description.cut == IMAGE else None
        return Batches(rows, transform, device=device)

    test, val = rows_of(test_parts), rows_of(val_parts)
    if not description.on_patches:
        make = multilabel.predictions_frame if description.multilabel else predictions_frame
        frames = [
            make(
                rows.sample_ids,
                rows.groups,
                np.asarray(rows.labels),
                loop.logits(network, batches(rows), precision).numpy(),
                rows.classes,
            )
            for rows in (test, val)
        ]
        return frames[0], frames[1], {}
    by_exponent = [
        picture_scores(network, batches(PatchRows(rows)), EXPONENTS, precision)
        for rows in (test, val)
    ]
    tried = [mean_average_precision(scores, val.labels) for scores in by_exponent[1]]
    best = int(np.argmax(tried))
    frames = [
        multilabel.predictions_frame(
            rows.sample_ids, rows.groups, rows.labels, scores[best], rows.classes
        )
        for rows, scores in zip((test, val), by_exponent, strict=True)
    ]
    known = {str(k): value for k, value in zip(EXPONENTS, tried, strict=True)}
    return frames[0], frames[1], {"exponent": EXPONENTS[best], "exponents": known}


@torch.inference_mode()
def picture_scores(
    network: Network, batches: Batches, exponents: Sequence[int], precision: str
) -> np.ndarray:
    """The logarithms of the scores of pictures by their patches: float64 (exponents, pictures,
    classes). The patches of a few pictures are in memory at a time."""
    rows = batches.data
    assert isinstance(rows, PatchRows), "there are no patches"
    parts = []
    for first in range(0, len(rows.pictures), PICTURES):
        last = min(first + PICTURES, len(rows.pictures))
        start, end = int(rows.starts[first]), int(rows.starts[last])
        outputs = torch.cat(
            list(loop.outputs(network, network, batches, precision, first=start, last=end))
        )
        log_probabilities = torch.log_softmax(outputs.double(), 1).numpy()
        starts = rows.starts[first : last + 1] - start
        parts.append([patches.scores(log_probabilities, starts, k) for k in exponents])
    # A probability of exactly 0 has no logarithm.
    return np.maximum(np.concatenate(parts, axis=1), LEAST_SCORE)


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
