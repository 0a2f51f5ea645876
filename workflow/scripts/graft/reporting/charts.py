"""Charts of the report's page, as the positions that its template needs.

A position is a percentage of the axis. The page draws with HTML and CSS, so that a chart fits a
phone and its text keeps its size. Shares are in 0..1, texts in percent.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from graft.evaluation.failure import BASELINES, NAMES, failed_runs
from graft.reporting.figures.style import in_order, mode_colour

MARGIN = 4.0
"""Percent of the curve's width that is free beside its first and last size."""

NEAR = 9.0
"""Percent of the width that two labels of sizes keep between them."""


class Tick(NamedTuple):
    position: float
    text: str


class Axis(NamedTuple):
    """A linear axis between round numbers."""

    low: float
    high: float
    ticks: list[Tick]

    def position(self, value: float) -> float:
        return round(100 * (value - self.low) / (self.high - self.low), 2)


def axis(values: Iterable[float], text: Callable[[float], str], most: int = 5) -> Axis:
    """The axis over these values with at most `most` steps of 1, 2 or 5 times a power of ten."""
    listed = list(values)
    least, greatest = min(listed), max(listed)
    for exponent, factor in itertools.product(range(-3, 12), (1, 2, 5)):
        step = factor * 10.0**exponent
        first = math.floor(least / step + 1e-9)
        last = max(math.ceil(greatest / step - 1e-9), first + 1)
        if last - first <= most:
            break
    found = Axis(first * step, last * step, [])
    ends = [number * step for number in range(first, last + 1)]
    return found._replace(ticks=[Tick(found.position(end), text(end)) for end in ends])


def percent(share: float) -> str:
    """Such as "92.5"."""
    return f"{100 * share:.1f}"


def colour(mode: str) -> str:
    """A mode's colour in CSS; the black of the figures is the page's own text colour."""
    found = mode_colour(mode)
    return "var(--text)" if found == "#000000" else found


def estimates(compared: Mapping[str, Any]) -> dict[str, Any]:
    """The chart of each mode's metric; `compared` is what `compare.compare` returns.

    Returns `metric` (words), `level` (percent), `ticks`, `baseline` (`position`, `text`) and
    `rows`: `mode`, `colour`, `text`, `mean`, `low` and `width` of the interval (None without one),
    `seeds` (`position`, `tip`), `tip` and `failed`, in the order of all figures.
    """
    modes, baseline = compared["modes"], compared["majority_baseline"]
    shown = [baseline]
    for row in modes.values():
        ends = (row["mean"], row["low"], row["high"], *row["seeds"].values())
        shown += [value for value in ends if value is not None]
    scale = axis(shown, lambda share: f"{100 * share:.4g}")
    return {
        "metric": NAMES[compared["metric"]],
        "level": f"{100 * compared['level']:.3g}",
        "ticks": scale.ticks,
        "baseline": Tick(
            scale.position(baseline), f"{BASELINES[compared['metric']]} {percent(baseline)} %"
        ),
        "rows": [_estimate(mode, compared, scale) for mode in in_order(modes)],
    }


def _estimate(mode: str, compared: Mapping[str, Any], scale: Axis) -> dict[str, Any]:
    row, failed = compared["modes"][mode], compared["failed"].get(mode, {})
    low, high = row["low"], row["high"]
    return {
        "mode": mode,
        "colour": colour(mode),
        "text": percent(row["mean"]),
        "mean": scale.position(row["mean"]),
        "low": None if low is None else scale.position(low),
        "width": None if low is None else round(scale.position(high) - scale.position(low), 2),
        "seeds": [
            {
                "position": scale.position(value),
                "tip": f"{mode}, seed {seed}: {percent(value)} %"
                + (f", failed: {failed[seed]}" if seed in failed else ""),
            }
            for seed, value in row["seeds"].items()
        ],
        "tip": f"{mode}: {_with_interval(row)}",
        "failed": failed_runs(len(failed), len(row["seeds"])) if failed else "",
    }


