"""Predictions and metrics where a picture may have several classes, or none.

predictions.csv has one row per test sample: `sample_id`, `group`, `true` (the names of its classes
as in data_file.csv), `left_out` (likewise, those that it is not counted for), and for each class,
in class order, `score_<class>`: its logit, or another value by which pictures are ranked. A score
above the class's threshold, which is chosen on the validation rows, predicts the class.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from graft.core.errors import GraftError
from graft.core.files import JsonValue
from graft.datasets.label_sets import joined, names
from graft.evaluation import average_precision, bootstrap
from graft.images.packs import LEFT_OUT

PREFIX = "score_"

HEADINGS = {
    "mean_ap": "mAP (area)",
    "mean_ap_11": "mAP (11 points)",
    "mean_ap_all": "mAP (area), difficult counted",
    "mean_ap_11_all": "mAP (11 points), difficult counted",
    "macro_f1": "F1 (macro)",
    "micro_f1": "F1 (micro)",
}
"""Every metric with an interval, and its heading; all are in 0..1.

In those that end in `_all` a picture that shows only difficult objects of a class is one of its
positives; in the others it is left out."""

METRICS = tuple(HEADINGS)
COMPARED = ("mean_ap", "mean_ap_11")
"""The metrics that modes can be compared by."""


class Predictions(NamedTuple):
    """The columns of a predictions table as arrays, in the table's row order."""

    sample_id: np.ndarray  # (n,) str
    group: np.ndarray  # (n,) str
    true: np.ndarray  # (n, K) uint8: 0, 1 or LEFT_OUT
    scores: np.ndarray  # (n, K) float64, finite
    classes: list[str]  # K names


def is_table(frame: pd.DataFrame) -> bool:
    """Whether a table of predictions is one of these."""
    return "left_out" in frame.columns


def predictions_frame(
    sample_id: ArrayLike,
    group: ArrayLike,
    true: np.ndarray,
    scores: np.ndarray,
    classes: Sequence[str],
) -> pd.DataFrame:
    """The table that predictions.csv holds; `true` uint8 (n, K), `scores` float (n, K)."""

    def named(value: int) -> list[str]:
        held = (row == value for row in true)
        return [joined(np.asarray(classes, object)[row]) for row in held]

    columns = {
        "sample_id": np.asarray(sample_id).astype(str),
        "group": np.asarray(group).astype(str),
        "true": named(1),
        "left_out": named(LEFT_OUT),
    }
    values = {f"{PREFIX}{name}": scores[:, i] for i, name in enumerate(classes)}
    return pd.DataFrame({**columns, **values})


def unpack_predictions(frame: pd.DataFrame, name: str = "predictions.csv") -> Predictions:
    """Check a predictions table and return its columns as arrays; `name` is for messages.

    Raises GraftError where a column is missing, a class is unknown, a sample stands twice or a
    score is no finite number.
    """
    classes = [c.removeprefix(PREFIX) for c in map(str, frame.columns) if c.startswith(PREFIX)]
    missing = {"sample_id", "group", "true", "left_out"} - set(frame.columns)
    if missing or not classes:
        lacks = ", ".join(sorted(missing)) or "score_<class>"
        raise GraftError(f"{name}: lacks the column(s) {lacks}; make it again with evaluate.")
    if frame.empty or frame["sample_id"].duplicated().any():
        raise GraftError(
            f"{name}: it has no row, or a sample_id stands on two; make it again with evaluate."
        )
    try:
        scores = frame[[PREFIX + c for c in classes]].to_numpy(dtype=np.float64)
    except ValueError as error:
        raise GraftError(
            f"{name}: a score is not a number ({error}); make it again with evaluate."
        ) from error
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores).all(axis=1)))
        raise GraftError(
            f"{name}: row {row} has a score that is not a number; the model has probably "
            "diverged, so train it with a lower learning rate."
        )
    true = np.zeros(scores.shape, np.uint8)
    codes = {name: code for code, name in enumerate(classes)}
    for column, value in (("true", 1), ("left_out", LEFT_OUT)):
        for row, cell in enumerate(frame[column]):
            for held in names(str(cell)):
                if held not in codes:
                    raise GraftError(
                        f"{name}, column {column}: {held!r} is not one of the classes; make it "
                        "again with evaluate."
                    )
                true[row, codes[held]] = value
    return Predictions(
        frame["sample_id"].to_numpy().astype(str),
        frame["group"].to_numpy().astype(str),
        true,
        scores,
        classes,
    )


def fit_thresholds(true: np.ndarray, scores: np.ndarray) -> list[float]:
    """For each class the threshold with the highest F1 on these rows (n, K), the lowest of several.

    It lies half-way between two scores. A class without a positive gets the highest score: it is
    never predicted there.
    """
    thresholds = []
    for score, label in zip(scores.T, true.T, strict=True):
        kept = label != LEFT_OUT
        values, positive = score[kept], label[kept] == 1
        order = np.argsort(-values, kind="stable")
        ordered, hits = values[order], np.cumsum(positive[order])
        if not len(ordered) or not hits[-1]:
            thresholds.append(float(score.max()))
            continue
        ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        f1 = 2 * hits[ends] / (ends + 1 + hits[-1])
        best = len(f1) - 1 - int(np.argmax(f1[::-1]))
        above = ordered[ends[best]]
        below = ordered[ends[best] + 1] if best + 1 < len(ends) else above - 1.0
        thresholds.append(float((above + below) / 2))
    return thresholds


