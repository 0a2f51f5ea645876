"""Calibration: how far confidences are from the share that is right, and temperature scaling."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import optimize, sparse
from scipy.special import log_softmax

from graft.evaluation import bootstrap
from graft.evaluation.predictions import check_arrays

SCORES = ("log_loss", "brier", "ece")
"""What is reported at a temperature. It changes no prediction. With more than two classes it may
change the order of rows by the probability of a class; AUROC and the like are of the raw ones."""

BINS = 15
"""Bins of confidence, of equal width."""

TEMPERATURES = (0.05, 20.0)
"""The bounds of a fitted temperature."""

LEAST_GROUPS = 10
"""Groups in a bin from which its accuracy has an interval: resamples of fewer say little."""


def weighted_scores(
    true: np.ndarray, log_probabilities: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """SCORES of many weightings of the same rows: score -> float64 (R,).

    `true` int (n,), `log_probabilities` float (n, K), `weights` (n, R) >= 0, one column per
    weighting. The log loss, in nats, is the mean negative log-likelihood of the true class.
    """
    total = weights.sum(axis=0)
    log_losses = -log_probabilities[np.arange(len(true)), true]
    return {
        "log_loss": log_losses @ weights / total,
        "brier": brier_scores(true, log_probabilities) @ weights / total,
        "ece": calibration_error(true, log_probabilities, weights),
    }


def brier_scores(true: np.ndarray, log_probabilities: np.ndarray) -> np.ndarray:
    """The Brier score of each row: float64 (n,) in 0..2, the squared differences between the
    probabilities and 1 for the true class, 0 for the others, summed over classes.

    `true` int (n,), `log_probabilities` float (n, K). Brier, "Verification of forecasts expressed
    in terms of probability", Monthly Weather Review 78(1), 1950: for two classes it is twice the
    squared error of one of them.
    """
    errors = np.exp(log_probabilities)
    errors[np.arange(len(true)), true] -= 1
    return np.square(errors).sum(axis=1)


def calibration_error(
    true: np.ndarray, log_probabilities: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Expected calibration error of many weightings of the same rows: float64 (R,) in 0..1.

    `true` int (n,), `log_probabilities` float (n, K), `weights` (n, R) >= 0. It is the mean over
    rows of |accuracy - mean confidence| of their bin (see `binned`; Guo et al., "On Calibration of
    Modern Neural Networks", ICML 2017, eq. 3). It is never negative, so on few rows chance alone
    makes it larger, and a resample's is larger still.
    """
    rows = np.arange(len(true))
    confidences, bins = binned(log_probabilities)
    gaps = (log_probabilities.argmax(axis=1) == true) - confidences
    table = sparse.csr_array((gaps, (bins, rows)), shape=(BINS, len(rows)))
    return np.abs(table @ weights).sum(axis=0) / weights.sum(axis=0)


def binned(log_probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The confidence in each row's predicted class, float64 (n,), and its bin, int64 (n,) in
    0..BINS-1: bin b holds (b / 15, (b + 1) / 15]."""
    confidences = np.exp(log_probabilities.max(axis=1))
    bins = np.ceil(confidences * BINS).astype(np.int64) - 1
    return confidences, np.clip(bins, 0, BINS - 1)


def fit_temperature(true: ArrayLike, log_probabilities: ArrayLike) -> float | None:
    """The temperature T in TEMPERATURES that minimises the mean log loss of softmax(logits / T).

    `true` int (n,), `log_probabilities` float (n, K), the log-softmax of the logits (Guo et al.
    2017, section 4.2). The loss is convex in 1 / T: T is where its derivative is 0, or the bound
    that it falls towards. None if no row has a class more probable than its true one: the loss then
    falls for ever as T goes to 0, so the rows tell no best T. Raises GraftError as `check_arrays`
    does.
    """
    true, scores = check_arrays(true, log_probabilities)
    of_true = scores[np.arange(len(true)), true]
    if (of_true >= scores.max(axis=1)).all():
        return None

    def slope(inverse: float) -> float:
        """The derivative of the mean log loss by 1 / T."""
        probabilities = np.exp(log_softmax(inverse * scores, axis=1))
        return float(((probabilities * scores).sum(axis=1) - of_true).mean())

    low, high = TEMPERATURES
    if slope(1 / low) <= 0:
        return low
    if slope(1 / high) >= 0:
        return high
    return float(1 / optimize.brentq(slope, 1 / high, 1 / low))


def at_temperature(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The log-softmax of logits / temperature, float64 (n, K), from that of the logits."""
    return log_softmax(log_probabilities / temperature, axis=1)


def reliability(
    true: np.ndarray,
    log_probabilities: np.ndarray,
    groups: np.ndarray,
    *,
    resamples: int,
    seed: int,
    level: float,
) -> pd.DataFrame:
    """Accuracy against confidence: a row for each bin (see `binned`) that holds any, by its number.

    `true` int (n,), `log_probabilities` float (n, K), `groups` (n,). Columns: `n`, the rows in it;
    `groups`, of how many groups; their mean `confidence` and `accuracy`; `low` and `high`, the
    accuracy's interval by the cluster bootstrap (see `bootstrap.intervals`), NaN with less than
    LEAST_GROUPS groups.
    """
    confidences, bins = binned(log_probabilities)
    hits = log_probabilities.argmax(axis=1) == true
    names, codes = np.unique(groups, return_inverse=True)
    rows = pd.DataFrame({"bin": bins, "group": codes, "confidence": confidences, "hit": hits})
    table = rows.groupby("bin").agg(
        n=("hit", "size"),
        groups=("group", "nunique"),
        confidence=("confidence", "mean"),
        accuracy=("hit", "mean"),
    )
    shape = (BINS, len(names))
    held = sparse.csr_array((np.ones(len(bins), np.int64), (bins, codes)), shape=shape)
    right = sparse.csr_array((hits.astype(np.int64), (bins, codes)), shape=shape)

    def accuracies(weights: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(invalid="ignore"):  # a resample may leave a bin empty
            shares = (right @ weights) / (held @ weights)
        return {str(number): shares[number] for number in table.index}

    found = bootstrap.intervals(accuracies, names, resamples=resamples, seed=seed, level=level)
    ends = [found.get(str(number)) or (np.nan, np.nan) for number in table.index]
    table[["low", "high"]] = np.reshape(ends, (-1, 2))
    table.loc[table["groups"] < LEAST_GROUPS, ["low", "high"]] = np.nan
    return table
