"""The plots stage: every figure of an experiment, and its summary as CSV and HTML.

To add a figure: a module in `figures` that registers a function from `Results` to a matplotlib
figure, and its caption beside it (`figures/<figure>.rst`).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from graft.config.architectures import IMAGE, PROBES
from graft.core.files import JsonValue
from graft.core.registry import Registry
from graft.evaluation.warnings import (
    collapse_warning,
    convergence_warning,
    head_warning,
    start_warning,
)
from graft.reporting import mistakes, tables
from graft.reporting.figures.style import save_svg
from graft.reporting.results import Record, Results
from graft.training import schedule

FIGURES: Registry[Callable[[Results], Figure]] = Registry("graft.reporting.figures")


def write(
    results: Results, figures: Mapping[str, Path], summary: Path, page: Path, wrong: Path
) -> dict[str, JsonValue]:
    """Draw the figures (name -> file), and write the summary and the mistakes."""
    results.check_counts()
    for name, path in figures.items():
        save_svg(FIGURES[name](results), path)
    mistakes.write(results, wrong)
    by_mode = {mode: results.of(mode, results.metrics) for mode in results.modes}
    table = tables.summary_table(by_mode, results.comparison)
    tables.write_csv(table, summary)
    sentences: dict[str, JsonValue] = {
        "verdicts": [pair["verdict"] for pair in results.comparison["pairs"]],
        "warnings": [*results.caveats(), *warnings(results, results.comparison["metric"])],
        "notes": results.notes(),
    }
    drops = results.samples.drops()
    tables.write_summary(table, page, title=results.title, drops=drops, **sentences)
    return sentences | {"per_class": tables.per_class(by_mode) if results.several else None}


def warnings(results: Results, metric: str) -> list[str]:
    """Sentences on runs that failed, ended below their start, had not converged or collapsed, and
    on unequal views; runs are judged by `metric` (see `evaluation.failure`), which is also that of
    the comparison."""
    sentences = []
    failures = results.failures(metric)
    for run, fit in results.fits.items():
        history, measured = results.histories[run], results.metrics[run]
        failed = failures.get(run)
        problems = [f"failed: {failed.reason}; {failed.advice}" if failed else None]
        if run[0] not in PROBES:
            problems += _of_training(fit, history, measured, metric)
        sentences += [f"{run[0]}, seed {run[1]}, {problem}." for problem in problems if problem]
    trained = [fit for (mode, _), fit in results.fits.items() if mode not in PROBES]
    if unequal := _unequal_views(trained):
        sentences.append(
            "The modes were trained on different views: not all had the same "
            f"{' and '.join(unequal)}. Set it alike, or turn it off, for a fair comparison."
        )
    if (of_head := head_warning(results.comparison.get("pairs", ()), metric)) is not None:
        sentences.append(of_head)
    return sentences


def _unequal_views(fits: Sequence[Mapping[str, Any]]) -> list[str]:
    """The augmentations, as keys, that not all runs had alike; features are not moved."""
    had = []
    for fit in fits:
        augment = fit["seal"]["recipe"]["settings"]["train"]["augment"]
        views = {key: value for key, value in augment.items() if value}
        had.append({k: v for k, v in views.items() if k != "shift" or fit["cut"] == IMAGE})
    names = dict.fromkeys(name for views in had for name in views)
    return [
        f"augment.{name}"
        for name in names
        if any(views.get(name) != had[0].get(name) for views in had)
    ]


def _of_training(
    fit: Record, history: pd.DataFrame, measured: Record, metric: str
) -> list[str | None]:
    """What may be said of a run that was trained by epochs."""
    select = schedule.metric(fit["select"])
    return [
        f"did not improve on the head of {fit['warm_up']} that it started from: its model is that "
        "start"
        if fit["best_epoch"] == 0
        else None,
        start_warning(
            history, select=select, best_epoch=fit["best_epoch"], val_rows=fit["samples"]["val"]
        ),
        convergence_warning(history, stopped_early=fit["stopped_early"], metric=select),
        collapse_warning(measured, history, metric=metric),
    ]
