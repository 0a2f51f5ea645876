"""Tables of metrics: for a spreadsheet (CSV) and for a reader (HTML)."""

import os
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import pandas as pd

from graft.config.architectures import PROBES
from graft.config.plan import SPLITS
from graft.core.assets import Asset
from graft.core.files import atomic
from graft.evaluation import metrics as of_one
from graft.evaluation import multilabel
from graft.evaluation.failure import BASELINES, failed_runs
from graft.evaluation.metrics import SCALED, UNSCALED, over_seeds, scaled
from graft.reporting.contact_sheet import REASONS
from graft.reporting.pages import write_page
from graft.reporting.results import Drop

SUMMARY = Asset(__file__, "templates/summary.html")
OVERVIEW = Asset(__file__, "templates/overview.html")
HEADINGS = (
    {name: multilabel.HEADINGS[name] for name in multilabel.COMPARED}
    | of_one.HEADINGS
    | multilabel.HEADINGS
)
METRICS = tuple(HEADINGS)
"""Of one class per picture, or of several; a run has those of its kind."""

MEAN, ANY = "mean", "any"
"""Seeds of rows that stand for several: their mean, or what is the same for all."""

NONE = "–"


class Cell(NamedTuple):
    """A number of a page's table, and what is written below it."""

    text: str
    details: list[str]


def summary_table(
    metrics: Mapping[str, Mapping[int, Mapping]], comparison: Mapping | None = None
) -> pd.DataFrame:
    """One row per mode and seed, and after each mode's seeds, if there are two, their means.

    A probe has one row, of seed "any": it does not depend on the seed.

    `metrics` is mode -> seed -> what `metrics.measure` returns. The columns are `mode`, `seed`
    (text; "mean" for the mean row), `n`, `majority_baseline`, then for each metric `<metric>`,
    `<metric>_low`, `<metric>_high` and, in mean rows of two seeds or more, `<metric>_std`. A mean
    row's interval is the mode's own in `comparison` (see `compare.compare`), so only the metric
    compared has one. Then come `temperature` and `temperature_std`, and likewise the scores after
    temperature scaling, `<score>_scaled`. `failed` is the reason why a run failed, and in mean rows
    how many did; it is empty where none did.
    """
    rows = []
    failures = comparison.get("failed", {}) if comparison else {}
    for mode, every in metrics.items():
        # All seeds of a probe are the same model.
        runs = {min(every): every[min(every)]} if mode in PROBES else every
        failed = failures.get(mode, {})
        for seed in sorted(runs):
            row = {"mode": mode, "seed": str(seed), **_shared(runs[seed])}
            row["failed"] = failed.get(str(seed), "")
            for name in (name for name in METRICS if name in runs[seed]):
                low, high = (runs[seed].get("intervals") or {}).get(name) or (None, None)
                row |= _columns(name, runs[seed].get(name), low, high)
            if "temperature" in runs[seed]:
                row |= _after_scaling(runs[seed])
            rows.append(row)
        if len(runs) == 1:
            rows[-1]["seed"] = ANY if mode in PROBES else rows[-1]["seed"]
            continue
        row = {"mode": mode, "seed": MEAN, **_shared(next(iter(runs.values())))}
        row["failed"] = failed_runs(len(failed), len(runs)) if failed else ""
        for name, summed in over_seeds(list(runs.values()), METRICS).items():
            compared = comparison is not None and comparison["metric"] == name
            interval = comparison["modes"].get(mode, {}) if comparison and compared else {}
            ends = interval.get("low"), interval.get("high")
            row |= _columns(name, summed["mean"], *ends, summed["std"])
        scaled_runs = [scaled(run) for run in runs.values() if "temperature" in run]
        if scaled_runs:
            after = over_seeds(scaled_runs, ("temperature", *SCALED))
            temperature = after.pop("temperature")
            row |= {"temperature": temperature["mean"], "temperature_std": temperature["std"]}
            for name, summed in after.items():
                row |= _columns(name, summed["mean"], None, None, summed["std"])
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.astype(
        dict.fromkeys(table.columns.drop(["mode", "seed", "n", "failed"]), "float64")
    )


