"""Confusion matrices, one per mode."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize, PowerNorm
from matplotlib.figure import Figure

from graft.config.architectures import PROBES
from graft.core.errors import damaged
from graft.reporting.figures.style import (
    COLUMNS_MOST,
    LIGHT,
    grid_shape,
    in_order,
    message,
    mode_colour,
    new_figure,
    percent,
    style,
)
from graft.reporting.plots import FIGURES
from graft.reporting.results import Results

INK = 0.55  # share from which the text of a cell is white
CELL_TEXT_MOST = 20  # classes; with more, a cell is too small for its number
CELL_SHARE_MOST = 6  # classes; with more, a cell is too small for its share of the row
TICKS_MOST = 15  # class names along an axis with more classes than fit
WIDTH_MOST = 11  # inches; the report shrinks a wider figure until it is unreadable


@FIGURES.register("confusion_matrices")
def draw(results: Results) -> Figure:
    """Summed over the seeds of each mode; a probe's is the same for all of them."""
    if results.several:
        return message("A picture may have several classes: see each class's average precision.")
    runs = {
        mode: [run["confusion_matrix"] for run in results.of(mode, results.metrics).values()]
        for mode in results.modes
    }
    runs = {mode: own[:1] if mode in PROBES else own for mode, own in runs.items()}
    return confusion_matrices(
        {mode: np.sum(own, axis=0) for mode, own in runs.items()},
        next(iter(results.metrics.values()))["classes"],
        {mode: len(own) for mode, own in runs.items()},
    )


@style()
def confusion_matrices(
    matrices: Mapping[str, np.ndarray],
    classes: Sequence[str],
    seeds: Mapping[str, int] | None = None,
) -> Figure:
    """One heat map per mode: rows are the true class, shaded by their share of the row. The titles
    name the number of `seeds` that a matrix is the sum of.

    `matrices` is mode -> counts (K, K). Up to 20 classes each cell shows its count (and its
    share, up to 6 classes); with more, a few classes are named along the axes.
    """
    count = len(classes)
    for mode, matrix in matrices.items():
        if np.shape(matrix) != (count, count):
            problem = f"the confusion matrix is {np.shape(matrix)} for {count} classes"
            raise damaged(f"metrics.json of {mode}", problem, "evaluate")
    modes = in_order(matrices)
    small = count <= CELL_TEXT_MOST
    side = max(2.6, 0.42 * count) if small else 3.4
    rows, columns = grid_shape(len(modes), min(COLUMNS_MOST, max(1, int(WIDTH_MOST / side))))
    names = [textwrap.shorten(str(name), 24, placeholder="…") for name in classes]
    ticks = np.arange(0, count, 1 if small else math.ceil(count / TICKS_MOST))
    labels = [names[tick] for tick in ticks]
    letters = max(map(len, labels))
    upright = letters * 0.09 < side / count
    width = side * columns + 0.09 * letters + 0.5 + (not small)
    height = (side + 0.8 + (0.2 if upright else 0.09 * letters)) * rows
    figure = new_figure(width, height, compress=True)
    grid = figure.subplots(rows, columns, squeeze=False)
    # With many classes most shares are small: a square-root scale keeps them visible.
    scale = Normalize(0, 1) if small else PowerNorm(0.5, 0, 1)
    for position, axes in enumerate(grid.ravel()):
        if position >= len(modes):
            axes.remove()
            continue
        mode = modes[position]
        matrix = np.asarray(matrices[mode], dtype=np.float64)
        totals = matrix.sum(axis=1, keepdims=True)
        share = np.divide(matrix, totals, out=np.full_like(matrix, np.nan), where=totals > 0)
        image = axes.pcolormesh(np.ma.masked_invalid(share), cmap=_shades(), norm=scale)
        image.set_rasterized(not small)
        axes.set_aspect("equal")
        axes.invert_yaxis()
        summed = (seeds or {}).get(mode, 1)
        sums = f" (sum of {summed} seeds)" if summed > 1 else ""
        axes.set_title(f"{mode}{sums}", color=mode_colour(mode))
        axes.set_xticks(ticks + 0.5, labels, rotation=0 if upright else 90)
        axes.set_yticks(ticks + 0.5, labels)
        axes.tick_params(length=0 if small else 2, labelleft=position % columns == 0)
        axes.set_xlabel("predicted")
        if position % columns == 0:
            axes.set_ylabel("true")
        if small:
            _cell_texts(axes, matrix, share)
    if not small:
        figure.colorbar(
            image,
            ax=grid.ravel()[: len(modes)].tolist(),
            label="share of the true class",
            format=percent(),
            ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1],
        )
    return figure


def _shades() -> Colormap:
    # "Bad" is the row of a class without test samples: it has no shares.
    return matplotlib.colormaps["Blues"].with_extremes(bad=LIGHT)


def _cell_texts(axes: Axes, matrix: np.ndarray, share: np.ndarray) -> None:
    count = len(matrix)
    with_share = count <= CELL_SHARE_MOST
    for (row, column), number in np.ndenumerate(matrix):
        text = f"{number:,.0f}"
        if with_share and np.isfinite(share[row, column]):
            text += f"\n{share[row, column]:.0%}"
        elif not number:
            continue
        axes.text(
            column + 0.5,
            row + 0.5,
            text,
            ha="center",
            va="center",
            fontsize=10 if with_share else 8 if count <= CELL_TEXT_MOST // 2 else 7,
            color="white" if share[row, column] > INK else "black",
        )
