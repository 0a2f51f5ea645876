"""Average precision, in its two definitions, of many weightings of the same rows.

`area` is the area below the precision-recall curve as scikit-learn and Pascal VOC from 2010 on
sum it: the precision at each positive. `eleven_point` is that of Pascal VOC up to 2009 (Everingham
et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010, section 4.2): the mean over
the recalls 0, 0.1 ... 1 of the highest precision at a recall of at least that.

Rows of equal scores are one threshold in both, so that neither depends on their order.
"""

from collections.abc import Callable

import numpy as np

from graft.evaluation.metrics import weighted_ranking

RECALLS = 10
"""Steps of recall from 0 to 1."""


def area(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64 (R,) in 0..1, NaN where all rows or none are positive.

    `scores` float (n,), `positive` bool (n,) with at least one True, integer `weights` (n, R) >= 0.
    """
    return weighted_ranking(scores, positive, weights)[1]


def eleven_point(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As `area`."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    drawn = weights[order].astype(np.int64)
    hits = np.cumsum(drawn * positive[order][:, None], axis=0)[ends]
    chosen = np.cumsum(drawn, axis=0)[ends]
    precision = np.divide(hits, chosen, out=np.zeros(hits.shape), where=chosen > 0)
    highest = np.maximum.accumulate(precision[::-1], axis=0)[::-1]  # at this recall or above
    total = hits[-1]
    columns = np.arange(len(total))
    sums = np.zeros(len(total))
    for step in range(RECALLS + 1):
        # In integers: a recall of 3 / 10 is one of 0.3.
        reached = (RECALLS * hits >= step * total).argmax(axis=0)
        sums += highest[reached, columns]
    defined = (total > 0) & (total < chosen[-1])
    return np.where(defined, sums / (RECALLS + 1), np.nan)


KINDS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "mean_ap": area,
    "mean_ap_11": eleven_point,
}
"""The definition behind each metric."""


def of_classes(
    kind: str, scores: np.ndarray, labels: np.ndarray, weights: np.ndarray, *, left_out: int | None
) -> np.ndarray:
    """The average precision of each class: float64 (K, R), NaN where it is undefined.

    `scores` float (n, K), `labels` (n, K) of 0 and 1 and perhaps `left_out`, whose rows do not
    count for that class; without a `left_out` every label but 0 is positive. `weights` (n, R).
    """
    values = np.full((scores.shape[1], weights.shape[1]), np.nan)
    for number, (score, label) in enumerate(zip(scores.T, labels.T, strict=True)):
        counted = label != left_out if left_out is not None else np.ones(len(label), bool)
        positive = label[counted] > 0
        if positive.any():
            values[number] = KINDS[kind](score[counted], positive, weights[counted])
    return values


def mean(values: np.ndarray) -> np.ndarray:
    """The mean over the classes that have a value: (K, R) -> (R,), NaN where none has."""
    defined = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(axis=0) / defined.sum(axis=0)
