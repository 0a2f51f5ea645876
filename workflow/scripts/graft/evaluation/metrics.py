"""Metrics of one run on its test rows, with bootstrap intervals.

To add a metric: its heading in HEADINGS, its value in `classification_metrics`, and its value for
many weightings of the rows in `weighted_metrics`, from which intervals come.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import sklearn.metrics
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.special import logsumexp

from graft.core.errors import GraftError
from graft.core.files import JsonValue
from graft.evaluation import bootstrap
from graft.evaluation.calibration import SCORES, at_temperature, weighted_scores
from graft.evaluation.predictions import (
    MIN_CLASSES,
    Predictions,
    check_arrays,
    unpack_predictions,
)

HEADINGS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "precision (macro)",
    "macro_recall": "recall (macro)",
    "macro_f1": "F1 (macro)",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "ECE",
}
"""Every metric with an interval, and its heading; all are in 0..1 but those of UNSCALED."""

METRICS = tuple(HEADINGS)

UNSCALED = ("log_loss", "brier")
"""The log loss is in nats, the Brier score in 0..2; they are no shares."""

SCALED = {f"{name}_scaled": name for name in SCORES}
"""Names in tables of the SCORES after temperature scaling."""


def classification_metrics(
    true: ArrayLike, log_probabilities: ArrayLike, classes: Sequence[str]
) -> dict[str, JsonValue]:
    """The metrics of one run on its test rows, as JSON-safe values.

    `true` is int (n,), the index of each row's class; `log_probabilities` is float (n, K), the
    log-softmax of the logits; the prediction is the most confident class. Returns METRICS (floats)
    and `majority_baseline` (the share of the commonest class among these rows), `confusion_matrix`
    (K lists of K counts, rows are the true class), `n`, `classes` and `untested`, those of the
    classes without a row here.

    Macro precision, recall and F1 are means over the classes that occur among the true or the
    predicted ones, with 0 for an undefined ratio; balanced accuracy is the mean recall of the
    true ones. AUROC and average precision are those of the second class for K = 2, else the
    mean one-versus-rest value of the classes with both positives and negatives, and None where
    there is no such class; rows are ranked by `margins`. For log loss, Brier score and ECE see
    `calibration`. Raises GraftError for no rows, labels outside 0..K-1 or scores that are not
    log-probabilities.
    """
    true, log_probabilities = check_arrays(true, log_probabilities)
    count = log_probabilities.shape[1]
    if len(classes) != count:
        raise GraftError(
            f"predictions: {count} log-probabilities per row for {len(classes)} classes. Evaluate "
            "with the classes that the model was trained on."
        )
    predicted, scores = log_probabilities.argmax(axis=1), margins(log_probabilities)
    # The balanced accuracy; scikit-learn's own warns of classes that are predicted but never true.
    balanced = sklearn.metrics.recall_score(
        true, predicted, labels=np.unique(true), average="macro"
    )
    precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(
        true, predicted, average="macro", zero_division=0
    )
    ranked = [
        (
            sklearn.metrics.roc_auc_score(true == k, scores[:, k]),
            sklearn.metrics.average_precision_score(true == k, scores[:, k]),
        )
        for k in _ranked_classes(count)
        if 0 < np.count_nonzero(true == k) < len(true)
    ]
    auroc, average_precision = np.mean(ranked, axis=0) if ranked else (None, None)
    scored = weighted_scores(true, log_probabilities, np.ones((len(true), 1)))
    values = {
        "accuracy": sklearn.metrics.accuracy_score(true, predicted),
        "balanced_accuracy": balanced,
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": f1,
        "auroc": auroc,
        "average_precision": average_precision,
        **{name: score[0] for name, score in scored.items()},
        "majority_baseline": np.bincount(true).max() / len(true),
    }
    matrix = sklearn.metrics.confusion_matrix(true, predicted, labels=np.arange(count))
    return {
        **{name: None if value is None else float(value) for name, value in values.items()},
        "confusion_matrix": matrix.tolist(),
        "n": len(true),
        "classes": [str(name) for name in classes],
        "untested": [str(name) for k, name in enumerate(classes) if not np.any(true == k)],
    }


def weighted_metrics(
    true: np.ndarray, log_probabilities: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """METRICS of many weightings of the same rows: metric -> (R,), NaN where undefined.

    `true` int (n,), `log_probabilities` float (n, K), `weights` (n, R) >= 0, one column per
    weighting. Equal to scikit-learn's on rows repeated as often as their weight says.
    """
    count = log_probabilities.shape[1]
    predicted, scores = log_probabilities.argmax(axis=1), margins(log_probabilities)
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
            weighted_ranking(scores[:, k], true == k, weights)
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
        **weighted_scores(true, log_probabilities, weights),
    }


def margins(log_probabilities: np.ndarray) -> np.ndarray:
    """log p_k - log(1 - p_k) of each class k: float64 (n, K), the order of p_k without its ties.

    `log_probabilities` is float (n, K). Many probabilities of a confident network are exactly 0 or
    1 and would tie. Where p_k > 0.5, 1 - p_k may have lost all its digits and is summed from the
    probabilities of the other classes.
    """
    probabilities = np.exp(log_probabilities)
    rows, top = np.nonzero(probabilities > 0.5)  # one class of a row at most
    others = log_probabilities[rows]
    others[np.arange(len(rows)), top] = -np.inf
    rest = np.log1p(-np.minimum(probabilities, 0.5))
    rest[rows, top] = logsumexp(others, axis=1)
    return log_probabilities - rest


def weighted_ranking(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
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


def measure(
    frame: pd.DataFrame, *, temperature: float | None, resamples: int, seed: int, level: float
) -> dict[str, JsonValue]:
    """All metrics of a predictions table, with their intervals under `intervals`.

    `temperature` is what was fitted on the validation rows (see `calibration.fit_temperature`).
    Under `temperature` are its `value`, the SCORES of the same rows at it, all None where it is
    None, and their `intervals`.
    """
    rows = unpack_predictions(frame)
    options: dict[str, Any] = {"resamples": resamples, "seed": seed, "level": level}
    return {
        **classification_metrics(rows.true, rows.log_probabilities, rows.classes),
        "intervals": bootstrap_intervals(rows.true, rows.log_probabilities, rows.group, **options),
        "temperature": {"value": temperature, **_scores_at(rows, temperature, options)},
    }


def _scores_at(
    rows: Predictions, temperature: float | None, options: Mapping[str, Any]
) -> dict[str, JsonValue]:
    """SCORES at a temperature, and their intervals; `options` are those of the bootstrap."""
    if temperature is None:
        return {**dict.fromkeys(SCORES), "intervals": dict.fromkeys(SCORES)}
    log_probabilities = at_temperature(rows.log_probabilities, temperature)

    def weighted(weights: np.ndarray) -> dict[str, np.ndarray]:
        return weighted_scores(rows.true, log_probabilities, weights)

    values = weighted(np.ones((len(rows.true), 1)))
    intervals = bootstrap.intervals(weighted, rows.group, **options)
    return {
        **{name: float(value[0]) for name, value in values.items()},
        "intervals": intervals or dict.fromkeys(SCORES),
    }


def bootstrap_intervals(
    true: ArrayLike,
    log_probabilities: ArrayLike,
    groups: ArrayLike,
    *,
    resamples: int,
    seed: int,
    level: float,
) -> dict[str, list[float] | None]:
    """Intervals of METRICS by the cluster bootstrap (see `bootstrap.intervals`).

    `true` int (n,), `log_probabilities` float (n, K), `groups` (n,). All are None with one group
    only.
    """
    true, log_probabilities = check_arrays(true, log_probabilities)
    groups = np.asarray(groups)
    if len(groups) != len(true):
        raise GraftError(
            f"predictions: {len(groups)} groups for {len(true)} rows. Give one group per row."
        )

    def weighted(weights: np.ndarray) -> dict[str, np.ndarray]:
        return weighted_metrics(true, log_probabilities, weights)

    intervals = bootstrap.intervals(weighted, groups, resamples=resamples, seed=seed, level=level)
    return intervals or dict.fromkeys(METRICS)


def scaled(run: Mapping) -> dict[str, float | None]:
    """The `temperature` of what `measure` returned, and each of SCALED; {} of several classes per
    picture, which have no temperature."""
    if "temperature" not in run:
        return {}
    at = run["temperature"]
    return {"temperature": at["value"], **{name: at[raw] for name, raw in SCALED.items()}}


def over_seeds(
    metrics: Sequence[Mapping], names: Sequence[str] = METRICS
) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation (ddof = 1; None for one seed) of metrics over runs.

    Runs whose value is None are left out; with no value at all the mean is None too. `names` that
    no run has are left out.
    """
    summary = {}
    for name in (name for name in names if any(name in run for run in metrics)):
        values = [run[name] for run in metrics if run.get(name) is not None]
        summary[name] = {
            "mean": float(np.mean(values)) if values else None,
            "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        }
    return summary


def _ranked_classes(count: int) -> range:
    return range(1, 2) if count == MIN_CLASSES else range(count)


def _indicator(classes: np.ndarray, rows: np.ndarray, count: int, n: int) -> sparse.csr_array:
    """Sparse (count, n) with a 1 where a row is of a class."""
    return sparse.csr_array(
        (np.ones(len(rows), np.int32), (classes, rows)), shape=(count, n), dtype=np.int32
    )


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator as float64, 0 where the denominator is 0."""
    out = np.zeros(np.shape(numerator), np.float64)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)