def _after_scaling(run: Mapping) -> dict[str, float | None]:
    """The columns of a run's temperature and of its scores after temperature scaling."""
    values = scaled(run)
    row = {"temperature": values["temperature"]}
    for name, raw in SCALED.items():
        low, high = run["temperature"]["intervals"][raw] or (None, None)
        row |= _columns(name, values[name], low, high)
    return row


def _shared(run: Mapping) -> dict[str, Any]:
    return {key: run[key] for key in ("n", "majority_baseline")}


def _columns(
    name: str, value: float | None, low: float | None, high: float | None, std: float | None = None
) -> dict[str, float | None]:
    return {name: value, f"{name}_low": low, f"{name}_high": high, f"{name}_std": std}


KINDS = {
    "ap": "AP",
    "ap_11": "AP, 11 points",
    "ap_all": "AP, difficult counted",
    "ap_11_all": "AP, 11 points, difficult counted",
}
"""The average precisions of a class (see `multilabel.measure`), and their headings."""


def per_class(metrics: Mapping[str, Mapping[int, Mapping]]) -> dict[str, Any]:
    """The average precision of each class in every mode, means over seeds in percent.

    `metrics` is mode -> seed -> what `multilabel.measure` returns. Returns `modes`, `heads` (those
    of a mode's columns), and `rows` (`name`, `positives`, `left_out`, and `cells`: for each mode
    one for each head); the last row is the mean over classes.
    """
    first = next(iter(next(iter(metrics.values())).values()))["per_class"]
    values = {
        (mode, name, kind): _defined_mean(run["per_class"][name][kind] for run in runs.values())
        for mode, runs in metrics.items()
        for name in first
        for kind in KINDS
    }
    rows = [
        {
            "name": name,
            "positives": counts["positives"],
            "left_out": counts["left_out"],
            "cells": [_percent(values[mode, name, kind]) for mode in metrics for kind in KINDS],
        }
        for name, counts in first.items()
    ]
    means = [
        _percent(_defined_mean(values[mode, name, kind] for name in first))
        for mode in metrics
        for kind in KINDS
    ]
    rows.append({"name": "mean", "positives": None, "left_out": None, "cells": means})
    return {"modes": list(metrics), "heads": list(KINDS.values()), "rows": rows}


def _defined_mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f}"


def write_csv(table: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write the table with every digit; what was not computed is an empty cell."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def write_summary(
    table: pd.DataFrame,
    path: str | os.PathLike,
    *,
    title: str,
    verdicts: Sequence[str],
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
    drops: Sequence[Drop] = (),
) -> None:
    """Write the page of an experiment: the table of `summary_table`, the sentences, and the samples
    that were dropped."""
    write_page(
        path,
        SUMMARY,
        title=title,
        n=f"{table['n'].iloc[0]:,}",
        several="mean_ap" in table,
        majority=f"{100 * table['majority_baseline'].iloc[0]:.1f}",
        **summary_rows(table),
        verdicts=verdicts,
        notes=notes,
        warnings=warnings,
        drop_heads=["no split yet", *SPLITS, "all"],
        drops=[dropped_row(drop) for drop in drops],
    )


def dropped_row(drop: Drop) -> list[str]:
    """The stage, the reason in words, and the numbers by split and of all."""
    reason = REASONS.get(drop.reason, drop.reason.replace("_", " "))
    numbers = [*(drop.splits.get(split, 0) for split in ("", *SPLITS)), drop.total]
    return [drop.stage, reason, *(f"{number:,}" if number else NONE for number in numbers)]


def summary_rows(table: pd.DataFrame) -> dict[str, Any]:
    """The `heads` and `rows` of a page's table, of what `summary_table` returns."""
    names = [name for name in METRICS if name in table]
    single = table["mode"].value_counts()
    rows: list[dict[str, Any]] = [
        {
            "mode": row["mode"],
            "seed": row["seed"],
            "mean": row["seed"] == MEAN or single[row["mode"]] == 1,
            "failed": _shown_failure(row),
            "cells": [
                _cell(name, *(row[f"{name}{end}"] for end in ("", "_low", "_high", "_std")))
                for name in names
            ]
            + ([_scaled_cell(row)] if "temperature" in row else []),
        }
        for row in table.to_dict("records")
    ]
    after = ["ECE, scaled"] if "temperature" in table else []
    return {"heads": [*(HEADINGS[name] for name in names), *after], "rows": rows}


