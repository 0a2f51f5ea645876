"""Labels curves: what every mode reaches with more and more training samples.

For how many labels does a pre-trained network pay, and from how many on is it worth fine-tuning?
Each size is compared like an experiment of its own (see `evaluation.compare`): all have the same
test samples, and of a seed each training set is part of the next.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from graft.config.architectures import PROBES
from graft.config.plan import Comparison
from graft.core.errors import GraftError
from graft.evaluation import compare
from graft.reporting.figures.style import in_order
from graft.reporting.results import Record, Results

FROZEN = (*PROBES, "feature_extraction")
"""Modes that differ only in how a head is found; sentences do not set them against one another."""


def curve(results: Mapping[str, Results], settings: Comparison) -> Record:
    """The labels curve of an experiment, JSON-safe; `results` are those of its sizes and its own.

    Returns

    - `metric`, `level`, `majority_baseline`, `n_samples` and `n_groups`, as in `compare`;
    - `val_rows`: the validation samples, which are the same at all sizes;
    - `sizes`: numbers of training samples, ascending; the last is all of them;
    - `modes`: mode -> for each size `train_rows`, `mean`, `std`, `low`, `high`, `seeds` as in
      `compare`, `updates` (of the training in full, mean over seeds) and `failed` (seed -> reason);
    - `pairs`: for each two modes `a`, `b` and `sizes`: for each size `train_rows`, `difference`
      (a minus b), `low`, `high` and `verdict`;
    - `sentences`: from which size on one mode is better than another.

    Raises GraftError where two sizes do not have the same test samples.
    """
    by_rows = {_train_rows(own): own for own in sorted(results.values(), key=_train_rows)}
    compared = {rows: _compare(own, settings) for rows, own in by_rows.items()}
    *_, largest = by_rows
    first = compared[largest]
    if any(one["n_samples"] != first["n_samples"] for one in compared.values()):
        raise GraftError("labels: the sizes have different test samples. Comparison all again.")
    modes = in_order(first["modes"])
    pairs: list[Record] = [
        {"a": a, "b": b, "sizes": [_signed(one, rows, a, b) for rows, one in compared.items()]}
        for b, a in itertools.combinations(modes, 2)
    ]
    return {
        **{key: first[key] for key in ("metric", "level", "majority_baseline")},
        **{key: first[key] for key in ("n_samples", "n_groups")},
        "val_rows": by_rows[largest].first_fit(modes[0])["samples"]["val"],
        "sizes": list(by_rows),
        "modes": {
            mode: [
                {
                    "train_rows": rows,
                    **compared[rows]["modes"][mode],
                    "updates": _updates(own, mode),
                    "failed": compared[rows]["failed"].get(mode, {}),
                }
                for rows, own in by_rows.items()
            ]
            for mode in modes
        },
        "pairs": pairs,
        "sentences": [
            sentence(pair["a"], pair["b"], pair["sizes"])
            for pair in sorted(pairs, key=lambda pair: pair["b"] == "from_scratch")
            if not (pair["a"] in FROZEN and pair["b"] in FROZEN)
        ],
    }


def sentence(a: str, b: str, sizes: Sequence[Mapping]) -> str:
    """From how many labels on mode `a` is better than mode `b`, or worse, in one sentence.

    `sizes` are ascending, each with `train_rows` and the interval `low`, `high` of a minus b, as
    `curve` returns them. Sizes at which a run failed have no verdict and are left out.
    """
    judged = [size for size in sizes if not size["failed"]]
    left_out = [size["train_rows"] for size in sizes if size["failed"]]
    note = f" (no verdict with {_listed(left_out)}, where runs failed)" if left_out else ""
    if not judged:
        return f"no verdict on {a} and {b} at any size: runs failed."
    labels = [size["train_rows"] for size in judged]
    signs = [_sign(size) for size in judged]
    changes = [i for i in range(1, len(signs)) if signs[i] != signs[i - 1]]
    better, worse = {1: (a, b), -1: (b, a), 0: (a, b)}[signs[-1] or signs[0]]
    span = f"from {labels[0]:,} to {labels[-1]:,}" if len(labels) > 1 else f"with {labels[0]:,}"
    if not changes and signs[0] == 0:
        text = f"no evidence of a difference between {a} and {b} {span} labels"
    elif not changes:
        text = f"{better} is better than {worse} {span} labels"
    elif len(changes) == 1 and signs[0] == 0:
        text = (
            f"{better} overtakes {worse} from {labels[changes[0]]:,} labels; "
            "below that no evidence of a difference"
        )
    elif len(changes) == 1 and signs[-1] == 0:
        text = (
            f"{better} is better than {worse} up to {labels[changes[0] - 1]:,} labels; "
            "above that no evidence of a difference"
        )
    else:
        parts = {1: f"{a} is better with", -1: f"{b} is better with", 0: "no evidence with"}
        found = {
            sign: [n for n, own in zip(labels, signs, strict=True) if own == sign] for sign in parts
        }
        listed = [f"{parts[sign]} {_listed(own)}" for sign, own in found.items() if own]
        text = f"{a} against {b}, by labels: {'; '.join(listed)}"
    return f"{text}{note}."


def table(curve: Record) -> pd.DataFrame:
    """One row per size and mode: `train_rows`, `mode`, the metric with its interval and std over
    seeds (shares in 0..1), `updates` and the number of runs that `failed`."""
    metric = curve["metric"]
    return pd.DataFrame(
        [
            {
                "train_rows": point["train_rows"],
                "mode": mode,
                metric: point["mean"],
                **{f"{metric}_{end}": point[end] for end in ("low", "high", "std")},
                "seeds": len(point["seeds"]),
                "updates": point["updates"],
                "failed": len(point["failed"]),
            }
            for at in range(len(curve["sizes"]))
            for mode, points in curve["modes"].items()
            for point in points[at : at + 1]
        ]
    )


def _train_rows(results: Results) -> int:
    return int(results.first_fit(results.modes[0])["samples"]["train"])


def _compare(results: Results, settings: Comparison) -> Record:
    return compare.compare(
        results.tables(),
        failures=results.failures_by_mode(settings.metric),
        **settings.model_dump(),
    )


def _updates(results: Results, mode: str) -> float:
    fits = results.of(mode, results.fits).values()
    return float(np.mean([fit["updates"]["full"] for fit in fits]))


def _signed(compared: Record, rows: int, a: str, b: str) -> Record:
    """The pair of modes a and b at a size, as a minus b."""
    (pair,) = (pair for pair in compared["pairs"] if {pair["a"], pair["b"]} == {a, b})
    low, high, difference = pair["low"], pair["high"], pair["difference"]
    if pair["a"] == b:
        low, high = (None, None) if low is None else (-high, -low)
        difference = -difference
    return {
        "train_rows": rows,
        "difference": difference,
        "low": low,
        "high": high,
        "failed": bool({a, b} & set(compared["failed"])),
        "verdict": pair["verdict"],
    }


def _sign(size: Mapping) -> int:
    """1 where the interval of a minus b is above 0, -1 where it is below, else 0."""
    if size["low"] is None:
        return 0
    return int(size["low"] > 0) - int(size["high"] < 0)


def _listed(numbers: Sequence[int]) -> str:
    *most, last = (f"{number:,}" for number in numbers)
    return f"{', '.join(most)} and {last}" if most else last
