"""The test metrics of several experiments, with published results."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory

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
    write_number,
    write_sentences,
)
from graft.reporting.tables import percent_range

HEADING_MOST, LABEL_MOST = 90, 32  # characters
BAR: dict[str, Any] = {"marker": "|", "color": "black", "markersize": 15, "markeredgewidth": 1.8}
HOLLOW: dict[str, Any] = {
    "marker": "o",
    "markersize": 8,
    "markerfacecolor": "white",
    "markeredgecolor": "black",
    "markeredgewidth": 1.4,
}


@style()
def overview_figure(overview: Mapping) -> Figure:
    """One block per experiment with a row per mode, then a block of published results; below them
    the sentences on what may be compared. `overview` is what `overview.overview` returns.

    Each row has the test metric with its interval and seeds, as in `mode_comparison`, and as a
    vertical bar the validation metric at the chosen epoch. Each block has its baseline as a line.
    Published results are hollow; a range has two.
    """
    metric = overview["metric"]
    blocks: list[tuple[str, list[Mapping], float | None]] = []  # heading, rows, baseline
    for spec in overview["experiments"]:
        own = {r["mode"]: r for r in overview["rows"] if r["experiment"] == spec["name"]}
        blocks.append(
            (
                f"{spec['title']} [{spec['architecture']}]",
                [own[mode] for mode in in_order(own)],
                spec["majority_baseline"],
            )
        )
    if overview["published"]:
        blocks.append(("Published (not comparable unless stated)", overview["published"], None))
    pairs = [pair["verdict"] for pair in overview["pairs"] if pair["best_on_val"]]
    sentences, sentence_lines = wrapped([*overview["notes"], *pairs])
    lines = sum(1 + len(rows) for _, rows, _ in blocks)
    heights = [0.5 + 0.5 * lines, 0.1 + 0.22 * sentence_lines]
    figure = new_figure(8.2, sum(heights) + 0.6)
    axes, words = figure.subplots(2, 1, height_ratios=heights)
    across = blended_transform_factory(figure.transFigure, axes.transData)
    ticks: dict[float, str] = {}
    position = lines  # from the top down
    for heading, rows, baseline in blocks:
        position -= 1
        text = textwrap.shorten(heading, HEADING_MOST, placeholder="…")
        axes.text(0.015, position - 0.1, text, transform=across, weight="bold", in_layout=False)
        first = position
        for row in rows:
            position -= 1
            if "mode" in row:
                ticks[position] = with_failures(row["mode"], row["failed"], row["test"][metric])
                draw_estimate(axes, position, row["test"][metric], mode_colour(row["mode"]))
                if (val := row["val"][metric]) is not None:
                    axes.plot(val, position, zorder=4, **BAR)
            else:
                ticks[position] = textwrap.shorten(row["label"], LABEL_MOST, placeholder="…")
                _published(axes, position, row["value"])
        if baseline is not None:
            ends = [first - 0.5, position - 0.4]
            axes.plot([baseline] * 2, ends, color=GREY, linestyle="--", linewidth=1.2, zorder=0)
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(-0.6, lines - 0.4)
    axes.spines["left"].set_visible(False)  # it crosses the headings
    axes.margins(x=0.06)
    estimates_axis(axes, metric, overview["level"])
    write_sentences(figure, words, sentences)
    handles = [
        Line2D([], [], color="black", marker="o", markersize=8, linewidth=2.5, label="test"),
        Line2D([], [], linestyle="", label="validation, at the chosen epoch", **BAR),
        Line2D([], [], color=GREY, linestyle="--", linewidth=1.2, label=BASELINES[metric]),
    ]
    if overview["published"]:
        handles.append(Line2D([], [], linestyle="", label="published", **HOLLOW))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _published(axes: Axes, position: float, value: float | Sequence[float]) -> None:
    values = [value] if isinstance(value, int | float) else list(value)
    axes.plot(values, [position] * len(values), linewidth=1, color="black", **HOLLOW)
    write_number(axes, position, sum(values) / len(values), f"{percent_range(value)} %")
