"""The average precision of each class, a colour per mode."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from graft.evaluation import average_precision, compare, multilabel
from graft.evaluation.metrics import margins
from graft.images.packs import LEFT_OUT
from graft.reporting.figures.style import (
    GREY,
    in_order,
    mode_colour,
    new_figure,
    percent,
    style,
)
from graft.reporting.plots import FIGURES
from graft.reporting.results import Results

CLASSES_MOST = 40
"""With more, those with the highest and the lowest mean over modes are drawn."""


@FIGURES.register("average_precision")
def draw(results: Results) -> Figure:
    """By area; of several classes per picture without what is left out, by the metric compared."""
    metric = results.comparison["metric"]
    kind = metric if metric in average_precision.KINDS else "mean_ap"
    values, classes, shares = {}, [], np.empty(0)
    for mode in results.modes:
        runs = [compare.unpack(table) for table in results.tables_of(mode).values()]
        values[mode] = np.array([of_run(run, kind) for run in runs])
        classes, shares = runs[0].classes, prevalence(runs[0])
    return by_class(values, classes, shares)


def of_run(rows: compare.Aligned, kind: str) -> np.ndarray:
    """The average precision of each class against the rest: float64 (K,), NaN where undefined."""
    ones = np.ones((len(rows.true), 1), np.int64)
    if isinstance(rows, multilabel.Predictions):
        scores, labels = rows.scores, rows.true
    else:
        scores, labels = margins(rows.log_probabilities), np.eye(len(rows.classes))[rows.true]
    return average_precision.of_classes(kind, scores, labels, ones, left_out=LEFT_OUT)[:, 0]


def prevalence(rows: compare.Aligned) -> np.ndarray:
    """The share of each class among the rows that count for it, which a random ranking has."""
    if isinstance(rows, multilabel.Predictions):
        return (rows.true == 1).sum(axis=0) / np.maximum((rows.true != LEFT_OUT).sum(axis=0), 1)
    return np.bincount(rows.true, minlength=len(rows.classes)) / len(rows.true)


@style()
def by_class(
    values: Mapping[str, np.ndarray], classes: Sequence[str], shares: np.ndarray
) -> Figure:
    """A row per class, the best above, with each mode's mean over seeds and its single seeds.

    `values` is mode -> (seeds, K), `shares` (K,) what a random ranking has, a grey line.
    """
    modes = in_order(values)
    means = {mode: _mean(values[mode]) for mode in modes}
    overall = _mean(np.array(list(means.values())))
    order = [int(i) for i in np.argsort(overall, kind="stable") if np.isfinite(overall[i])]
    if len(order) > CLASSES_MOST:
        order = order[: CLASSES_MOST // 2] + order[-CLASSES_MOST // 2 :]
    step = 0.7 / max(1, len(modes))
    figure = new_figure(8.2, 1.3 + max(0.34, 0.17 * len(modes)) * len(order))
    axes = figure.subplots()
    for row, number in enumerate(order):
        axes.plot([shares[number]] * 2, [row - 0.42, row + 0.42], color=GREY, linewidth=1.2)
        for place, mode in enumerate(modes):
            height = row + 0.35 - step * (place + 0.5)
            seeds, mean = values[mode][:, number], means[mode][number]
            axes.plot(seeds, [height] * len(seeds), "o", color=mode_colour(mode), alpha=0.4, ms=3)
            axes.plot(
                mean, height, "o", color=mode_colour(mode), ms=6, label=mode if not row else ""
            )
            axes.annotate(
                f"{100 * mean:.1f}",
                (mean, height),
                (7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=mode_colour(mode),
            )
    axes.set_yticks(range(len(order)), [classes[i] for i in order])
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1.06)
    axes.xaxis.set_major_formatter(percent())
    axes.grid(axis="x")
    axes.set_xlabel("average precision on the test samples; small dots: single seeds")
    figure.legend(loc="outside upper center", ncols=min(3, len(modes)))
    return figure


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the first axis, of what is defined; NaN where nothing is."""
    defined = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(axis=0) / defined.sum(axis=0)
