"""Loss and metric by epoch, a column per mode."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from graft.config.architectures import PROBES
from graft.core.errors import damaged
from graft.evaluation.failure import NAMES
from graft.reporting.figures.style import (
    COLUMNS_MOST,
    grid_shape,
    in_order,
    message,
    mode_colour,
    new_figure,
    percent,
    plain_logarithms,
    style,
)
from graft.reporting.plots import FIGURES
from graft.reporting.results import Results
from graft.training import schedule

WARM_UP_MOST = 3  # epochs of warm-up drawn per epoch after it
LOG_RANGE = 20  # a loss this many times its median is drawn on a log axis


@FIGURES.register("learning_curves")
def draw(results: Results) -> Figure:
    trained = [mode for mode in results.modes if mode not in PROBES]
    if not trained:
        return message("No mode of this experiment is trained by epochs.")
    return learning_curves(
        {mode: list(results.of(mode, results.histories).values()) for mode in trained},
        warm_up=results.warm_ups(),
        metric=schedule.metric(results.select),
    )


@style()
def learning_curves(
    histories: Mapping[str, Sequence[pd.DataFrame]],
    *,
    warm_up: Mapping[str, str] | None = None,
    metric: str = "accuracy",
) -> Figure:
    """Loss (top) and `metric` (below) by epoch, a column per mode, the scale shared by all.

    `histories` is mode -> one table per seed with `epoch` (from 1), `train_loss`, `val_loss`,
    `val_<metric>` and, if recorded, `train_<metric>`. One thin line per seed; validation is solid,
    training dashed. For a mode in `warm_up` (such as fine_tuning: feature_extraction, which is
    LP-FT) the curves of the other mode are drawn before it in that mode's colour, up to epoch 0,
    which a vertical line marks. Of a long warm-up only the end is drawn; its own column has all.
    """
    warm_up = {mode: head for mode, head in (warm_up or {}).items() if head in histories}
    metric = metric.removeprefix("val_")
    quantities = ["loss", "accuracy" if metric == "loss" else metric]
    for mode, runs in histories.items():
        for run in runs:
            _require(run, ["epoch", *(f"val_{name}" for name in quantities)], mode)
    modes = in_order(histories)
    blocks, columns = grid_shape(len(modes), COLUMNS_MOST)
    figure = new_figure(1 + 3.1 * columns, 0.6 + 4.8 * blocks)
    grid = figure.subplots(2 * blocks, columns, squeeze=False)
    for row in (0, 1):
        shared = grid[row::2].ravel()
        for axes in shared[1:]:
            axes.sharey(shared[0])
    for position, mode in enumerate(modes):
        block, column = divmod(position, columns)
        for row, name in enumerate(quantities):
            axes = grid[2 * block + row, column]
            if mode in warm_up:
                head = warm_up[mode]
                for run in histories[head]:
                    _curve(axes, run, name, mode_colour(head), run["epoch"].max())
                axes.axvline(0, color="black", linewidth=1, linestyle=":")
                last = max(run["epoch"].max() for run in histories[mode])
                first = max(run["epoch"].max() for run in histories[head])
                axes.set_xlim(-0.5 - min(first, WARM_UP_MOST * last), last + 0.5)
            for run in histories[mode]:
                _curve(axes, run, name, mode_colour(mode), 0)
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
            axes.margins(x=0.03)
            axes.tick_params(labelleft=column == 0)
            if column == 0:
                axes.set_ylabel(NAMES.get(name, name))
        grid[2 * block, column].set_title(mode, color=mode_colour(mode))
        grid[2 * block + 1, column].set_xlabel(
            "epoch (0: warm-up ends)" if mode in warm_up else "epoch"
        )
    _scale_loss(grid[0, 0], histories)
    grid[1, 0].yaxis.set_major_formatter(percent())
    for axes in grid.ravel()[[not panel.has_data() for panel in grid.ravel()]]:
        axes.remove()
    handles = [
        Line2D([], [], color="black", linewidth=1.2, label="validation"),
        Line2D([], [], color="black", linewidth=1, linestyle="--", alpha=0.6, label="training"),
    ]
    if warm_up:
        handles.append(
            Line2D([], [], color="black", linewidth=1, linestyle=":", label="fine-tuning begins")
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _curve(axes: Axes, run: pd.DataFrame, name: str, colour: str, shift: int) -> None:
    epochs = run["epoch"] - shift
    dot = "." if len(run) == 1 else None  # a line through one point is invisible
    if f"train_{name}" in run:
        values = run[f"train_{name}"]
        axes.plot(epochs, values, "--", color=colour, marker=dot, linewidth=1, alpha=0.6)
    axes.plot(epochs, run[f"val_{name}"], color=colour, linewidth=1.2, marker=dot)


def _scale_loss(axes: Axes, histories: Mapping[str, Sequence[pd.DataFrame]]) -> None:
    names = ("train_loss", "val_loss")
    columns = [run[name] for runs in histories.values() for run in runs for name in names]
    losses = np.concatenate(columns)
    losses = losses[np.isfinite(losses) & (losses > 0)]
    if len(losses) and losses.max() > LOG_RANGE * np.median(losses):
        axes.set_yscale("log")
        plain_logarithms(axes.yaxis)


def _require(run: pd.DataFrame, names: Sequence[str], mode: str) -> None:
    missing = [name for name in names if name not in run]
    if missing or not len(run):
        problem = f"the column {missing[0]} is missing" if missing else "there is no epoch"
        raise damaged(f"history.csv of {mode}", problem, "train")
