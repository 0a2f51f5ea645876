"""What every mode reaches with more and more training samples."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from graft.evaluation.failure import BASELINES, NAMES
from graft.reporting.figures.style import (
    GREY,
    mode_colour,
    new_figure,
    percent,
    style,
    wrapped,
    write_sentences,
)

WIDTH, HEIGHT = 8.2, 4.6  # inches
ASIDE = 0.012  # by how much modes are moved apart, of the axis in decades


@style()
def labels_figure(curve: Mapping) -> Figure:
    """A line per mode over the number of training samples (logarithmic), with intervals; the
    baseline as a dashed line; above, the updates that the longest training took. Sizes at which a
    run failed are hollow. Below stand the sentences. `curve` is what `labels.curve` returns."""
    sentences, lines = wrapped(curve["sentences"])
    heights = [HEIGHT, 0.1 + 0.22 * lines]
    figure = new_figure(WIDTH, sum(heights) + 0.2)
    axes, words = figure.subplots(2, 1, height_ratios=heights)
    modes = curve["modes"]
    for place, (mode, points) in enumerate(modes.items()):
        apart = 10 ** (ASIDE * (place - (len(modes) - 1) / 2))
        at = np.array([point["train_rows"] for point in points]) * apart
        means = [point["mean"] for point in points]
        axes.plot(at, means, "-", color=mode_colour(mode), linewidth=1.8, label=mode)
        for x, point in zip(at, points, strict=True):
            face = "white" if point["failed"] else mode_colour(mode)
            axes.plot(x, point["mean"], "o", color=mode_colour(mode), markerfacecolor=face)
            if point["low"] is not None:
                ends = [point["low"], point["high"]]
                axes.plot([x, x], ends, color=mode_colour(mode), linewidth=1.2)
    axes.axhline(
        curve["majority_baseline"],
        color=GREY,
        linestyle="--",
        linewidth=1.2,
        label=BASELINES[curve["metric"]],
    )
    axes.set_xscale("log")
    axes.set_xticks(curve["sizes"], [f"{size:,}" for size in curve["sizes"]])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labelled training samples")
    axes.yaxis.set_major_formatter(percent())
    axes.set_ylabel(f"test {NAMES[curve['metric']]}")
    axes.grid(axis="y")
    updates = [max(points[at]["updates"] for points in modes.values()) for at in _range(curve)]
    if any(updates):
        above = axes.secondary_xaxis("top")
        above.set_xticks(curve["sizes"], [f"{number:,.0f}" for number in updates])
        above.xaxis.set_minor_locator(NullLocator())
        above.set_xlabel("updates of the longest training, mean over seeds")
        above.spines["top"].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    write_sentences(figure, words, sentences)
    return figure


def _range(curve: Mapping) -> range:
    return range(len(curve["sizes"]))
