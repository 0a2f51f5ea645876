"""What transferring bought: modes compared in pairs on the same test rows.

The difference between two modes is bootstrapped in two ways at once: over groups (would it
hold on other people?) and over seeds (would it hold for another training run?), both modes
always on the same resample. This is the two-way or "pigeonhole" bootstrap (Owen, "The pigeonhole
bootstrap", Annals of Applied Statistics 1(2), 2007). In simulations with three seeds and 200
groups its 95 % intervals held the truth 98 % of the time where runs hardly vary by seed, but
only 88 % of the time where they vary by 5 points: if seeds disagree, run more of them.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from graft.core.errors import GraftError
from graft.evaluation import average_precision, multilabel
from graft.evaluation.bootstrap import chunk_sizes, percentile_interval, resample_weights
from graft.evaluation.failure import NAMES, Failure, baseline, failed_runs
from graft.evaluation.predictions import Predictions, unpack_predictions
from graft.images.packs import LEFT_OUT

METRICS = ("accuracy", "balanced_accuracy")
"""The metrics of one class per picture; for several see `multilabel.COMPARED`."""


Aligned = Predictions | multilabel.Predictions

Failures = Mapping[str, Mapping[int, Failure]]
"""Mode -> seed -> why that run failed; runs that did not fail are left out."""


def compare(
    predictions: dict[str, dict[int, pd.DataFrame]],
    *,
    metric: str,
    resamples: int,
    seed: int,
    level: float,
    failures: Failures | None = None,
) -> dict:
    """Compare every pair of modes on the test rows that they share.

    `predictions` is mode -> seed -> predictions table (see `predictions.unpack_predictions`);
    `metric` is one of METRICS, or of `multilabel.COMPARED` for tables of several classes per
    picture. A mode's figure is its mean over seeds. A failed run counts in the
    mean, but no pair with one has a verdict on which mode is better. Returns a JSON-safe dict:

    - `metric`, `n_samples`, `n_groups`, `level`, `seeds` (all of them, in order);
    - `modes`: mode -> `mean`, `std` (over seeds, ddof = 1; None for one seed, or if all seeds
      predict the same), `low`, `high`
      (the interval of the mean) and `seeds` (seed as text -> figure);
    - `failed`: mode -> seed as text -> reason, of the modes with a failed run;
    - `n_classes`, and `untested`: the names of those without a test row;
    - `majority_baseline`: the metric's `failure.baseline` on these rows;
    - `pairs`: for each pair `a` (the higher), `b`, `difference` of their means >= 0, `low`,
      `high` (its paired interval) and `verdict`, a sentence.

    All figures are shares in 0..1; the verdict speaks in points (hundredths). With one
    group only, `low` and `high` are None. Raises GraftError where two tables do not hold the
    same test rows, labels, groups and classes.
    """
    failures = failures or {}
    known = alike(metric)
    if metric not in known:
        raise GraftError(f"comparison: metric is {metric!r}; choose one of {', '.join(known)}.")
    aligned, seeds = _align(predictions)
    modes = list(predictions)
    first = aligned[modes[0], next(iter(predictions[modes[0]]))]
    _, codes = np.unique(first.group, return_inverse=True)
    groups = int(codes.max()) + 1

    runs = [(m, s) for m in modes for s in sorted(predictions[m])]
    tally = _tally([aligned[run] for run in runs], codes, metric)
    index = {s: position for position, s in enumerate(seeds)}
    ran = np.zeros((len(modes), len(seeds)), bool)
    for m, s in runs:
        ran[modes.index(m), index[s]] = True

    # (runs,) per resample, then the mean over (resampled) seeds of each mode.
    observed = tally.metric(np.ones((groups, 1), np.int32))
    point = _mode_means(observed, ran, np.ones((len(seeds), 1)))[:, 0]
    if groups > 1:
        rng = np.random.default_rng(seed)
        drawn = np.concatenate(
            [
                _mode_means(
                    tally.metric(resample_weights(rng, groups, size)),
                    ran,
                    _seed_weights(rng, ran, size),
                )
                for size in chunk_sizes(resamples, groups + tally.rows)
            ],
            axis=1,
        )
    else:
        drawn = np.full((len(modes), 1), np.nan)

    figures = {}
    for position, mode in enumerate(modes):
        low, high = percentile_interval(drawn[position], level) or (None, None)
        values = {s: float(observed[runs.index((mode, s)), 0]) for s in sorted(predictions[mode])}
        own = [aligned[mode, s].scores for s in values]
        # Runs that do not depend on the seed, such as probes, do not vary by it either.
        varies = any(not np.array_equal(own[0], other) for other in own[1:])
        spread = float(np.std(list(values.values()), ddof=1)) if varies else None
        figures[mode] = {
            "mean": float(point[position]),
            "std": spread,
            "low": low,
            "high": high,
            "seeds": {str(s): value for s, value in values.items()},
        }
    pairs = []
    for i, j in itertools.combinations(range(len(modes)), 2):
        a, b = (i, j) if point[i] >= point[j] else (j, i)
        difference = float(point[a] - point[b])
        interval = percentile_interval(drawn[a] - drawn[b], level)
        low, high = interval or (None, None)
        pairs.append(
            {
                "a": modes[a],
                "b": modes[b],
                "difference": difference,
                "low": low,
                "high": high,
                "verdict": no_verdict(modes[a], modes[b], predictions, failures)
                or verdict(modes[a], modes[b], difference, interval, metric=metric),
            }
        )
    return {
        "metric": metric,
        "level": level,
        "n_samples": len(first.true),
        "n_groups": groups,
        "n_classes": len(first.classes),
        "untested": untested(first),
        "seeds": [int(s) if isinstance(s, np.integer) else s for s in seeds],
        "modes": figures,
        "failed": {
            mode: {str(s): failures[mode][s].reason for s in sorted(failures[mode])}
            for mode in modes
            if failures.get(mode)
        },
        "majority_baseline": multilabel.baseline(first.true)
        if isinstance(first, multilabel.Predictions)
        else baseline(metric, np.bincount(first.true)),
        "pairs": pairs,
    }


def untested(run: Aligned) -> list[str]:
    """The classes without a row."""
    if isinstance(run, multilabel.Predictions):
        return [
            name for name, of in zip(run.classes, run.true.T, strict=True) if not (of == 1).any()
        ]
    rows = np.bincount(run.true, minlength=len(run.classes))
    return [name for name, count in zip(run.classes, rows, strict=True) if not count]


def alike(metric: str) -> tuple[str, ...]:
    """The metrics that tables which have `metric` can be compared by."""
    return multilabel.COMPARED if metric in multilabel.COMPARED else METRICS


def unpack(frame: pd.DataFrame, name: str = "predictions.csv") -> Aligned:
    """A predictions table of either kind as arrays; GraftError as its own `unpack_predictions`."""
    if multilabel.is_table(frame):
        return multilabel.unpack_predictions(frame, name)
    return unpack_predictions(frame, name)


def in_order(run: Aligned) -> Aligned:
    """The same rows in the order of `sample_id`."""
    order = np.argsort(run.sample_id)
    kind = multilabel.Predictions if isinstance(run, multilabel.Predictions) else Predictions
    sample_id, group, true, scores = (column[order] for column in run[:4])
    return kind(sample_id, group, true, scores, run.classes)


def pairs_table(compared: dict) -> pd.DataFrame:
    """The pairs of what `compare` returns as a table, one row per pair."""
    columns = ["a", "b", "difference", "low", "high", "verdict"]
    return pd.DataFrame(compared["pairs"], columns=columns)


def verdict(
    a: str, b: str, difference: float, interval: list[float] | None, *, metric: str = "accuracy"
) -> str:
    """One plain sentence on "a minus b" (shares in 0..1), which may be that nothing was shown."""
    amount = in_points(difference, interval, metric)
    if interval is None:
        return f"no interval for {a} against {b} ({amount}): all test samples are of one group"
    if interval[0] > 0:
        return f"{a} beats {b} by {amount}"
    return f"no evidence of a difference between {a} and {b} ({amount})"


def in_points(difference: float, interval: Sequence[float] | None, metric: str) -> str:
    """A difference of shares with its interval, such as "3.1 points [1.0, 5.2]"."""
    unit = "points" if metric == "accuracy" else f"points of {NAMES[metric]}"
    bounds = f" [{', '.join(map(_points, interval))}]" if interval is not None else ""
    return f"{_points(difference)} {unit}{bounds}"


def no_verdict(a: str, b: str, runs: Mapping[str, Mapping], failures: Failures) -> str | None:
    """The sentence on two modes of which a run failed, or None; `runs` is mode -> seed -> any."""
    clauses, advice = [], []
    for mode in (a, b):
        failed = failures.get(mode) or {}
        if not failed:
            continue
        advice += [failed[seed].advice for seed in sorted(failed)]
        reasons = {seed: failed[seed].reason for seed in sorted(failed)}
        if len(set(reasons.values())) == 1:
            text = next(iter(reasons.values()))
        else:
            text = "; ".join(f"seed {seed}: {reason}" for seed, reason in reasons.items())
        total = len(runs[mode])
        which = (
            mode if len(failed) == total == 1 else f"{failed_runs(len(failed), total)} of {mode}"
        )
        clauses.append(f"{which} did not train ({text})")
    if not clauses:
        return None
    return f"no verdict: {' and '.join(clauses)}; {' or '.join(dict.fromkeys(advice))}"


def _tally(
    runs: Sequence[Predictions | multilabel.Predictions], codes: np.ndarray, metric: str
) -> "_Tally | _Rankings":
    """What gives the metric of runs with the same rows; `codes` int (n,) are the rows' groups."""
    ranked = [run for run in runs if isinstance(run, multilabel.Predictions)]
    if ranked:
        return _Rankings(ranked, codes, metric)
    single = [run for run in runs if isinstance(run, Predictions)]
    # Accuracy is balanced accuracy with all rows in one class.
    true = single[0].true
    classes = true if metric == "balanced_accuracy" else np.zeros_like(true)
    return _Tally(np.array([run.true == run.predicted for run in single]), classes, codes)


