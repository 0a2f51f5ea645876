"""Figures of merit of one run on its test rows, with intervals by bootstrap over groups.

The rows of a test set that show one person are not independent: a model that fails on a face
tends to fail on all its pictures. So intervals come from resampling GROUPS (identities), not
rows (the cluster bootstrap: Davison and Hinkley, "Bootstrap Methods and their Application",
1997, section 3.8). A resample is a vector of integer weights, which lets every metric be
computed for many resamples at once.
"""

import os
import textwrap
from typing import NamedTuple

import numpy as np
import pandas as pd
import sklearn.metrics
from scipy import sparse

from graft.core.errors import GraftError
from graft.core.files import atomic

METRICS = (
    "accuracy",
    "balanced_accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "auroc",
    "average_precision",
    "log_loss",
)
"""Every figure that has an interval; all lie in 0..1 but the log loss (nats, 0..36)."""

_CONFIDENCE = "confidence_"
_SUM_TOLERANCE = 1e-3
_TIE_TOLERANCE = 1e-6
_CHUNK_ELEMENTS = 1 << 20  # weights held at once, rows x resamples: bounds memory, fits a cache
_MIN_CLASSES = 2


class Predictions(NamedTuple):
    """The columns of a predictions table as arrays, in the table's row order."""

    sample_id: np.ndarray  # (n,) str
    group: np.ndarray  # (n,) str
    true: np.ndarray  # (n,) int64, index into `classes`
    confidences: np.ndarray  # (n, K) float64, rows sum to 1
    classes: list[str]  # K names


def predictions_frame(sample_id, group, true, confidences, classes) -> pd.DataFrame:
    """The table that predictions.csv holds, one row per test sample.

    `true` is int (n,), `confidences` float (n, K). The columns are `sample_id`, `group`, `true`
    and `predicted` (class names) and one `confidence_<class>` per class, in class order.
    """
    true, confidences = _checked(true, confidences)
    names = np.asarray(classes, dtype=object)
    frame = pd.DataFrame(
        {
            "sample_id": np.asarray(sample_id).astype(str),
            "group": np.asarray(group).astype(str),
            "true": names[true],
            "predicted": names[confidences.argmax(axis=1)],
        }
    )
    scores = pd.DataFrame(confidences, columns=[f"{_CONFIDENCE}{name}" for name in classes])
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
    columns = [column for column in frame.columns if str(column).startswith(_CONFIDENCE)]
    if missing or len(columns) < _MIN_CLASSES:
        lacks = ", ".join(sorted(missing)) or "confidence_<class> for two classes or more"
        raise GraftError(f"{name}: lacks the column(s) {lacks}; make it again with evaluate.")
    classes = [column.removeprefix(_CONFIDENCE) for column in columns]
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
    true, scores = _checked(true, scores, name)
    chosen = scores[np.arange(len(scores)), predicted]
    if (chosen < scores.max(axis=1) - _TIE_TOLERANCE).any():
        row = int(np.argmax(scores.max(axis=1) - chosen))
        raise GraftError(
            f"{name}: sample {sample_id[row]} is predicted {classes[predicted[row]]!r}, which is "
            "not the class of its highest confidence; make it again with evaluate."
        )
    return Predictions(sample_id, group, true, scores, classes)


def classification_metrics(true, confidences, classes: list[str]) -> dict:
    """Figures of merit of one run on its test rows, as JSON-safe values.

    `true` is int (n,), the index of each row's class; `confidences` is float (n, K), softmax
    probabilities; the prediction is the most confident class. Returns METRICS (floats) and
    `majority_baseline` (the share of the commonest class among these rows), `confusion_matrix`
    (K lists of K counts, rows are the true class), `n` and `classes`.

    Macro precision, recall and F1 are means over the classes that occur among the true or the
    predicted ones, with 0 for an undefined ratio; balanced accuracy is the mean recall of the
    true ones. AUROC and average precision are those of the second class for K = 2, else the
    mean one-versus-rest value of the classes with both positives and negatives, and None where
    there is no such class. Raises GraftError for no rows, labels outside 0..K-1 or confidences
    that are not probabilities.
    """
    true, confidences = _checked(true, confidences)
    count = confidences.shape[1]
    if len(classes) != count:
        raise GraftError(
            f"predictions: {count} confidences a row for {len(classes)} classes; evaluate with "
            "the classes that the model was trained on."
        )
    predicted = confidences.argmax(axis=1)
    # The balanced accuracy; scikit-learn's own warns of classes that are predicted but never true.
    balanced = sklearn.metrics.recall_score(
        true, predicted, labels=np.unique(true), average="macro"
    )
    precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(
        true, predicted, average="macro", zero_division=0
    )
    ranked = [
        (
            sklearn.metrics.roc_auc_score(true == k, confidences[:, k]),
            sklearn.metrics.average_precision_score(true == k, confidences[:, k]),
        )
        for k in _ranked_classes(count)
        if 0 < np.count_nonzero(true == k) < len(true)
    ]
    auroc, average_precision = np.mean(ranked, axis=0) if ranked else (None, None)
    normalised = confidences / confidences.sum(axis=1, keepdims=True)
    values = {
        "accuracy": sklearn.metrics.accuracy_score(true, predicted),
        "balanced_accuracy": balanced,
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": f1,
        "auroc": auroc,
        "average_precision": average_precision,
        "log_loss": sklearn.metrics.log_loss(true, normalised, labels=np.arange(count)),
        "majority_baseline": np.bincount(true).max() / len(true),
    }
    matrix = sklearn.metrics.confusion_matrix(true, predicted, labels=np.arange(count))
    return {
        **{name: None if value is None else float(value) for name, value in values.items()},
        "confusion_matrix": matrix.tolist(),
        "n": len(true),
        "classes": [str(name) for name in classes],
    }


