"""predictions.csv: one row per test sample, with its true class and the confidence in each class.

Columns: `sample_id`, `group`, `true` and `predicted` (class names), then for each class, in class
order, `confidence_<class>`, its probability, and after those `logp_<class>`, the logarithm of it.
A probability near 1 has few digits left and one below 1e-308 none: its logarithm tells rows apart
that are both 1.
"""

import os
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import log_softmax

from graft.core.errors import GraftError
from graft.core.files import atomic

PREFIX, LOG_PREFIX = "confidence_", "logp_"
MIN_CLASSES = 2
_SUM_TOLERANCE = 1e-5
_TOLERANCE = 1e-6


class Predictions(NamedTuple):
    """The columns of a predictions table as arrays, in the table's row order."""

    sample_id: np.ndarray  # (n,) str
    group: np.ndarray  # (n,) str
    true: np.ndarray  # (n,) int64, index into `classes`
    log_probabilities: np.ndarray  # (n, K) float64 <= 0, finite
    classes: list[str]  # K names

    @property
    def confidences(self) -> np.ndarray:
        """float64 (n, K) in 0..1, rows sum to 1."""
        return np.exp(self.log_probabilities)

    @property
    def scores(self) -> np.ndarray:
        """What tells rows apart, float64 (n, K)."""
        return self.log_probabilities

    @property
    def predicted(self) -> np.ndarray:
        """int64 (n,), the most confident class, index into `classes`."""
        return self.log_probabilities.argmax(axis=1)


def predictions_frame(
    sample_id: ArrayLike,
    group: ArrayLike,
    true: ArrayLike,
    logits: ArrayLike,
    classes: Sequence[str],
) -> pd.DataFrame:
    """The table that predictions.csv holds, one row per test sample.

    `true` is int (n,), `logits` float (n, K): logits, or log-probabilities, of which they are a
    case. Raises GraftError as `check_arrays` does.
    """
    logits = np.asarray(logits, np.float64)
    # The log-softmax would spread one infinity over its row, with warnings.
    log_probabilities = log_softmax(np.where(np.isfinite(logits), logits, np.nan), axis=-1)
    true, log_probabilities = check_arrays(true, log_probabilities)
    names = np.asarray(classes, dtype=object)
    frame = pd.DataFrame(
        {
            "sample_id": np.asarray(sample_id).astype(str),
            "group": np.asarray(group).astype(str),
            "true": names[true],
            "predicted": names[log_probabilities.argmax(axis=1)],
        }
    )
    scores = {PREFIX: np.exp(log_probabilities), LOG_PREFIX: log_probabilities}
    tables = [
        pd.DataFrame(values, columns=[f"{prefix}{name}" for name in classes])
        for prefix, values in scores.items()
    ]
    return pd.concat([frame, *tables], axis=1)


def write_predictions(path: str | os.PathLike, frame: pd.DataFrame) -> None:
    """Write a predictions.csv, with every digit, whole or not at all."""
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def inference(rows: Predictions) -> str:
    """A line a row, in the table's order: `[0.250000, 0.750000], 1`, the confidences in class order
    and the index of the true class."""
    form = f"[{', '.join(['%.6f'] * len(rows.classes))}], %d\n"
    lines = zip(rows.confidences, rows.true, strict=True)
    return "".join(form % (*confidences, true) for confidences, true in lines)


def read_predictions(path: str | os.PathLike) -> pd.DataFrame:
    """Read a predictions.csv; names stay text, so a class may be called "01" or "None"."""
    text = dict.fromkeys(("sample_id", "group", "true", "predicted", "left_out"), str)
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
    stands twice, confidences are not those of the log-probabilities, or `predicted` is not the
    class of the highest.
    """
    missing = {"sample_id", "group", "true", "predicted"} - set(frame.columns)
    columns = [column for column in frame.columns if str(column).startswith(PREFIX)]
    logs = [LOG_PREFIX + column.removeprefix(PREFIX) for column in columns]
    missing |= set(logs) - set(frame.columns)
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
        confidences = frame[columns].to_numpy(dtype=np.float64)
        scores = frame[logs].to_numpy(dtype=np.float64)
    except ValueError as error:
        raise GraftError(
            f"{name}: a confidence is not a number ({error}); make it again with evaluate."
        ) from error
    true = _class_indices(frame["true"], classes, f"{name}, column true")
    predicted = _class_indices(frame["predicted"], classes, f"{name}, column predicted")
    true, scores = check_arrays(true, scores, name)
    agree = np.isclose(confidences, np.exp(scores), rtol=0, atol=_TOLERANCE).all(axis=1)
    if not agree.all():
        raise GraftError(
            f"{name}: sample {sample_id[np.argmin(agree)]} has a confidence that is not that of "
            f"its {LOG_PREFIX} column; make it again with evaluate."
        )
    chosen = scores[np.arange(len(scores)), predicted]
    if (chosen < scores.max(axis=1) - _TOLERANCE).any():
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
    true: ArrayLike, log_probabilities: ArrayLike, name: str = "predictions"
) -> tuple[np.ndarray, np.ndarray]:
    """`true` as int64 (n,) and `log_probabilities` as float64 (n, K); GraftError if unusable."""
    true = np.asarray(true)
    scores = np.asarray(log_probabilities, dtype=np.float64)
    shaped = true.ndim == 1 and true.shape == scores.shape[:-1]
    if not shaped or not len(true) or scores.shape[1] < MIN_CLASSES:
        raise GraftError(
            f"{name}: {true.shape} labels and {scores.shape} log-probabilities; there must be at "
            "least one test row, and one log-probability per row and class."
        )
    if not np.issubdtype(true.dtype, np.integer):
        raise GraftError(f"{name}: the labels are {true.dtype}; give class indices (integers).")
    if true.min() < 0 or true.max() >= scores.shape[1]:
        raise GraftError(
            f"{name}: labels run from {true.min()} to {true.max()}, but there are "
            f"{scores.shape[1]} classes; labels must index the classes."
        )
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores).all(axis=1)))
        raise GraftError(
            f"{name}: row {row} has a log-probability that is not a number; the model has probably "
            "diverged, so train it with a lower learning rate."
        )
    if scores.max() > _TOLERANCE or abs(np.exp(scores).sum(axis=1) - 1).max() > _SUM_TOLERANCE:
        raise GraftError(
            f"{name}: log-probabilities must not be positive and each row's probabilities sum to "
            "1; pass the log-softmax of the logits."
        )
    return true.astype(np.int64), scores
