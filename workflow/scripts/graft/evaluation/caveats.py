"""Caveats: what a reviewer would object to in an experiment, whatever its runs did."""

from collections.abc import Mapping, Sequence

import numpy as np

from graft.config.architectures import PROBES

LEAST_TEST, LEAST_VAL = 100, 50
WIDEST = 0.10
NAMED = 3


def caveats(
    comparison: Mapping,
    support: Sequence[int],
    classes: Sequence[str],
    *,
    val_rows: int,
    seeds: int,
    target: bool,
) -> list[str]:
    """Sentences on small test and validation sets, classes without a test sample, a single seed and
    wide intervals.

    comparison: what `compare.compare` returns. support: test samples of each class. val_rows:
    samples that epochs and rates were chosen by. target: False for a source task, of which only
    what its model learnt matters, so that one seed and a wide interval are no news.
    """
    n = comparison["n_samples"]
    return [
        sentence
        for sentence in (
            _few_test(n),
            _few_val(val_rows),
            _without_test(support, classes),
            _one_seed(comparison, seeds) if target else None,
            _wide(comparison) if target else None,
        )
        if sentence is not None
    ]


def _few_test(n: int) -> str | None:
    if n >= LEAST_TEST:
        return None
    # Half of a normal interval of 95 % for a share of one half.
    half = 100 * 1.96 * np.sqrt(0.25 / n)
    return (
        f"Only {n} test samples: an accuracy of so few is uncertain by up to {half:.0f} points. "
        "Add pictures or raise split.test."
    )


def _few_val(n: int) -> str | None:
    if n >= LEAST_VAL:
        return None
    return (
        f"Only {n} validation samples to choose epochs and rates by: the choice is partly chance. "
        "Add pictures or raise split.val."
    )


def _without_test(support: Sequence[int], classes: Sequence[str]) -> str | None:
    missing = [name for name, rows in zip(classes, support, strict=True) if not rows]
    if not missing:
        return None
    tested = len(classes) - len(missing)
    return (
        f"No test sample of {listed(missing)}: how well they are recognised is not measured, and "
        f"accuracies and average precisions are those of the other {tested} of {len(classes)} "
        "classes. Add pictures, raise split.test, or set another split.seed."
    )


def listed(classes: Sequence[str]) -> str:
    """The names of the first few classes, and how many more there are."""
    more = f" and {len(classes) - NAMED} more classes" if len(classes) > NAMED else ""
    return ", ".join(classes[:NAMED]) + more


def _one_seed(comparison: Mapping, seeds: int) -> str | None:
    trained = [mode for mode in comparison["modes"] if mode not in PROBES]
    if seeds > 1 or not trained:
        return None
    return (
        "One seed: how much another training run would differ is not known, and is not in the "
        "intervals. Set seeds: [0, 1, 2]."
    )


def _wide(comparison: Mapping) -> str | None:
    widths = {
        mode: row["high"] - row["low"]
        for mode, row in comparison["modes"].items()
        if row["low"] is not None and row["high"] - row["low"] > WIDEST
    }
    if not widths:
        return None
    widest = max(widths, key=lambda mode: widths[mode])
    others = f" ({len(widths)} modes have more than {100 * WIDEST:.0f})" if len(widths) > 1 else ""
    return (
        f"The interval of {widest} is {100 * widths[widest]:.0f} points wide{others}: more test "
        "samples narrow it, and more seeds where runs differ."
    )