def bootstrap_intervals(
    true, confidences, groups, *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, list[float] | None]:
    """Percentile intervals of METRICS from resampling groups with replacement.

    `true` int (n,), `confidences` float (n, K), `groups` (n,), the identity of each row. Returns
    metric -> [low, high]. A resample in which a metric is undefined (AUROC without a positive)
    is left out of that metric's interval. None stands for a metric that is undefined in every
    resample, and for all metrics when there is only one group: nothing varies then, and an
    interval of no width would claim certainty. Memory is bounded whatever the resamples.
    """
    true, confidences = _checked(true, confidences)
    if len(groups) != len(true):
        raise GraftError(
            f"predictions: {len(groups)} groups for {len(true)} rows; give one group per row."
        )
    names, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    if len(names) == 1:
        return dict.fromkeys(METRICS)
    rng = np.random.default_rng(seed)
    parts = []
    for size in chunk_sizes(resamples, len(true)):
        weights = resample_weights(rng, len(names), size)
        parts.append(weighted_metrics(true, confidences, weights[codes]))
    return {
        name: percentile_interval(np.concatenate([part[name] for part in parts]), level)
        for name in METRICS
    }


def weighted_metrics(true, confidences, weights) -> dict[str, np.ndarray]:
    """METRICS of many weightings of the same rows: metric -> (R,), NaN where undefined.

    `true` int (n,), `confidences` float (n, K), `weights` (n, R) >= 0, one column per
    weighting. Equal to scikit-learn's on rows repeated as often as their weight says.
    """
    count = confidences.shape[1]
    predicted = confidences.argmax(axis=1)
    rows = np.arange(len(true))
    hit = true == predicted
    # Sparse, so that neither many classes nor many rows make a dense table of rows by classes.
    correct = _indicator(true[hit], rows[hit], count, len(true)) @ weights
    support = _indicator(true, rows, count, len(true)) @ weights
    chosen = _indicator(predicted, rows, count, len(true)) @ weights
    total = weights.sum(axis=0)
    precision, recall = _ratio(correct, chosen), _ratio(correct, support)
    f1 = _ratio(2 * correct, support + chosen)
    occurs = ((support + chosen) > 0).sum(axis=0)
    ranked = np.array(
        [
            weighted_ranking(confidences[:, k], true == k, weights)
            for k in _ranked_classes(count)
            if 0 < np.count_nonzero(true == k) < len(true)
        ]
    ).reshape(-1, 2, weights.shape[1])
    defined = np.isfinite(ranked)
    with np.errstate(invalid="ignore"):
        auroc, average_precision = np.nansum(ranked, axis=0) / defined.sum(axis=0)
    return {
        "accuracy": correct.sum(axis=0) / total,
        "balanced_accuracy": recall.sum(axis=0) / (support > 0).sum(axis=0),
        "macro_precision": precision.sum(axis=0) / occurs,
        "macro_recall": recall.sum(axis=0) / occurs,
        "macro_f1": f1.sum(axis=0) / occurs,
        "auroc": auroc,
        "average_precision": average_precision,
        "log_loss": _row_log_loss(true, confidences) @ weights / total,
    }


