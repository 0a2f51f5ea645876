"""The pictures of the report, as matplotlib figures; only `save_svg` writes anything.

Figures are made without pyplot, so nothing needs a display and nothing is kept alive. The
colours are Okabe and Ito's palette for all kinds of colour vision ("Color Universal Design",
2008); a mode has one colour in every figure.
"""

import contextlib
import functools
import math
import os
import re
import textwrap
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import blended_transform_factory

from graft.core.errors import GraftError
from graft.core.files import atomic

_MODE_COLOURS = {
    "from_scratch": "#D55E00",
    "feature_extraction": "#0072B2",
    "fine_tuning": "#009E73",
}
_OTHER_COLOURS = (  # a block's number picks one, so block4 looks the same in every figure
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#8C6D1F",
    "#332288",
    "#999933",
    "#AA4499",
)
_GREY, _LIGHT = "#5F6368", "#E3E5E8"
_STYLE = {
    "svg.hashsalt": "graft",
    "svg.fonttype": "path",  # looks the same whatever fonts the reader's machine has
    "text.parse_math": False,  # a dollar in a title or a class is a dollar
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GREY,
    "axes.axisbelow": True,
    "grid.color": _LIGHT,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "legend.frameon": False,
}
_INK = 0.55  # share of the colour scale from which cell text is white
_CELL_TEXT_MOST = 20  # classes; beyond it a cell is too small for its number
_CELL_SHARE_MOST = 6  # classes; up to so many a cell shows its share of the row as well
_TICKS_MOST = 15  # class names along an axis where there are more than fit
_COLUMNS_MOST = 3  # panels side by side
_WIDTH_MOST = 11  # inches; a wider figure would be shrunk in the report until none can read it
_WARM_UP_MOST = 3  # epochs of warm-up shown per epoch of tuning
_HEADING_MOST, _LABEL_MOST = 90, 32  # characters of an overview's headings and labels
_BAR = {"marker": "|", "color": "black", "markersize": 15, "markeredgewidth": 1.8}
_HOLLOW = {
    "marker": "o",
    "markersize": 8,
    "markerfacecolor": "white",
    "markeredgecolor": "black",
    "markeredgewidth": 1.4,
}
_LOG_RANGE = 20  # a loss this many times its median is drawn on a log axis
_DPI = 120  # of the pixels inside an SVG: sharp at report size, and keeps the file small


def mode_colour(mode: str) -> str:
    """The colour (#RRGGBB) of a mode, by its name alone."""
    if mode in _MODE_COLOURS:
        return _MODE_COLOURS[mode]
    numbers = _numbers(mode) or [zlib.crc32(mode.encode())]
    # block4 is the fourth; conv3_1 is the tenth, so that the layers of a block differ.
    number = functools.reduce(lambda above, below: 3 * above + below, numbers)
    return _OTHER_COLOURS[number % len(_OTHER_COLOURS)]


def in_order(modes) -> list[str]:
    """Modes from nothing transferred to everything tuned; freeze_<block or layer> stand between,
    by number: conv3_1, conv3_2, block3 (which ends after its layers), conv4_1."""
    ranks = {"from_scratch": 0, "feature_extraction": 1, "fine_tuning": 3}

    def depth(mode: str) -> list[float]:
        return [*(_numbers(mode) or [0]), math.inf]

    return sorted(modes, key=lambda mode: (ranks.get(mode, 2), depth(mode), mode))