def measure(
    frame: pd.DataFrame,
    *,
    thresholds: Sequence[float],
    resamples: int,
    seed: int,
    level: float,
) -> dict[str, JsonValue]:
    """All metrics of a predictions table, JSON-safe, with their intervals under `intervals`.

    Besides METRICS: `per_class`, for each class its `positives`, `left_out`, average precisions by
    metric, `threshold`, `precision`, `recall` and `f1`; `majority_baseline`, the mean share of
    positives, which is what the mean average precision of a random ranking tends to; `thresholds`,
    `n` and `classes`. A metric without a class that defines it is None.
    """
    rows = unpack_predictions(frame)
    if len(thresholds) != len(rows.classes):
        raise GraftError(
            f"predictions: {len(thresholds)} thresholds for {len(rows.classes)} classes. Evaluate "
            "again."
        )
    ones = np.ones((len(rows.true), 1), np.int64)
    values = weighted_metrics(rows, thresholds, ones)

    def weighted(weights: np.ndarray) -> dict[str, np.ndarray]:
        return weighted_metrics(rows, thresholds, weights)

    intervals = bootstrap.intervals(
        weighted, rows.group, resamples=resamples, seed=seed, level=level
    )
    per_class = _per_class(rows, thresholds)
    return {
        **{name: _plain(value[0]) for name, value in values.items()},
        "majority_baseline": baseline(rows.true),
        "per_class": per_class,
        "thresholds": [float(value) for value in thresholds],
        "intervals": dict(intervals) or dict.fromkeys(METRICS),
        "n": len(rows.true),
        "classes": rows.classes,
        "untested": [name for name, row in per_class.items() if not row["positives"]],
    }


def weighted_metrics(
    rows: Predictions, thresholds: Sequence[float], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """METRICS of many weightings of the same rows: metric -> (R,), NaN where undefined."""
    ranked = {
        f"{kind}{suffix}": average_precision.mean(
            average_precision.of_classes(kind, rows.scores, rows.true, weights, left_out=left_out)
        )
        for kind in COMPARED
        for suffix, left_out in (("", LEFT_OUT), ("_all", None))
    }
    correct, chosen, support = (
        table.T.astype(np.int64) @ weights for table in _decisions(rows, thresholds)
    )
    f1 = _ratio(2 * correct, chosen + support)
    occurs = (chosen + support > 0).sum(axis=0)
    return {
        **ranked,
        "macro_f1": _ratio(f1.sum(axis=0), occurs),
        "micro_f1": _ratio(2 * correct.sum(axis=0), (chosen + support).sum(axis=0)),
    }


def baseline(true: np.ndarray) -> float:
    """What the mean average precision of a random ranking tends to: the mean share of positives
    among the rows (n, K) that are counted, over the classes that have any."""
    positive, counted = (true == 1).sum(axis=0), (true != LEFT_OUT).sum(axis=0)
    found = positive > 0
    return float((positive[found] / counted[found]).mean()) if found.any() else 0.0


def _decisions(
    rows: Predictions, thresholds: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """bool (n, K) each: rightly predicted, predicted, and true, of what is counted."""
    counted = rows.true != LEFT_OUT
    chosen = (rows.scores > np.asarray(thresholds)) & counted
    positive = rows.true == 1
    return chosen & positive, chosen, positive


def _per_class(rows: Predictions, thresholds: Sequence[float]) -> dict[str, JsonValue]:
    ones = np.ones((len(rows.true), 1), np.int64)
    ranked = {
        f"{kind}{suffix}".removeprefix("mean_"): average_precision.of_classes(
            kind, rows.scores, rows.true, ones, left_out=left_out
        )[:, 0]
        for kind in COMPARED
        for suffix, left_out in (("", LEFT_OUT), ("_all", None))
    }
    correct, chosen, support = (table.sum(axis=0) for table in _decisions(rows, thresholds))
    return {
        name: {
            "positives": int(support[i]),
            "left_out": int((rows.true[:, i] == LEFT_OUT).sum()),
            **{kind: _plain(values[i]) for kind, values in ranked.items()},
            "threshold": float(thresholds[i]),
            "precision": float(_ratio(correct[i], chosen[i])),
            "recall": float(_ratio(correct[i], support[i])),
            "f1": float(_ratio(2 * correct[i], chosen[i] + support[i])),
        }
        for i, name in enumerate(rows.classes)
    }


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """numerator / denominator as float64, 0 where the denominator is 0."""
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.divide(top, bottom, out=np.zeros(top.shape), where=bottom > 0)


def inference(rows: Predictions) -> str:
    """Lines such as `[0.250000, -1.750000], [1, 0]`: the scores in class order, and the labels."""
    return "".join(
        f"[{', '.join(f'{score:.6f}' for score in scores)}], [{', '.join(map(str, labels))}]\n"
        for scores, labels in zip(rows.scores, rows.true, strict=True)
    )