class _Rankings:
    """Scores by which rows are ranked for each class, ready to be weighted by group."""

    def __init__(self, runs: Sequence[multilabel.Predictions], groups: np.ndarray, metric: str):
        self._runs, self._groups, self._metric = runs, groups, metric
        self.rows = len(groups)

    def metric(self, weights: np.ndarray) -> np.ndarray:
        """The mean average precision: (groups, R) weights -> float (runs, R)."""
        of_rows = weights[self._groups]
        return np.array(
            [
                average_precision.mean(
                    average_precision.of_classes(
                        self._metric, run.scores, run.true, of_rows, left_out=LEFT_OUT
                    )
                )
                for run in self._runs
            ]
        )


class _Tally:
    """Hits and rows per class and group, ready to be weighted by group."""

    def __init__(self, hits: np.ndarray, classes: np.ndarray, groups: np.ndarray):
        """`hits` bool (runs, n); `classes` and `groups` int (n,)."""
        runs, self._classes = len(hits), int(classes.max()) + 1
        width = int(groups.max()) + 1
        run, row = np.nonzero(hits)
        self._runs, self.rows = runs, runs * self._classes
        self._hits = _counts(run * self._classes + classes[row], groups[row], (self.rows, width))
        self._support = _counts(classes, groups, (self._classes, width))

    def metric(self, weights: np.ndarray) -> np.ndarray:
        """Mean recall of the classes present: (groups, R) weights -> float (runs, R)."""
        hits = (self._hits @ weights).reshape(self._runs, self._classes, -1)
        support = self._support @ weights
        recall = hits / np.maximum(support, 1)
        return recall.sum(axis=1) / np.count_nonzero(support, axis=0)


