"""Accuracy against confidence, raw and after temperature scaling, a column per mode."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from graft.evaluation.calibration import BINS, LEAST_GROUPS, at_temperature, reliability
from graft.evaluation.metrics import over_seeds, scaled
from graft.evaluation.predictions import unpack_predictions
from graft.reporting.figures.style import (
    COLUMNS_MOST,
    GREY,
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

RAW: dict[str, Any] = {"linestyle": "-", "linewidth": 1.6}
SCALED: dict[str, Any] = {"linestyle": "--", "linewidth": 1.3}
EDGES = np.arange(BINS + 1) / BINS
_MEANS = ("ece", "ece_scaled", "temperature")


class Reliability(NamedTuple):
    """A mode's bins of confidence (see `calibration.reliability`), and a line on them in words."""

    raw: pd.DataFrame
    scaled: pd.DataFrame | None
    text: str
    least: float
    """1 / (number of classes): no confidence is below it."""


@FIGURES.register("reliability")
def draw(results: Results) -> Figure:
    """The rows of all seeds of a mode together, each scaled by the temperature of its own run."""
    if results.several:
        return message("Not drawn where a picture may have several classes.")
    return reliability_diagrams({mode: _of(results, mode) for mode in results.modes})


def _of(results: Results, mode: str) -> Reliability:
    runs = results.of(mode, results.metrics)
    settings = next(iter(runs.values()))["seal"]["recipe"]["settings"]
    options = {key: settings[key] for key in ("resamples", "seed", "level")}
    rows = {seed: unpack_predictions(table) for seed, table in results.tables_of(mode).items()}
    temperatures = {seed: run["temperature"]["value"] for seed, run in runs.items()}
    fitted = {seed: value for seed, value in temperatures.items() if value is not None}

    def bins(scores: Mapping[int, np.ndarray]) -> pd.DataFrame:
        true = np.concatenate([rows[seed].true for seed in scores])
        groups = np.concatenate([rows[seed].group for seed in scores])
        return reliability(true, np.concatenate(list(scores.values())), groups, **options)

    raw = {seed: run.log_probabilities for seed, run in rows.items()}
    after = {seed: at_temperature(raw[seed], value) for seed, value in fitted.items()}
    means = over_seeds([{**run, **scaled(run)} for run in runs.values()], _MEANS)
    ece, ece_scaled, temperature = (means[name]["mean"] for name in _MEANS)
    assert ece is not None, "every run has an ECE"
    text = f"ECE {100 * ece:.1f} %"
    if ece_scaled is not None:
        text += f"; {100 * ece_scaled:.1f} % at T = {temperature:.2f}"
    least = 1 / next(iter(raw.values())).shape[1]
    return Reliability(bins(raw), bins(after) if after else None, text, least)


@style()
def reliability_diagrams(modes: Mapping[str, Reliability]) -> Figure:
    """Accuracy against mean confidence in 15 bins (top) with the share of rows in each bin (below),
    a column per mode, the scales shared by all.

    Raw confidences are solid with filled points and bars for the interval of the accuracy, scaled
    ones dashed with hollow points. A bin of less than LEAST_GROUPS groups is a small point off the
    line, without an interval. The dotted diagonal is where accuracy equals confidence.
    """
    names = in_order(modes)
    blocks, columns = grid_shape(len(names), COLUMNS_MOST)
    figure = new_figure(max(5, 1 + 3.1 * columns), 0.6 + 4.6 * blocks)  # the legend is 5 wide
    grid = figure.subplots(2 * blocks, columns, squeeze=False, height_ratios=[3, 1] * blocks)
    first = np.floor(BINS * min(mode.least for mode in modes.values())) / BINS
    for row in (0, 1):
        shared = grid[row::2].ravel()
        for axes in shared[1:]:
            axes.sharey(shared[0])
    for position, name in enumerate(names):
        block, column = divmod(position, columns)
        top, below = grid[2 * block : 2 * block + 2, column]
        mode, colour = modes[name], mode_colour(name)
        top.plot([first, 1], [first, 1], color=GREY, linestyle=":", linewidth=1, zorder=0)
        if mode.scaled is not None:
            _line(top, mode.scaled, colour, markerfacecolor="white", **SCALED)
            below.stairs(_shares(mode.scaled), EDGES, color=colour, **SCALED)
        _line(top, mode.raw, colour, **RAW)
        known = mode.raw.dropna()
        top.vlines(known["confidence"], known["low"], known["high"], colour, linewidth=1.2)
        below.stairs(_shares(mode.raw), EDGES, color=colour, alpha=0.35, fill=True)
        top.set_title(f"{name}\n", color=colour)
        top.text(0.5, 1.03, mode.text, transform=top.transAxes, ha="center", fontsize=9)
        for axes in (top, below):
            axes.set_xlim(first - 0.01, 1.01)
            axes.xaxis.set_major_formatter(percent())
            axes.yaxis.set_major_formatter(percent())
            axes.grid(axis="y")
            axes.tick_params(labelleft=column == 0)
        top.tick_params(labelbottom=False)
        below.set_xlabel("confidence in the predicted class")
        if column == 0:
            top.set_ylabel("accuracy")
            below.set_ylabel("share of rows")
    grid[0, 0].set_ylim(top=1.02)
    grid[1, 0].set_ylim(bottom=0)
    for axes in grid.ravel()[[not panel.has_data() for panel in grid.ravel()]]:
        axes.remove()
    handles = [
        Line2D([], [], color="black", marker="o", markersize=6, label="raw", **RAW),
        Line2D(
            [],
            [],
            color="black",
            marker="o",
            markersize=6,
            markerfacecolor="white",
            label="logits / T",
            **SCALED,
        ),
        Line2D([], [], color=GREY, linestyle=":", linewidth=1, label="accuracy = confidence"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _line(axes: Axes, bins: pd.DataFrame, colour: str, **options: Any) -> None:
    few = bins["groups"] < LEAST_GROUPS
    looks: tuple[dict[str, Any], ...] = ({"markersize": 6}, {"markersize": 3, "linestyle": ""})
    for shown, look in zip((bins[~few], bins[few]), looks, strict=True):
        axes.plot(
            shown["confidence"], shown["accuracy"], color=colour, marker="o", **{**options, **look}
        )


def _shares(bins: pd.DataFrame) -> np.ndarray:
    """float64 (BINS,), the share of the rows in each bin."""
    counts = bins["n"].reindex(range(BINS), fill_value=0).to_numpy()
    return counts / counts.sum()