def _with_interval(row: Mapping[str, Any]) -> str:
    """Such as "92.0 % [89.1, 94.6], ± 0.8 over seeds"."""
    interval = "" if row["low"] is None else f" [{percent(row['low'])}, {percent(row['high'])}]"
    spread = "" if row["std"] is None else f", ± {percent(row['std'])} over seeds"
    return f"{percent(row['mean'])} %{interval}{spread}"


def curves(labels: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The charts over the number of training pictures: the metric, and the updates where known.

    `labels` is what the seal of the labels curve holds. Each chart has `heading`, `unit`,
    `x_ticks`, `y_ticks`, `baseline` (or None) and `lines`: `mode`, `colour`, `path` and `band` (SVG
    coordinates in a square of 100) and `dots` (`x`, `y`, `tip`, `failed`).
    """
    metric, modes = NAMES[labels["metric"]], labels["modes"]
    baseline = labels["majority_baseline"]
    shares = [baseline] + [
        value
        for points in modes.values()
        for point in points
        for value in (point["mean"], point["low"], point["high"])
        if value is not None
    ]
    across = _across(labels["sizes"])
    scale = axis(shares, lambda share: f"{100 * share:.4g}")
    common = {"x_ticks": _apart(across)}
    of_metric = {
        "heading": f"test {metric}",
        "unit": "%",
        "y_ticks": scale.ticks,
        "baseline": Tick(
            scale.position(baseline), f"{BASELINES[labels['metric']]} {percent(baseline)} %"
        ),
        "lines": [_line(mode, modes[mode], across, scale, "mean") for mode in in_order(modes)],
    }
    updates = [p["updates"] for points in modes.values() for p in points if p.get("updates")]
    if not updates:
        return [common | of_metric]
    counts = axis([0, *updates], lambda number: f"{number:,.0f}")
    of_updates = {
        "heading": "updates",
        "unit": "",
        "y_ticks": counts.ticks,
        "baseline": None,
        "lines": [
            _line(mode, modes[mode], across, counts, "updates")
            for mode in in_order(modes)
            if any(point.get("updates") for point in modes[mode])
        ],
    }
    return [common | of_metric, common | of_updates]


def _across(sizes: Sequence[int]) -> dict[int, float]:
    """Size -> position on a logarithmic axis."""
    ends = math.log(sizes[0]), math.log(sizes[-1])
    if ends[0] == ends[1]:
        return dict.fromkeys(sizes, 50.0)
    share = (100 - 2 * MARGIN) / (ends[1] - ends[0])
    return {size: round(MARGIN + share * (math.log(size) - ends[0]), 2) for size in sizes}


def _apart(across: Mapping[int, float]) -> list[Tick]:
    """The labels of the sizes, without those that would touch a larger one."""
    kept: list[Tick] = []
    for size, position in reversed(list(across.items())):
        if not kept or kept[-1].position - position >= NEAR:
            kept.append(Tick(position, f"{size:,}"))
    return kept[::-1]


def _line(
    mode: str, points: Sequence[Mapping], across: Mapping[int, float], scale: Axis, key: str
) -> dict[str, Any]:
    known = [point for point in points if point[key] is not None]
    dots = [
        {
            "x": across[point["train_rows"]],
            "y": round(100 - scale.position(point[key]), 2),
            "tip": _tip(mode, point),
            "failed": bool(point["failed"]),
        }
        for point in known
    ]
    band = [p for p in known if key == "mean" and p["low"] is not None]
    outline = [(p, p["high"]) for p in band] + [(p, p["low"]) for p in reversed(band)]
    return {
        "mode": mode,
        "colour": colour(mode),
        "path": " ".join(f"{dot['x']},{dot['y']}" for dot in dots),
        "band": " ".join(
            f"{across[p['train_rows']]},{round(100 - scale.position(end), 2)}" for p, end in outline
        ),
        "dots": dots,
    }


def _tip(mode: str, point: Mapping[str, Any]) -> str:
    parts = [f"{mode}, {point['train_rows']:,} training pictures: {_with_interval(point)}"]
    if point.get("updates"):
        parts.append(f"{point['updates']:,.0f} updates")
    if point["failed"]:
        parts.append(f"{failed_runs(len(point['failed']), len(point['seeds']))} failed")
    return "; ".join(parts)
