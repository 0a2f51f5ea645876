"""The style of all figures: colours, fonts, layout and SVG files.

Figures are made without pyplot: no display is needed and nothing stays in memory. The colours are
Okabe and Ito's palette for all kinds of colour vision ("Color Universal Design", 2008); a mode has
one colour in every figure.
"""

import contextlib
import functools
import math
import os
import re
import textwrap
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullFormatter
from matplotlib.transforms import blended_transform_factory

from graft.config.architectures import MODES
from graft.core.files import atomic
from graft.evaluation.failure import NAMES, failed_runs
from graft.reporting.figures import fonts

MODE_COLOURS = {
    "from_scratch": "#D55E00",
    "logistic_probe": "#000000",
    "knn_probe": "#6E5494",
    "feature_extraction": "#0072B2",
    "fine_tuning": "#009E73",
}
OTHER_COLOURS = (  # chosen by the number of the block
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#8C6D1F",
    "#332288",
    "#999933",
    "#AA4499",
)
GREY, LIGHT = "#5F6368", "#E3E5E8"
STYLE = {
    "svg.hashsalt": "graft",
    "svg.fonttype": "path",  # does not depend on installed fonts
    "text.parse_math": False,  # titles and classes may contain a dollar sign
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.axisbelow": True,
    "grid.color": LIGHT,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "legend.frameon": False,
}
COLUMNS_MOST = 3  # panels in a row
DPI = 120  # of pictures inside an SVG


def mode_colour(mode: str) -> str:
    """The colour (#RRGGBB) of a mode, by its name alone."""
    if mode in MODE_COLOURS:
        return MODE_COLOURS[mode]
    numbers = numbers_in(mode) or [zlib.crc32(mode.encode())]
    # block4 is the fourth; conv3_1 is the tenth, so that the layers of a block differ.
    number = functools.reduce(lambda above, below: 3 * above + below, numbers)
    return OTHER_COLOURS[number % len(OTHER_COLOURS)]


def in_order(modes: Iterable[str]) -> list[str]:
    """Modes from no transferred layer to all layers trained, as MODES has them; freeze_<block or
    layer> before the last, by depth: conv3_1, conv3_2, block3 (which ends after its layers)."""
    *first, last = MODES
    ranks = {**{mode: rank for rank, mode in enumerate(first)}, last: len(first) + 1}

    def depth(mode: str) -> list[float]:
        return [*(numbers_in(mode) or [0]), math.inf]

    return sorted(modes, key=lambda mode: (ranks.get(mode, len(first)), depth(mode), mode))


def numbers_in(mode: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", mode)]


def save_svg(figure: Figure, path: str | os.PathLike) -> None:
    """Write a figure as SVG; equal figures give equal bytes (no date, no random ids).

    Characters that its font lacks are drawn with another one, if it is installed (see `fonts`).
    """
    with style(), atomic(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(temporary, format="svg", dpi=DPI, metadata={"Date": None})
        if fonts.complete(figure):
            figure.savefig(temporary, format="svg", dpi=DPI, metadata={"Date": None})


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Graft's style over matplotlib's default style, without the user's matplotlibrc.

    A figure is drawn (`@style()`) and saved within it.
    """
    with matplotlib.style.context(["default", STYLE]):
        yield


def new_figure(width: float, height: float, *, compress: bool = False) -> Figure:
    """An empty figure (inches) whose layout keeps every label inside it."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, compress=compress)
    return Figure(figsize=(width, height), layout=layout)


def grid_shape(panels: int, most: int) -> tuple[int, int]:
    """Rows and columns (at most `most`) that hold the panels with the fewest gaps."""
    rows = math.ceil(panels / most)
    return rows, math.ceil(panels / rows)


def percent() -> FuncFormatter:
    return FuncFormatter(lambda share, _: f"{100 * share:.4g} %")


def plain_logarithms(axis: Axis) -> None:
    """Label a logarithmic axis at its powers of ten with numbers: matplotlib writes formulas, which
    STYLE shows as they are typed."""
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def estimates_axis(axes: Axes, metric: str, level: float) -> None:
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.xaxis.set_major_formatter(percent())
    axes.set_xlabel(
        f"test {NAMES[metric]}, mean over seeds with its "
        f"{100 * level:.3g} % interval; small dots: single seeds"
    )


def draw_estimate(axes: Axes, position: float, row: Mapping, colour: str) -> None:
    """A mode's metric in its row: the interval, the mean with its number, the seeds below."""
    if row["low"] is not None:
        axes.plot([row["low"], row["high"]], [position] * 2, color=colour, linewidth=2.5)
    axes.plot(row["mean"], position, "o", color=colour, markersize=9, zorder=3)
    seeds = list(row["seeds"].values())
    axes.plot(
        seeds, np.full(len(seeds), position - 0.24), "o", color=colour, alpha=0.6, markersize=4
    )
    write_number(axes, position, row["mean"], f"{100 * row['mean']:.1f} %")


def with_failures(mode: str, failed: Mapping, row: Mapping) -> str:
    """The label of a mode's row, with the number of its runs that failed, if any."""
    return f"{mode}\n({failed_runs(len(failed), len(row['seeds']))} failed)" if failed else mode


def write_sentences(figure: Figure, axes: Axes, sentences: Sequence[str]) -> None:
    """Sentences below a plot, from the left edge of the figure."""
    axes.axis("off")
    left = blended_transform_factory(figure.transFigure, axes.transAxes)
    axes.text(0.015, 1, "\n".join(sentences), va="top", linespacing=1.4, transform=left)


def wrapped(sentences: Iterable[str]) -> tuple[list[str], int]:
    """Sentences wrapped to the figure's width, and the number of their lines.

    A line never breaks inside an interval.
    """
    texts = [
        textwrap.fill(sentence.replace(", ", ",\u00a0"), 105, subsequent_indent="    ")
        for sentence in sentences
    ]
    return texts, sum(text.count("\n") + 1 for text in texts)


def write_number(axes: Axes, position: float, value: float, text: str) -> None:
    axes.annotate(
        text,
        (value, position),
        (0, 8),
        textcoords="offset points",
        ha="center",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


@style()
def message(text: str) -> Figure:
    """A figure with a sentence instead of a plot."""
    figure = Figure(figsize=(6, 1))
    figure.text(0.02, 0.5, text, va="center")
    return figure
