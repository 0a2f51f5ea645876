"""The cluster bootstrap: intervals from resampling groups with replacement.

The samples of a test set that show one person are not independent: a model that fails on a face
tends to fail on all its pictures. So groups are resampled, not rows (Davison and Hinkley,
"Bootstrap Methods and their Application", 1997, section 3.8). A resample is a vector of integer
weights, so that a metric can be computed for many resamples at once.
"""

from collections.abc import Callable, Mapping

import numpy as np

_CHUNK_ELEMENTS = 1 << 20  # weights held at once, rows x resamples: bounds memory, fits a cache


def intervals(
    measure: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    groups: np.ndarray,
    *,
    resamples: int,
    seed: int,
    level: float,
) -> dict[str, list[float] | None]:
    """Percentile intervals [low, high] of metrics.

    `measure` takes integer weights (n, R) of the rows and gives each metric for R resamples;
    `groups` (n,) are the rows' groups. A resample in which a metric is undefined (NaN) is left out
    of that metric's interval; None stands for a metric that is undefined in every resample.
    With one group nothing varies, and an interval of no width would claim certainty: {} then.
    Memory is bounded, however many resamples.
    """
    names, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    if len(names) == 1:
        return {}
    rng = np.random.default_rng(seed)
    parts = [
        measure(resample_weights(rng, len(names), size)[codes])
        for size in chunk_sizes(resamples, len(codes))
    ]
    return {
        name: percentile_interval(np.concatenate([part[name] for part in parts]), level)
        for name in parts[0]
    }


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
