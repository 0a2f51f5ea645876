"""Each mode's test metric with its interval, and the verdicts."""

import textwrap
from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from graft.reporting.figures.style import (
    GREY,
    draw_estimate,
    estimates_axis,
    in_order,
    mode_colour,
    new_figure,
    styled,
)
from graft.reporting.plots import FIGURES
from graft.reporting.results import Results


@FIGURES.register("mode_comparison")
def draw(results: Results) -> Figure:
    return mode_comparison(results.comparison)


@styled
def mode_comparison(comparison: Mapping) -> Figure:
    """Each mode's figure with its interval, its seeds as small dots and the majority line;
    the verdict of every pair beneath. `comparison` is what `comparison.compare` returns."""
    modes = in_order(comparison["modes"])[::-1]  # the first one stands at the top
    verdicts = [  # an interval is not torn apart
        textwrap.fill(pair["verdict"].replace(", ", ",\u00a0"), 105, subsequent_indent="    ")
        for pair in comparison["pairs"]
    ]
    lines = sum(text.count("\n") + 1 for text in verdicts)
    heights = [0.9 + 0.55 * len(modes), 0.1 + 0.22 * lines]
    figure = new_figure(8.2, sum(heights) + 0.2)
    axes, words = figure.subplots(2, 1, height_ratios=heights)
    for position, mode in enumerate(modes):
        draw_estimate(axes, position, comparison["modes"][mode], mode_colour(mode))
    baseline = comparison["majority_baseline"]
    axes.axvline(baseline, color=GREY, linestyle="--", linewidth=1.2)
    axes.text(
        baseline,
        1.02,
        f"majority class {100 * baseline:.1f} %",
        transform=axes.get_xaxis_transform(),
        ha="center",
        color=GREY,
    )
    axes.set_yticks(range(len(modes)), modes)
    axes.set_ylim(-0.6, len(modes) - 0.4)
    axes.margins(x=0.08)
    estimates_axis(axes, comparison["metric"], comparison.get("level", 0.95))
    words.axis("off")
    across = blended_transform_factory(figure.transFigure, words.transAxes)
    words.text(0.015, 1, "\n".join(verdicts), va="top", linespacing=1.4, transform=across)
    return figure
