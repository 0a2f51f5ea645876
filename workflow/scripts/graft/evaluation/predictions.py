"""predictions.csv: one row per test sample, with its true class and the confidence in each class.

Columns: `sample_id`, `group`, `true` and `predicted` (class names), then `confidence_<class>` for
each class, in class order.
"""

import os
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from graft.core.errors import GraftError
from graft.core.files import atomic

PREFIX = "confidence_"
MIN_CLASSES = 2
_SUM_TOLERANCE = 1e-3
_TIE_TOLERANCE = 1e-6


class Predictions(NamedTuple):
    """The columns of a predictions table as arrays, in the table's row order."""

    sample_id: np.ndarray  # (n,) str
    group: np.ndarray  # (n,) str
    true: np.ndarray  # (n,) int64, index into `classes`
    confidences: np.ndarray  # (n, K) float64, rows sum to 1
    classes: list[str]  # K names


def predictions_frame(
    sample_id: ArrayLike,
    group: ArrayLike,
    true: ArrayLike,
    confidences: ArrayLike,
    classes: Sequence[str],
) -> pd.DataFrame:
    """The table that predictions.csv holds, one row per test sample.

    `true` is int (n,), `confidences` float (n, K). The columns are `sample_id`, `group`, `true`
    and `predicted` (class names) and one `confidence_<class>` per class, in class order.
    """
    true, confidences = check_arrays(true, confidences)
    names = np.asarray(classes, dtype=object)
    frame = pd.DataFrame(
        {
            "sample_id": np.asarray(sample_id).astype(str),
            "group": np.asarray(group).astype(str),
            "true": names[true],
            "predicted": names[confidences.argmax(axis=1)],
        }
    )
    scores = pd.DataFrame(confidences, columns=[f"{PREFIX}{name}" for name in classes])
    return pd.concat([frame, scores], axis=1)


def write_predictions(path: str | os.PathLike, frame: pd.DataFrame) -> None:
    """Write a predictions.csv, with every digit, whole or not at all."""
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def write_inference(path: str | os.PathLike, frame: pd.DataFrame) -> None:
    """Write a predictions table as Intel's neon course does, whole or not at all.

    One line a row, in the table's order: `[0.250000, 0.750000], 1`, the confidences in class
    order and the index of the true class. Raises GraftError as `unpack_predictions` does.
    """
    rows = unpack_predictions(frame)
    form = f"[{', '.join(['%.6f'] * len(rows.classes))}], %d\n"
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        lines = zip(rows.confidences, rows.true, strict=True)
        file.writelines(form % (*confidences, true) for confidences, true in lines)


def read_predictions(path: str | os.PathLike) -> pd.DataFrame:
    """Read a predictions.csv; names stay text, so a class may be called "01" or "None"."""
    text = dict.fromkeys(("sample_id", "group", "true", "predicted"), str)
    try:
        return pd.read_csv(path, dtype=text, keep_default_na=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise GraftError(
            f"{path}: cannot be read as a table of predictions ({error}); make it again with "
            "the evaluate stage."
        ) from error


def unpack_predictions(frame: pd.DataFrame, name: str = "predictions.csv") -> Predictions:
    """Check a predictions table and return its columns as arrays; `name` is for messages.

    `true` and `predicted` hold class names; integers that are no class names are taken as
    class indices. Raises GraftError where a column is missing, a label is unknown, a sample
    stands twice or `predicted` is not the class of the highest confidence.
    """
    missing = {"sample_id", "group", "true", "predicted"} - set(frame.columns)
    columns = [column for column in frame.columns if str(column).startswith(PREFIX)]
    if missing or len(columns) < MIN_CLASSES:
        lacks = ", ".join(sorted(missing)) or "confidence_<class> for two classes or more"
        raise GraftError(f"{name}: lacks the column(s) {lacks}; make it again with evaluate.")
    classes = [column.removeprefix(PREFIX) for column in columns]
    sample_id = frame["sample_id"].to_numpy().astype(str)
    if len(np.unique(sample_id)) < len(sample_id):
        raise GraftError(f"{name}: a sample_id stands on two rows; make it again with evaluate.")
    group = frame["group"].to_numpy().astype(str)
    if (group == "").any():
        raise GraftError(f"{name}: a row has no group; make it again with evaluate.")
    try:
        scores = frame[columns].to_numpy(dtype=np.float64)
    except ValueError as error:
        raise GraftError(
            f"{name}: a confidence is not a number ({error}); make it again with evaluate."
        ) from error
    true = _class_indices(frame["true"], classes, f"{name}, column true")
    predicted = _class_indices(frame["predicted"], classes, f"{name}, column predicted")
    true, scores = check_arrays(true, scores, name)
    chosen = scores[np.arange(len(scores)), predicted]
    if (chosen < scores.max(axis=1) - _TIE_TOLERANCE).any():
        row = int(np.argmax(scores.max(axis=1) - chosen))
        raise GraftError(
            f"{name}: sample {sample_id[row]} is predicted {classes[predicted[row]]!r}, which is "
            "not the class of its highest confidence; make it again with evaluate."
        )
    return Predictions(sample_id, group, true, scores, classes)


def _class_indices(column: pd.Series, classes: list[str], where: str) -> np.ndarray:
    index = {name: position for position, name in enumerate(classes)}
    found = column.astype(str).map(index)
    if found.isna().any() and pd.api.types.is_integer_dtype(column):
        found = column.where(column.between(0, len(classes) - 1))
    if found.isna().any():
        value = column[found.isna()].iloc[0]
        known = textwrap.shorten(", ".join(classes), 80, placeholder=" ...")
        raise GraftError(
            f"{where}: {str(value)!r} is not one of the classes {known}; make it again with "
            "evaluate."
        )
    return found.to_numpy(dtype=np.int64)


def check_arrays(
    true: ArrayLike, confidences: ArrayLike, name: str = "predictions"
) -> tuple[np.ndarray, np.ndarray]:
    """`true` as int64 (n,) and `confidences` as float64 (n, K); GraftError if they are unusable."""
    true = np.asarray(true)
    confidences = np.asarray(confidences, dtype=np.float64)
    shaped = true.ndim == 1 and true.shape == confidences.shape[:-1]
    if not shaped or not len(true) or confidences.shape[1] < MIN_CLASSES:
        raise GraftError(
            f"{name}: {true.shape} labels and {confidences.shape} confidences; there must be at "
            "least one test row, and one confidence per row and class."
        )
    if not np.issubdtype(true.dtype, np.integer):
        raise GraftError(f"{name}: the labels are {true.dtype}; give class indices (integers).")
    if true.min() < 0 or true.max() >= confidences.shape[1]:
        raise GraftError(
            f"{name}: labels run from {true.min()} to {true.max()}, but there are "
            f"{confidences.shape[1]} classes; labels must index the classes."
        )
    if not np.isfinite(confidences).all():
        row = int(np.argmin(np.isfinite(confidences).all(axis=1)))
        raise GraftError(
            f"{name}: row {row} has a confidence that is not a number; the model has probably "
            "diverged, so train it with a lower learning rate."
        )
    if confidences.min() < 0 or abs(confidences.sum(axis=1) - 1).max() > _SUM_TOLERANCE:
        raise GraftError(
            f"{name}: confidences must be probabilities, none negative and each row summing to "
            "1; pass the softmax of the logits."
        )
    return true.astype(np.int64), confidences