def _numbers(mode: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", mode)]


def save_svg(figure: Figure, path: str | os.PathLike) -> None:
    """Write a figure as SVG; equal figures give equal bytes (no date, no random ids)."""
    with _style(), atomic(path) as temporary:
        figure.savefig(temporary, format="svg", dpi=_DPI, metadata={"Date": None})


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """Graft's style over matplotlib's own, whatever the user's matplotlibrc says."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    @functools.wraps(draw)
    def drawn(*arguments, **options) -> Figure:
        with _style():
            return draw(*arguments, **options)

    return drawn


def _figure(width: float, height: float, layout: str = "constrained") -> Figure:
    """An empty figure (inches) whose layout keeps every label inside it."""
    figure = Figure(figsize=(width, height), layout=layout)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    return figure


def _grid(panels: int, most: int) -> tuple[int, int]:
    """Rows and columns (at most `most`) that hold the panels with the fewest gaps."""
    rows = math.ceil(panels / most)
    return rows, math.ceil(panels / rows)


def _percent() -> FuncFormatter:
    return FuncFormatter(lambda share, _: f"{100 * share:.4g} %")


@_styled
def learning_curves(
    histories: Mapping[str, Sequence[pd.DataFrame]],
    *,
    warm_up: Mapping[str, str] | None = None,
    metric: str = "accuracy",
) -> Figure:
    """Loss (top) and `metric` (below) by epoch, a column per mode, the scale shared by all.

    `histories` is mode -> one table per seed with `epoch` (from 1), `train_loss`, `val_loss`,
    `val_<metric>` and, if recorded, `train_<metric>`. One thin line per seed; validation is
    solid, training dashed. For a mode in `warm_up` (such as fine_tuning: feature_extraction) the
    curves of the other mode are drawn before it in that mode's colour, ending at epoch 0, where a
    vertical line marks the end of the head's warm-up; of a warm-up much longer than the tuning
    only the end is in view, the whole of it stands in its own column.
    """
    warm_up = {mode: head for mode, head in (warm_up or {}).items() if head in histories}
    metric = metric.removeprefix("val_")
    quantities = ["loss", "accuracy" if metric == "loss" else metric]
    for mode, runs in histories.items():
        for run in runs:
            _require(run, ["epoch", *(f"val_{name}" for name in quantities)], mode)
    modes = in_order(histories)
    blocks, columns = _grid(len(modes), _COLUMNS_MOST)
    figure = _figure(1 + 3.1 * columns, 0.6 + 4.8 * blocks)
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
                axes.set_xlim(-0.5 - min(first, _WARM_UP_MOST * last), last + 0.5)
            for run in histories[mode]:
                _curve(axes, run, name, mode_colour(mode), 0)
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
            axes.margins(x=0.03)
            axes.tick_params(labelleft=column == 0)
            if column == 0:
                axes.set_ylabel(name.replace("_", " "))
        grid[2 * block, column].set_title(mode, color=mode_colour(mode))
        grid[2 * block + 1, column].set_xlabel(
            "epoch (0: warm-up ends)" if mode in warm_up else "epoch"
        )
    _scale_loss(grid[0, 0], histories)
    grid[1, 0].yaxis.set_major_formatter(_percent())
    for axes in grid.ravel()[[not panel.has_data() for panel in grid.ravel()]]:
        axes.remove()
    handles = [
        Line2D([], [], color="black", linewidth=1.2, label="validation"),
        Line2D([], [], color="black", linewidth=1, linestyle="--", alpha=0.6, label="training"),
    ]
    if warm_up:
        handles.append(
            Line2D([], [], color="black", linewidth=1, linestyle=":", label="tuning begins")
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _curve(axes, run: pd.DataFrame, name: str, colour: str, shift: int) -> None:
    epochs = run["epoch"] - shift
    dot = "." if len(run) == 1 else None  # a line through one point is invisible
    if f"train_{name}" in run:
        style = {"linewidth": 1, "linestyle": "--", "alpha": 0.6}
        axes.plot(epochs, run[f"train_{name}"], color=colour, marker=dot, **style)
    axes.plot(epochs, run[f"val_{name}"], color=colour, linewidth=1.2, marker=dot)


def _scale_loss(axes, histories) -> None:
    names = ("train_loss", "val_loss")
    columns = [run[name] for runs in histories.values() for run in runs for name in names]
    losses = np.concatenate(columns)
    losses = losses[np.isfinite(losses) & (losses > 0)]
    if len(losses) and losses.max() > _LOG_RANGE * np.median(losses):
        axes.set_yscale("log")


def _require(run: pd.DataFrame, names: Sequence[str], mode: str) -> None:
    missing = [name for name in names if name not in run]
    if missing or not len(run):
        lacks = f"the column {missing[0]}" if missing else "any epoch"
        raise GraftError(f"the history of mode {mode!r} lacks {lacks}; train it again.")


@_styled
def confusion_matrices(matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """One heat map per mode: rows are the true class, shaded by their share of the row.

    `matrices` is mode -> counts (K, K). Up to 20 classes each cell shows its count (and its
    share, up to 6 classes); with more, a few classes are named along the axes.
    """
    count = len(classes)
    for mode, matrix in matrices.items():
        if np.shape(matrix) != (count, count):
            raise GraftError(
                f"the confusion matrix of mode {mode!r} is {np.shape(matrix)} for {count} classes; "
                "evaluate it again."
            )
    modes = in_order(matrices)
    small = count <= _CELL_TEXT_MOST
    side = max(2.6, 0.42 * count) if small else 3.4
    rows, columns = _grid(len(modes), min(_COLUMNS_MOST, max(1, int(_WIDTH_MOST / side))))
    names = [textwrap.shorten(str(name), 24, placeholder="…") for name in classes]
    ticks = np.arange(0, count, 1 if small else math.ceil(count / _TICKS_MOST))
    labels = [names[tick] for tick in ticks]
    letters = max(map(len, labels))
    upright = letters * 0.09 < side / count
    width = side * columns + 0.09 * letters + 0.5 + (not small)
    height = (side + 0.8 + (0.2 if upright else 0.09 * letters)) * rows
    figure = _figure(width, height, "compressed")
    grid = figure.subplots(rows, columns, squeeze=False)
    # With many classes most shares are small: a square-root scale keeps them visible.
    scale = Normalize(0, 1) if small else PowerNorm(0.5, 0, 1)
    for position, axes in enumerate(grid.ravel()):
        if position >= len(modes):
            axes.remove()
            continue
        mode = modes[position]
        matrix = np.asarray(matrices[mode], dtype=np.float64)
        totals = matrix.sum(axis=1, keepdims=True)
        share = np.divide(matrix, totals, out=np.full_like(matrix, np.nan), where=totals > 0)
        image = axes.pcolormesh(np.ma.masked_invalid(share), cmap=_shades(), norm=scale)
        image.set_rasterized(not small)
        axes.set_aspect("equal")
        axes.invert_yaxis()
        axes.set_title(mode, color=mode_colour(mode))
        axes.set_xticks(ticks + 0.5, labels, rotation=0 if upright else 90)
        axes.set_yticks(ticks + 0.5, labels)
        axes.tick_params(length=0 if small else 2, labelleft=position % columns == 0)
        axes.set_xlabel("predicted")
        if position % columns == 0:
            axes.set_ylabel("true")
        if small:
            _cell_texts(axes, matrix, share)
    if not small:  # small matrices say their numbers
        figure.colorbar(
            image,
            ax=grid.ravel()[: len(modes)].tolist(),
            label="share of the true class",
            format=_percent(),
            ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1],
        )
    return figure


def _shades():
    # "Bad" is the row of a class without test samples: it has no shares.
    return matplotlib.colormaps["Blues"].with_extremes(bad=_LIGHT)


def _cell_texts(axes, matrix: np.ndarray, share: np.ndarray) -> None:
    count = len(matrix)
    with_share = count <= _CELL_SHARE_MOST
    for (row, column), number in np.ndenumerate(matrix):
        text = f"{number:,.0f}"
        if with_share and np.isfinite(share[row, column]):
            text += f"\n{share[row, column]:.0%}"
        elif not number:
            continue
        axes.text(
            column + 0.5,
            row + 0.5,
            text,
            ha="center",
            va="center",
            fontsize=10 if with_share else 8 if count <= _CELL_TEXT_MOST // 2 else 7,
            color="white" if share[row, column] > _INK else "black",
        )


@_styled
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
    figure = _figure(8.2, sum(heights) + 0.2)
    axes, words = figure.subplots(2, 1, height_ratios=heights)
    for position, mode in enumerate(modes):
        _estimate(axes, position, comparison["modes"][mode], mode_colour(mode))
    baseline = comparison["majority_baseline"]
    axes.axvline(baseline, color=_GREY, linestyle="--", linewidth=1.2)
    axes.text(
        baseline,
        1.02,
        f"majority class {100 * baseline:.1f} %",
        transform=axes.get_xaxis_transform(),
        ha="center",
        color=_GREY,
    )
    axes.set_yticks(range(len(modes)), modes)
    axes.set_ylim(-0.6, len(modes) - 0.4)
    axes.margins(x=0.08)
    _estimates_axis(axes, comparison["metric"], comparison.get("level", 0.95))
    words.axis("off")
    across = blended_transform_factory(figure.transFigure, words.transAxes)
    words.text(0.015, 1, "\n".join(verdicts), va="top", linespacing=1.4, transform=across)
    return figure


def _estimates_axis(axes, metric: str, level: float) -> None:
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.xaxis.set_major_formatter(_percent())
    axes.set_xlabel(
        f"test {metric.replace('_', ' ')}, mean over seeds with its "
        f"{100 * level:.3g} % interval; small dots: single seeds"
    )


def _estimate(axes, position: float, row: Mapping, colour: str) -> None:
    """A mode's figure on its line: the interval, the mean with its number, the seeds below."""
    if row["low"] is not None:
        axes.plot([row["low"], row["high"]], [position] * 2, color=colour, linewidth=2.5)
    axes.plot(row["mean"], position, "o", color=colour, markersize=9, zorder=3)
    seeds = list(row["seeds"].values())
    axes.plot(
        seeds, np.full(len(seeds), position - 0.24), "o", color=colour, alpha=0.6, markersize=4
    )
    _number(axes, position, row["mean"], f"{100 * row['mean']:.1f} %")


def _number(axes, position: float, value: float, text: str) -> None:
    axes.annotate(
        text,
        (value, position),
        (0, 8),
        textcoords="offset points",
        ha="center",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


@_styled
def overview(found: Mapping) -> Figure:
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
    figure = _figure(8.2, sum(heights) + 0.6)
    axes, words = figure.subplots(2, 1, height_ratios=heights)
    across = blended_transform_factory(figure.transFigure, axes.transData)
    ticks: dict[float, str] = {}
    position = lines  # downwards from the top
    for heading, rows, baseline in blocks:
        position -= 1
        text = textwrap.shorten(heading, _HEADING_MOST, placeholder="…")
        axes.text(0.015, position - 0.1, text, transform=across, weight="bold", in_layout=False)
        first = position
        for row in rows:
            position -= 1
            if "mode" in row:
                ticks[position] = row["mode"]
                _estimate(axes, position, row["test"][metric], mode_colour(row["mode"]))
                _chosen(axes, position, row["val"][metric])
            else:
                ticks[position] = textwrap.shorten(row["label"], _LABEL_MOST, placeholder="…")
                _published(axes, position, row["value"])
        if baseline is not None:
            ends = [first - 0.5, position - 0.4]
            axes.plot([baseline] * 2, ends, color=_GREY, linestyle="--", linewidth=1.2, zorder=0)
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(-0.6, lines - 0.4)
    axes.spines["left"].set_visible(False)  # it would cross the headings
    axes.margins(x=0.06)
    _estimates_axis(axes, metric, found["level"])
    words.axis("off")
    beneath = blended_transform_factory(figure.transFigure, words.transAxes)
    words.text(0.015, 1, "\n".join(told), va="top", linespacing=1.4, transform=beneath)
    handles = [
        Line2D([], [], color="black", marker="o", markersize=8, linewidth=2.5, label="test"),
        Line2D([], [], linestyle="", label="validation, at the chosen epoch", **_BAR),
        Line2D([], [], color=_GREY, linestyle="--", linewidth=1.2, label="commonest class"),
    ]
    if found["published"]:
        handles.append(Line2D([], [], linestyle="", label="published", **_HOLLOW))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _chosen(axes, position: float, value: float | None) -> None:
    if value is not None:
        axes.plot(value, position, zorder=4, **_BAR)


def _published(axes, position: float, value: float | Sequence[float]) -> None:
    values = [value] if isinstance(value, int | float) else list(value)
    axes.plot(values, [position] * len(values), linewidth=1, color="black", **_HOLLOW)
    text = " to ".join(f"{100 * value:.4g}" for value in values)
    _number(axes, position, sum(values) / len(values), f"{text} %")


@_styled
def contact_sheet(
    images: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    columns: int = 8,
    title: str = "",
) -> Figure:
    """Pictures (each uint8, (height, width, 3), RGB, or (height, width) grey) in rows of
    `columns`, each with its title below; a title may have several lines."""
    if not len(images):
        raise GraftError("a contact sheet needs at least one picture; there is none to show.")
    titles = list(titles) if titles is not None else [""] * len(images)
    if len(titles) != len(images):
        raise GraftError(f"a contact sheet has {len(images)} pictures but {len(titles)} titles.")
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    wrapped = [
        "\n".join(textwrap.fill(line, 19) for line in str(text).split("\n")) for text in titles
    ]
    most = max((text.count("\n") + 1) if text else 0 for text in wrapped)
    cell, gap, head = 1.25, 0.08, 0.4 if title else 0.05  # inches
    below = 0.12 * most + (0.1 if most else 0.03)
    width = max(columns * (cell + gap) + gap, 0.09 * len(title) + 0.2)
    height = head + rows * (cell + below) + gap
    figure = Figure(figsize=(width, height))
    if title:
        figure.suptitle(title, x=gap / width, y=1 - 0.08 / height, ha="left", va="top", fontsize=11)
    for position, (picture, text) in enumerate(zip(images, wrapped, strict=True)):
        row, column = divmod(position, columns)
        left = gap + column * (cell + gap)
        top = head + row * (cell + below)
        axes = figure.add_axes(
            (left / width, 1 - (top + cell) / height, cell / width, cell / height)
        )
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axes.axis("off")
        axes.text(0.5, -0.04, text, transform=axes.transAxes, ha="center", va="top", fontsize=7.5)
    return figure


@_styled
def message(text: str) -> Figure:
    """A figure that says in words that there is nothing to show."""
    figure = Figure(figsize=(6, 1))
    figure.text(0.02, 0.5, text, va="center")
    return figure


@_styled
def dropped(counts: Mapping[str, Mapping[str, int]], kept: Mapping[str, int]) -> Figure:
    """What each stage dropped and why: a bar per reason, a panel per stage.

    `counts` is stage -> reason -> number of samples; `kept` is stage -> samples left after it,
    told in the panel's title. Stages stand in the order given, reasons by number.
    """
    if not counts:
        raise GraftError("no stage to show in the figure of what was dropped.")
    bars = {
        stage: sorted(
            ((reason, n) for reason, n in reasons.items() if n), key=lambda bar: (bar[1], bar[0])
        )
        for stage, reasons in counts.items()
    }
    heights = [max(1, len(rows)) for rows in bars.values()]
    figure = _figure(8, 0.3 * sum(heights) + 0.55 * len(heights) + 0.4)
    panels = figure.subplots(len(bars), 1, height_ratios=heights, sharex=True, squeeze=False)
    for axes, (stage, rows) in zip(panels[:, 0], bars.items(), strict=True):
        lost = sum(n for _, n in rows)
        told = f"{stage}: dropped {lost:,}"
        if stage in kept:
            told = f"{stage}: kept {kept[stage]:,} of {kept[stage] + lost:,}"
        axes.set_title(told, loc="left")
        drawn = axes.barh(
            [reason.replace("_", " ") for reason, _ in rows] or ["nothing dropped"],
            [n for _, n in rows] or [0],
            color="#0072B2",
            height=0.7,
        )
        axes.bar_label(drawn, [f"{n:,}" for _, n in rows] or [""], padding=4)
        axes.set_ylim(-0.5, max(1, len(rows)) - 0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
    axes.set_xlabel("samples dropped")
    axes.set_xlim(0, 1.12 * max([n for rows in bars.values() for _, n in rows], default=1))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    return figure
