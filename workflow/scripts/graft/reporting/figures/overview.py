"""Experiments side by side."""

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory

from graft.reporting.figures.style import (
    GREY,
    draw_estimate,
    estimates_axis,
    in_order,
    mode_colour,
    new_figure,
    styled,
    write_number,
)

HEADING_MOST, LABEL_MOST = 90, 32  # characters of an overview's headings and labels
BAR = {"marker": "|", "color": "black", "markersize": 15, "markeredgewidth": 1.8}
HOLLOW = {
    "marker": "o",
    "markersize": 8,
    "markerfacecolor": "white",
    "markeredgecolor": "black",
    "markeredgewidth": 1.4,
}


@styled
def overview_figure(found: Mapping) -> Figure:
    """Experiments side by side: a block each, a line a mode, published figures in a block of
    their own; what may be compared stands beneath. `found` is what `overviews.overview` returns.

    Each line has the test figure with its interval and seeds, as in `mode_comparison`, and the
    figure on the validation rows that chose the epoch as an upright bar; each block its majority
    line. Published figures are hollow, and two of them where a range is given.
    """
    metric = found["metric"]
    blocks: list[tuple[str, list[dict], float | None]] = []  # heading, lines, majority baseline
    for spec in found["experiments"]:
        mine = {r["mode"]: r for r in found["rows"] if r["experiment"] == spec["name"]}
        blocks.append(
            (
                f"{spec['title']} [{spec['architecture']}]",
                [mine[mode] for mode in in_order(mine)],
                spec["majority_baseline"],
            )
        )
    if found["published"]:
        blocks.append(("Published, not comparable unless said", found["published"], None))
    pairs = [pair["verdict"] for pair in found["pairs"] if pair["best_on_val"]]
    told = [
        textwrap.fill(sentence.replace(", ", ",\u00a0"), 105, subsequent_indent="    ")
        for sentence in [*found["notes"], *pairs]
    ]
    lines = sum(1 + len(rows) for _, rows, _ in blocks)
    words_lines = sum(text.count("\n") + 1 for text in told)
    heights = [0.5 + 0.5 * lines, 0.1 + 0.22 * words_lines]
    figure = new_figure(8.2, sum(heights) + 0.6)
    axes, words = figure.subplots(2, 1, height_ratios=heights)
    across = blended_transform_factory(figure.transFigure, axes.transData)
    ticks: dict[float, str] = {}
    position = lines  # downwards from the top
    for heading, rows, baseline in blocks:
        position -= 1
        text = textwrap.shorten(heading, HEADING_MOST, placeholder="…")
        axes.text(0.015, position - 0.1, text, transform=across, weight="bold", in_layout=False)
        first = position
        for row in rows:
            position -= 1
            if "mode" in row:
                ticks[position] = row["mode"]
                draw_estimate(axes, position, row["test"][metric], mode_colour(row["mode"]))
                _chosen(axes, position, row["val"][metric])
            else:
                ticks[position] = textwrap.shorten(row["label"], LABEL_MOST, placeholder="…")
                _published(axes, position, row["value"])
        if baseline is not None:
            ends = [first - 0.5, position - 0.4]
            axes.plot([baseline] * 2, ends, color=GREY, linestyle="--", linewidth=1.2, zorder=0)
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(-0.6, lines - 0.4)
    axes.spines["left"].set_visible(False)  # it would cross the headings
    axes.margins(x=0.06)
    estimates_axis(axes, metric, found["level"])
    words.axis("off")
    beneath = blended_transform_factory(figure.transFigure, words.transAxes)
    words.text(0.015, 1, "\n".join(told), va="top", linespacing=1.4, transform=beneath)
    handles = [
        Line2D([], [], color="black", marker="o", markersize=8, linewidth=2.5, label="test"),
        Line2D([], [], linestyle="", label="validation, at the chosen epoch", **BAR),
        Line2D([], [], color=GREY, linestyle="--", linewidth=1.2, label="commonest class"),
    ]
    if found["published"]:
        handles.append(Line2D([], [], linestyle="", label="published", **HOLLOW))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _chosen(axes, position: float, value: float | None) -> None:
    if value is not None:
        axes.plot(value, position, zorder=4, **BAR)


def _published(axes, position: float, value: float | Sequence[float]) -> None:
    values = [value] if isinstance(value, int | float) else list(value)
    axes.plot(values, [position] * len(values), linewidth=1, color="black", **HOLLOW)
    text = " to ".join(f"{100 * value:.4g}" for value in values)
    write_number(axes, position, sum(values) / len(values), f"{text} %")
