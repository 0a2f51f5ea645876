"""The results of an experiment as one table: for a spreadsheet (CSV) and for a reader (HTML)."""

import html
import os
from collections.abc import Mapping, Sequence

import pandas as pd

from graft.files import atomic
from graft.metrics import METRICS, over_seeds

_HEADINGS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "precision (macro)",
    "macro_recall": "recall (macro)",
    "macro_f1": "F1 (macro)",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "log_loss": "log loss",
}
_MEAN = "mean"

_CSS = """
:root { color-scheme: light; }
body { margin: 1.5rem; background: #fff; color: #1c1e21;
  font: 14px/1.45 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.35rem; margin: 0 0 .2rem; }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p { margin: .2rem 0 1rem; color: #5f6368; }
.wide { overflow-x: auto; margin-top: 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .5rem; text-align: right; }
td { white-space: nowrap; }
th { vertical-align: bottom; max-width: 6.5em; font-weight: 600; border-bottom: 2px solid #5f6368; }
th.name, td.name { text-align: left; }
td { border-bottom: 1px solid #e3e5e8; }
tr.mean td { font-weight: 600; background: #f3f6f9; border-bottom: 2px solid #c3c8ce; }
small { display: block; font-weight: 400; color: #5f6368; }
li { margin: .2rem 0; }
.warnings { border-left: 4px solid #d55e00; background: #fdf3ec; padding: .1rem 1rem .6rem; }
"""


def summary_table(
    metrics: Mapping[str, Mapping[int, Mapping]], comparison: Mapping | None = None
) -> pd.DataFrame:
    """One row per mode and seed, and after each mode's seeds a row of their means.

    `metrics` is mode -> seed -> the dict of `metrics.classification_metrics`, with its
    `intervals` (metric -> [low, high] or None) if they were computed. The columns are `mode`,
    `seed` (text; "mean" for the mean row), `n`, `majority_baseline`, then for each metric
    `<metric>`, `<metric>_low`, `<metric>_high` and, in mean rows of two seeds or more,
    `<metric>_std`. A mean row's interval is the mode's own in `comparison` (see
    `comparison.compare`), so only the metric compared has one.
    """
    rows = []
    for mode, runs in metrics.items():
        for seed in sorted(runs):
            run = runs[seed]
            intervals = run.get("intervals") or {}
            row = _row(mode, str(seed), run)
            for name in METRICS:
                low, high = intervals.get(name) or (None, None)
                row |= _cells(name, run.get(name), low, high)
            rows.append(row)
        means = over_seeds(list(runs.values()))
        row = _row(mode, _MEAN, next(iter(runs.values())))
        for name in METRICS:
            compared = comparison is not None and comparison["metric"] == name
            shown = comparison["modes"].get(mode, {}) if compared else {}
            row |= _cells(
                name, means[name]["mean"], shown.get("low"), shown.get("high"), means[name]["std"]
            )
        rows.append(row)
    table = pd.DataFrame(rows)
    figures = table.columns.drop(["mode", "seed", "n"])
    return table.astype(dict.fromkeys(figures, "float64"))


def _row(mode: str, seed: str, run: Mapping) -> dict:
    return {
        "mode": mode,
        "seed": seed,
        "n": run["n"],
        "majority_baseline": run["majority_baseline"],
    }


def _cells(name: str, value, low, high, std=None) -> dict:
    return {name: value, f"{name}_low": low, f"{name}_high": high, f"{name}_std": std}


def write_csv(table: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write the table with every digit; what was not computed is an empty cell."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def write_html(
    table: pd.DataFrame,
    verdicts: Sequence[str],
    path: str | os.PathLike,
    title: str,
    warnings: Sequence[str] = (),
) -> None:
    """Write a page that needs no other file: the table of `summary_table` in percent (log loss
    in nats) with intervals, the `verdicts` and the `warnings`, one sentence each."""
    names = [name for name in METRICS if name in table]
    heads = "".join(f"<th>{html.escape(_HEADINGS[name])}</th>" for name in names)
    body = "\n".join(_html_row(row, names) for row in table.to_dict("records"))
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_CSS}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<p>{html.escape(_caption(table))}</p>
{_html_list("Warnings", warnings, ' class="warnings"')}
<div class="wide">
<table>
<thead><tr><th class="name">mode</th><th class="name">seed</th>{heads}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</div>
{_html_list("Verdicts", verdicts)}
</body>
</html>
"""
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _caption(table: pd.DataFrame) -> str:
    if table.empty:
        return "No results."
    first = table.iloc[0]
    return (
        f"{first['n']:,} test samples; always answering the commonest class is right "
        f"{100 * first['majority_baseline']:.1f} % of the time. Percent, log loss in nats; in "
        "brackets the bootstrap interval over groups, ± the standard deviation over seeds."
    )


def _html_row(row: Mapping, names: Sequence[str]) -> str:
    mean = ' class="mean"' if row["seed"] == _MEAN else ""
    cells = "".join(f"<td>{_html_cell(row, name)}</td>" for name in names)
    labels = "".join(f'<td class="name">{html.escape(row[name])}</td>' for name in ("mode", "seed"))
    return f"<tr{mean}>{labels}{cells}</tr>"


def _html_cell(row: Mapping, name: str) -> str:
    scale, digits = (1, 3) if name == "log_loss" else (100, 1)

    def shown(value: float) -> str:
        return f"{scale * value:.{digits}f}"

    value, low, high, std = (row.get(f"{name}{end}") for end in ("", "_low", "_high", "_std"))
    if pd.isna(value):
        return "–"
    text = shown(value)
    if not pd.isna(std):
        text += f" <small>± {shown(std)}</small>"
    if not pd.isna(low):
        text += f" <small>[{shown(low)}, {shown(high)}]</small>"
    return text


def _html_list(heading: str, sentences: Sequence[str], attributes: str = "") -> str:
    if not sentences:
        return ""
    items = "\n".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f"<section{attributes}>\n<h2>{heading}</h2>\n<ul>\n{items}\n</ul>\n</section>"
