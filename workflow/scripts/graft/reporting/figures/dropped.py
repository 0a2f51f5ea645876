"""Dropped samples by stage and reason."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from graft.reporting.figures.style import message, new_figure, style
from graft.reporting.plots import FIGURES
from graft.reporting.results import Results, total_dropped


@FIGURES.register("dropped")
def draw(results: Results) -> Figure:
    structure, crops = results.samples.structure, results.samples.crops.values()
    counts = {"structure": structure["dropped"], "crop": total_dropped(crops)}
    kept = {"structure": structure["kept"], "crop": sum(part["kept"] for part in crops)}
    return dropped(counts, kept)


@style()
def dropped(counts: Mapping[str, Mapping[str, int]], kept: Mapping[str, int]) -> Figure:
    """What each stage dropped and why: a bar per reason, a panel per stage that dropped any.

    `counts` is stage -> reason -> number of samples; `kept` is stage -> samples left after it.
    Stages are in the order given, reasons ordered by number.
    """
    bars = {
        stage: sorted(
            ((reason, n) for reason, n in reasons.items() if n), key=lambda bar: (bar[1], bar[0])
        )
        for stage, reasons in counts.items()
        if any(reasons.values())
    }
    if not bars:
        return message(f"Nothing was dropped: all {min(kept.values()):,} samples were kept.")
    heights = [len(rows) for rows in bars.values()]
    figure = new_figure(8, 0.3 * sum(heights) + 0.55 * len(heights) + 0.4)
    panels = figure.subplots(len(bars), 1, height_ratios=heights, sharex=True, squeeze=False)
    for axes, (stage, rows) in zip(panels[:, 0], bars.items(), strict=True):
        lost = sum(n for _, n in rows)
        axes.set_title(f"{stage}: kept {kept[stage]:,} of {kept[stage] + lost:,}", loc="left")
        drawn = axes.barh(
            [reason.replace("_", " ") for reason, _ in rows],
            [n for _, n in rows],
            color="#0072B2",
            height=0.7,
        )
        axes.bar_label(drawn, [f"{n:,}" for _, n in rows], padding=4)
        axes.set_ylim(-0.5, len(rows) - 0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
    axes.set_xlabel("samples dropped")
    axes.set_xlim(0, 1.12 * max([n for rows in bars.values() for _, n in rows], default=1))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    return figure