def _counts(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """How often each (row, column) occurs; sparse, because most classes miss most groups."""
    ones = np.ones(len(rows), np.int32)
    return sparse.coo_array((ones, (rows, columns)), shape=shape).tocsr()


def _mode_means(values: np.ndarray, ran: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means over seeds: values (runs, R), ran bool (modes, seeds), weights (seeds, R) ->
    (modes, R). Runs stand in the order in which `ran` is True, row by row."""
    table = np.zeros((*ran.shape, values.shape[1]))
    table[ran] = values
    weights = ran[:, :, None] * weights
    return (table * weights).sum(axis=1) / weights.sum(axis=1)


def _seed_weights(rng: np.random.Generator, ran: np.ndarray, resamples: int) -> np.ndarray:
    """How often each seed is drawn, (seeds, resamples), the same for all modes.

    Seeds that the same modes ran are drawn among themselves, so every mode always has one.
    """
    weights = np.zeros((ran.shape[1], resamples))
    _, pattern = np.unique(ran, axis=1, return_inverse=True)
    for which in range(pattern.max() + 1):
        alike = np.flatnonzero(pattern == which)
        weights[alike] = resample_weights(rng, len(alike), resamples)
    return weights


def _align(
    predictions: Mapping[str, Mapping[int, pd.DataFrame]],
) -> tuple[dict[tuple[str, int], Aligned], list[int]]:
    """Every run's predictions in the order of sample_id, checked to be of the same rows; and
    all seeds, sorted."""
    if not predictions or not all(predictions.values()):
        raise GraftError("comparison: a mode has no predictions; train and evaluate it first.")
    seeds = sorted({s for tables in predictions.values() for s in tables})
    aligned: dict[tuple[str, int], Aligned] = {}
    reference = None
    for mode, tables in predictions.items():
        for s, frame in tables.items():
            name = f"comparison: the predictions of mode {mode!r}, seed {s}"
            run = in_order(unpack(frame, name))
            if reference is None:
                reference, first = run, f"mode {mode!r}, seed {s}"
            _check_same(run, reference, name, first)
            aligned[mode, s] = run
    return aligned, seeds


def _check_same(run: Aligned, reference: Aligned, name: str, first: str) -> None:
    advice = "evaluate both again on the same test split."
    extra = np.setdiff1d(run.sample_id, reference.sample_id)
    lacking = np.setdiff1d(reference.sample_id, run.sample_id)
    if len(extra) or len(lacking):
        sample = (*lacking, *extra)[0]
        raise GraftError(
            f"{name} are not of the same test samples as those of {first}: {len(lacking)} are "
            f"missing and {len(extra)} are extra, such as {sample}; {advice}"
        )
    if run.classes != reference.classes:
        raise GraftError(f"{name} have other classes than those of {first}; {advice}")
    for column, differs in {
        "true": (run.true != reference.true).reshape(len(run.true), -1).any(axis=1),
        "group": run.group != reference.group,
    }.items():
        if differs.any():
            sample = run.sample_id[np.argmax(differs)]
            raise GraftError(
                f"{name} give sample {sample} another {column} value than those of {first}; "
                f"{advice}"
            )


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:.1f}"