def _shown_failure(row: Mapping[Any, Any]) -> str:
    """Whether a run failed, or how many of a mean did; the reason is a warning of its own."""
    if not row["failed"]:
        return ""
    return f"{row['failed']} failed" if row["seed"] == MEAN else "failed"


def write_overview(overview: Mapping, path: str | os.PathLike) -> None:
    """Write the page of what `overview.overview` returns."""
    metric = overview["metric"]
    metrics = [name for name in METRICS if name in overview["rows"][0]["test"]]
    experiments = overview["experiments"]
    names = [spec["name"] for spec in experiments]
    write_page(
        path,
        OVERVIEW,
        title=overview["title"],
        notes=overview["notes"],
        warnings=overview["warnings"],
        heads=[f"validation {HEADINGS[metric]}", *(f"test {HEADINGS[name]}" for name in metrics)],
        experiments=[_experiment(spec, overview, metrics) for spec in experiments],
        best_pairs=[pair["verdict"] for pair in overview["pairs"] if pair["best_on_val"]],
        other_pairs=[pair["verdict"] for pair in overview["pairs"] if not pair["best_on_val"]],
        settings_heads=["setting", *names],
        settings=[[row["key"], *map(row["values"].get, names)] for row in overview["differences"]],
        published=[
            [row["label"], percent_range(row["value"]), row.get("note") or ""]
            for row in overview["published"]
        ],
    )


def _experiment(spec: Mapping, overview: Mapping, metrics: Sequence[str]) -> dict[str, Any]:
    """An experiment's heading and rows on the page of an overview."""
    compared = overview["metric"]
    rows = [
        {
            "mode": row["mode"],
            "best": row["mode"] == spec["best_on_val"],
            "failed": failed_runs(len(row["failed"]), len(row["test"][compared]["seeds"]))
            if row["failed"]
            else "",
            "cells": [
                _validation_cell(row["val"][compared], row["test"][compared]["mean"]),
                *(
                    _cell(name, *(row["test"][name][end] for end in ("mean", "low", "high", "std")))
                    for name in metrics
                ),
            ],
        }
        for row in overview["rows"]
        if row["experiment"] == spec["name"]
    ]
    note = (
        f"{spec['name']}: {spec['architecture']}, source {spec['source']}; {spec['n_samples']:,} "
        f"test samples of {spec['n_groups']:,} groups; {BASELINES[compared]}: "
        f"{100 * spec['majority_baseline']:.1f} %"
    )
    return {"title": spec["title"], "note": note, "rows": rows}


def percent_range(value: float | Sequence[float]) -> str:
    """A published share, or [low, high], in percent: "83" or "70 to 76"."""
    values = [value] if isinstance(value, int | float) else value
    return " to ".join(f"{100 * end:.4g}" for end in values)


def _validation_cell(val: float | None, test: float) -> Cell:
    """The metric on the validation rows, and its excess over that on the test rows in points."""
    return (
        Cell(NONE, []) if val is None else Cell(f"{100 * val:.1f}", [f"{100 * (val - test):+.1f}"])
    )


def _scaled_cell(row: Mapping) -> Cell:
    """The ECE after temperature scaling, with the temperature below it."""
    cell = _cell("ece", *(row[f"ece_scaled{end}"] for end in ("", "_low", "_high", "_std")))
    if pd.isna(row["temperature"]):
        return cell
    return Cell(cell.text, [*cell.details, f"T {row['temperature']:.2f}"])


def _cell(
    name: str, value: float | None, low: float | None, high: float | None, std: float | None
) -> Cell:
    scale, digits = (1, 3) if name in UNSCALED else (100, 1)

    def shown(number: float | None) -> str:
        return f"{scale * number:.{digits}f}" if number is not None else NONE

    if pd.isna(value):
        return Cell(NONE, [])
    details = [] if pd.isna(std) else [f"± {shown(std)}"]
    if not pd.isna(low):
        details.append(f"[{shown(low)}, {shown(high)}]")
    return Cell(shown(value), details)
