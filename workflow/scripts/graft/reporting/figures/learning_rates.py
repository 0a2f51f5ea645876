"""How the learning rate was chosen: validation against the rate, a panel per mode."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from graft.config.architectures import PROBES
from graft.evaluation.failure import NAMES
from graft.reporting.figures.style import (
    COLUMNS_MOST,
    GREY,
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

SPREAD = 1.8  # the least range of the rates drawn, as a factor around one that stands alone


@FIGURES.register("learning_rates")
def draw(results: Results) -> Figure:
    fits = {mode: list(results.of(mode, results.fits).values()) for mode in results.modes}
    if set(fits) <= set(PROBES):
        return message("No mode of this experiment has a learning rate.")
    return learning_rates(fits, metric=schedule.metric(results.select))


@style()
def learning_rates(fits: Mapping[str, Sequence[Mapping]], *, metric: str = "accuracy") -> Figure:
    """`metric` on the validation rows against the rate of what learns most slowly (log axis).

    `fits` is mode -> one fit per seed (see `train.train`). The rate is `lr`, or, of modes with
    several values of `transferred_lr_scale`, that times `lr`, the rate of the transferred layers.
    Dots are seeds and lines their means: of each round of trials, dashed, and of the trainings in
    full, solid, where a seed has several. A ring marks what was chosen. Modes without a learning
    rate have no panel.
    """
    tuned = {mode: runs for mode, runs in fits.items() if "lr" in runs[0]["chosen"]}
    modes = in_order(tuned)
    rows, columns = grid_shape(len(modes), COLUMNS_MOST)
    figure = new_figure(1 + 3.1 * columns, 0.9 + 2.7 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for position, mode in enumerate(modes):
        axes = grid.ravel()[position]
        scaled = len({c["transferred_lr_scale"] for c in tuned[mode][0]["tuning"]}) > 1
        points = list(_points(tuned[mode], scaled))
        lengths = sorted({length for length, *_ in points})
        for number, length in enumerate(lengths):
            strength = max(0.25, 1 - 0.25 * (len(lengths) - 1 - number))
            at = [(rate, value) for updates, rate, value in points if updates == length]
            form = "-" if length == math.inf else "--"
            # Seeds that chose different rates are not points of one curve.
            line = form if len(at) > len(tuned[mode]) else ""
            _draw(axes, at, line, mode_colour(mode), strength)
        for fit in tuned[mode]:
            axes.plot(
                _rate(fit["chosen"], scaled), fit["best_value"], "o", ms=12, mfc="none", mec="black"
            )
        axes.set_title(mode, color=mode_colour(mode))
        axes.set_xlabel("learning rate of transferred layers" if scaled else "learning rate")
        axes.set_xscale("log")
        plain_logarithms(axes.xaxis)
        low, high = axes.get_xlim()
        if high / low < SPREAD:
            axes.set_xlim(low / SPREAD, high * SPREAD)
        axes.grid(axis="y")
        if metric != "loss":
            axes.yaxis.set_major_formatter(percent())
    for axes in grid[:, 0]:
        axes.set_ylabel(f"validation {NAMES.get(metric, metric)}")
    for axes in grid.ravel()[len(modes) :]:
        axes.remove()
    handles = [
        Line2D([], [], color=GREY, linestyle="--", marker=".", label="trials, longer ones darker"),
        Line2D([], [], color=GREY, marker=".", label="trained in full"),
        Line2D([], [], color="black", linestyle="", marker="o", ms=10, mfc="none", label="chosen"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _rate(candidate: Mapping, scaled: bool) -> float:
    return candidate["lr"] * (candidate["transferred_lr_scale"] if scaled else 1)


def _points(fits: Sequence[Mapping], scaled: bool) -> Iterator[tuple[float, float, float]]:
    """(updates, rate, value) of each trial, and with infinite updates of each training in full;
    not of those that diverged."""
    for fit in fits:
        for candidate in fit["tuning"]:
            rate = _rate(candidate, scaled)
            values = [(trial["updates"], trial["val"]) for trial in candidate["trials"]]
            for updates, value in [*values, (math.inf, candidate["val"])]:
                if value is not None:
                    yield updates, rate, value


def _draw(
    axes: Axes, points: Sequence[tuple[float, float]], line: str, colour: str, strength: float
) -> None:
    """Dots at (rate, value), and with a `line` style a line through the mean of each rate."""
    if line:
        rates = sorted({rate for rate, _ in points})
        means = [np.mean([value for at, value in points if at == rate]) for rate in rates]
        axes.plot(rates, means, line, linewidth=1.4, color=colour, alpha=strength)
    axes.plot(*zip(*points, strict=True), ".", color=colour, alpha=strength)