def weighted_ranking(scores, positive, weights) -> tuple[np.ndarray, np.ndarray]:
    """AUROC and average precision of many weightings of the same rows, each (R,).

    `scores` float (n,), `positive` bool (n,) with at least one True, `weights` (n, R) >= 0.
    Equal scores are one threshold, as in scikit-learn: half a win each for the AUROC, one step
    of the precision-recall curve for the average precision. NaN where the positives or the
    negatives weigh nothing.
    """
    order = np.argsort(scores, kind="stable")
    ordered, positive = scores[order], positive[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    ends = np.append(starts[1:], len(ordered))
    # Only thresholds that hold a positive contribute to either sum.
    kept = np.add.reduceat(positive.astype(np.int64), starts) > 0
    cumulated = np.zeros((len(ordered) + 1, weights.shape[1]), weights.dtype)
    np.cumsum(weights[order], axis=0, out=cumulated[1:])
    below, up_to = cumulated[starts[kept]], cumulated[ends[kept]]
    threshold = np.repeat(np.arange(len(starts)), ends - starts)[positive]
    first = np.flatnonzero(np.concatenate([[True], threshold[1:] != threshold[:-1]]))
    here = np.add.reduceat(weights[order[positive]], first, axis=0)  # positives at the threshold
    positives_below = np.cumsum(here, axis=0, dtype=weights.dtype) - here
    total, positives = cumulated[-1], here.sum(axis=0, dtype=weights.dtype)
    wins = (below - positives_below) + 0.5 * (up_to - below - here)
    precision = _ratio(positives - positives_below, total - below)
    pairs = positives.astype(np.float64) * (total - positives)
    with np.errstate(divide="ignore", invalid="ignore"):
        auroc = np.where(pairs > 0, (here * wins).sum(axis=0) / pairs, np.nan)
        average_precision = np.where(pairs > 0, (here * precision).sum(axis=0) / positives, np.nan)
    return auroc, average_precision


def resample_weights(rng: np.random.Generator, units: int, resamples: int) -> np.ndarray:
    """How often each unit is drawn in each resample: int32 (units, resamples), columns sum to
    `units`."""
    draws = rng.integers(0, units, size=(resamples, units))
    draws += np.arange(resamples)[:, None] * units
    counts = np.bincount(draws.ravel(), minlength=resamples * units)
    return np.ascontiguousarray(counts.reshape(resamples, units).T.astype(np.int32))


def chunk_sizes(resamples: int, rows: int) -> list[int]:
    """Split `resamples` so that `rows` times a chunk stays small whatever the rows."""
    size = max(8, _CHUNK_ELEMENTS // max(rows, 1))
    return [min(size, resamples - start) for start in range(0, resamples, size)]


def percentile_interval(values: np.ndarray, level: float) -> list[float] | None:
    """The central `level` of the finite values as [low, high]; None if there is none."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    tail = (1 - level) / 2
    return [float(value) for value in np.quantile(finite, [tail, 1 - tail])]


def measure(frame: pd.DataFrame, *, resamples: int, seed: int, level: float) -> dict:
    """All figures of a predictions table, with their intervals under `intervals`."""
    rows = unpack_predictions(frame)
    found = classification_metrics(rows.true, rows.confidences, rows.classes)
    found["intervals"] = bootstrap_intervals(
        rows.true, rows.confidences, rows.group, resamples=resamples, seed=seed, level=level
    )
    return found


def over_seeds(metrics: list[dict]) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation (ddof = 1; None for one seed) of each of METRICS over runs.

    Runs whose value is None are left out; with no value at all the mean is None too.
    """
    summary = {}
    for name in METRICS:
        values = [run[name] for run in metrics if run.get(name) is not None]
        summary[name] = {
            "mean": float(np.mean(values)) if values else None,
            "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        }
    return summary


def _ranked_classes(count: int) -> range:
    return range(1, 2) if count == _MIN_CLASSES else range(count)


def _indicator(classes, rows, count: int, n: int) -> sparse.csr_array:
    """Sparse (count, n) with a 1 where a row is of a class."""
    return sparse.csr_array(
        (np.ones(len(rows), np.int32), (classes, rows)), shape=(count, n), dtype=np.int32
    )


def _ratio(numerator, denominator) -> np.ndarray:
    """numerator / denominator as float64, 0 where the denominator is 0."""
    out = np.zeros(np.shape(numerator), np.float64)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def _row_log_loss(true, confidences) -> np.ndarray:
    """(n,) minus the log of the true class's probability, clipped as scikit-learn does."""
    share = confidences[np.arange(len(true)), true] / confidences.sum(axis=1)
    tiny = np.finfo(np.float64).eps
    return -np.log(np.clip(share, tiny, 1 - tiny))


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


def _checked(true, confidences, name: str = "predictions") -> tuple[np.ndarray, np.ndarray]:
    """`true` as int64 (n,) and `confidences` as float64 (n, K), or a GraftError."""
    true = np.asarray(true)
    confidences = np.asarray(confidences, dtype=np.float64)
    shaped = true.ndim == 1 and true.shape == confidences.shape[:-1]
    if not shaped or not len(true) or confidences.shape[1] < _MIN_CLASSES:
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
