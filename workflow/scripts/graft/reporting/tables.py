"""The results of an experiment as one table: for a spreadsheet (CSV) and for a reader (HTML)."""

import html
import os
from collections.abc import Mapping, Sequence

import pandas as pd

from graft.core.files import atomic
from graft.evaluation.metrics import HEADINGS, METRICS, over_seeds

_MEAN = "mean"

_CSS = """
:root { color-scheme: light dark; --page: #fff; --ink: #1c1e21; --faint: #5f6368; --line: #e3e5e8;
  --band: #f3f6f9; --edge: #c3c8ce; --warn: #fdf3ec; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181b; --ink: #e6e8ea; --faint: #a2a8af; --line: #33373c;
    --band: #22262b; --edge: #4a5057; --warn: #33231a; }
}
body { margin: 1.5rem; background: var(--page); color: var(--ink);
  font: 14px/1.45 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.35rem; margin: 0 0 .2rem; }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p { margin: .2rem 0 1rem; color: var(--faint); max-width: 60rem; }
.wide { overflow-x: auto; margin-top: 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .5rem; text-align: right; }
td { white-space: nowrap; }
th { vertical-align: bottom; max-width: 6.5em; font-weight: 600;
  border-bottom: 2px solid var(--faint); }
th.name, td.name { text-align: left; }
td { border-bottom: 1px solid var(--line); }
tr.mean td { font-weight: 600; background: var(--band); border-bottom: 2px solid var(--edge); }
td.text { text-align: left; white-space: normal; min-width: 10em; max-width: 30em; }
th.text { text-align: left; max-width: 30em; }
small { display: block; font-weight: 400; color: var(--faint); }
li { margin: .2rem 0; }
.warnings { border-left: 4px solid #d55e00; background: var(--warn); padding: .1rem 1rem .6rem; }
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
    heads = "".join(f"<th>{html.escape(HEADINGS[name])}</th>" for name in names)
    body = "\n".join(_html_row(row, names) for row in table.to_dict("records"))
    head = f'<th class="name">mode</th><th class="name">seed</th>{heads}'
    _write_page(
        path,
        title,
        _paragraph(_caption(table)),
        _html_list("Warnings", warnings, ' class="warnings"'),
        _html_table(head, body),
        _html_list("Verdicts", verdicts),
    )


def write_overview(found: Mapping, path: str | os.PathLike) -> None:
    """Write what `overviews.overview` returns as a page that needs no other file."""
    metrics = [name for name in METRICS if name in found["rows"][0]["test"]]
    heads = [f"validation {HEADINGS[found['metric']]}", *(f"test {HEADINGS[m]}" for m in metrics)]
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    body = "\n".join(_overview_rows(spec, found, metrics) for spec in found["experiments"])
    names = [spec["name"] for spec in found["experiments"]]
    settings = [[row["key"], *map(row["values"].get, names)] for row in found["differences"]]
    given = [
        [row["label"], _published(row["value"]), row.get("note", "")] for row in found["published"]
    ]
    pairs = {True: [], False: []}
    for pair in found["pairs"]:
        pairs[pair["best_on_val"]].append(pair["verdict"])
    _write_page(
        path,
        found["title"],
        *map(_paragraph, found["notes"]),
        _html_list("Warnings", found["warnings"], ' class="warnings"'),
        _html_table(f'<th class="name">mode</th>{head}', body),
        _paragraph(
            "Percent, mean over seeds; in brackets the bootstrap interval over groups and seeds, "
            "± the standard deviation over seeds. The validation rows chose epochs and settings, "
            "so their figures tend to flatter; how far each is above its test figure, in points, "
            "stands below it."
        ),
        _html_list("Best on validation, compared", pairs[True]),
        _html_list("Other modes of the same name, compared", pairs[False]),
        _text_table("What differs", ["setting", *names], settings),
        _text_table("Published, not comparable unless said", ["figure", "percent", "note"], given),
    )


def _overview_rows(spec: Mapping, found: Mapping, metrics: Sequence[str]) -> str:
    """An experiment's heading and a row for each of its modes."""
    told = (
        f"{spec['name']}: {spec['architecture']}, source {spec['source']}; "
        f"{spec['n_samples']:,} test samples of {spec['n_groups']:,} groups; always answering the "
        f"commonest class: {100 * spec['majority_baseline']:.1f} %"
    )
    lines = [
        f'<tr class="mean"><td class="name" colspan="{2 + len(metrics)}">'
        f"{html.escape(spec['title'])} <small>{html.escape(told)}</small></td></tr>"
    ]
    for row in found["rows"]:
        if row["experiment"] != spec["name"]:
            continue
        best = row["mode"] == spec["best_on_val"]
        mark = " <small>best on validation</small>" if best else ""
        cells = [_chosen(row["val"][found["metric"]], row["test"][found["metric"]]["mean"])]
        for name in metrics:
            figures = row["test"][name]
            ends = {f"{name}_{end}": figures[end] for end in ("low", "high", "std")}
            cells.append(_html_cell({name: figures["mean"], **ends}, name))
        shown = "".join(f"<td>{cell}</td>" for cell in cells)
        lines.append(f'<tr><td class="name">{html.escape(row["mode"])}{mark}</td>{shown}</tr>')
    return "\n".join(lines)


def _chosen(val: float | None, test: float) -> str:
    """The figure on the validation rows, and by how much it exceeds the one on the test rows."""
    if val is None:
        return "–"
    return f"{100 * val:.1f} <small>{100 * (val - test):+.1f}</small>"


def _published(value: float | Sequence[float]) -> str:
    values = [value] if isinstance(value, int | float) else value
    return " to ".join(f"{100 * end:.4g}" for end in values)


def _write_page(path: str | os.PathLike, title: str, *parts: str) -> None:
    body = "\n".join(part for part in parts if part)
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
{body}
</body>
</html>
"""
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _html_table(head: str, body: str) -> str:
    return f"""<div class="wide">
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</div>"""


def _text_table(heading: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of words under a heading; nothing where there are no rows."""
    if not rows:
        return ""
    lines = [
        "".join(f'<{tag} class="text">{html.escape(text)}</{tag}>' for text in row)
        for tag, row in (("th", heads), *(("td", row) for row in rows))
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines[1:])
    return f"<h2>{html.escape(heading)}</h2>\n{_html_table(lines[0], body)}"


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
