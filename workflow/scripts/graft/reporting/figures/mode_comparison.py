"""Each mode's test metric with its interval, and the verdicts."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from graft.evaluation.failure import BASELINES
from graft.reporting.figures.style import (
    GREY,
    draw_estimate,
    estimates_axis,
    in_order,
    mode_colour,
    new_figure,
    style,
    with_failures,
    wrapped,
    write_sentences,
)
from graft.reporting.plots import FIGURES
from graft.reporting.results import Results


@FIGURES.register("mode_comparison")
def draw(results: Results) -> Figure:
    return mode_comparison(results.comparison, results.caveats())


@style()
def mode_comparison(comparison: Mapping, caveats: Sequence[str] = ()) -> Figure:
    """Each mode's metric with its interval, its seeds as small dots, and its baseline as a line;
    below them the verdict on every pair, and the caveats. `comparison` is what `compare.compare`
    returns."""
    modes = in_order(comparison["modes"])[::-1]  # drawn from the bottom up
    verdicts, lines = wrapped(
        [
            *(pair["verdict"] for pair in comparison["pairs"]),
            *(f"Caveat: {caveat}" for caveat in caveats),
        ]
    )
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
        f"{BASELINES[comparison['metric']]} {100 * baseline:.1f} %",
        transform=axes.get_xaxis_transform(),
        ha="center",
        color=GREY,
    )
    failed = comparison["failed"]
    labels = [with_failures(m, failed.get(m, {}), comparison["modes"][m]) for m in modes]
    axes.set_yticks(range(len(modes)), labels)
    axes.set_ylim(-0.6, len(modes) - 0.4)
    axes.margins(x=0.08)
    estimates_axis(axes, comparison["metric"], comparison.get("level", 0.95))
    write_sentences(figure, words, verdicts)
    return figure
