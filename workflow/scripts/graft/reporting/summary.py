"""The summary that a run prints at its end: the result, and where everything is."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from graft.core.errors import GraftError
from graft.evaluation.caveats import listed
from graft.evaluation.failure import BASELINES, NAMES, failed_runs

WARNINGS = 3
"""So many are printed of an experiment; all are in the report."""


def lines(results: Path, experiments: Iterable[str], tracking_uri: str) -> list[str]:
    """The lines: for each experiment that has been compared a table of modes, the verdicts and the
    warnings; then where the report, models, predictions and MLflow's runs are.

    Empty if no experiment has been compared.
    """
    shown = [line for name in experiments for line in _experiment(results, name)]
    if not shown:
        return []
    runs = results / "experiments" / "<experiment>" / "<mode>" / "<seed>"
    places = {
        "Report": results / "report.html",
        "Models": runs / "model.safetensors",
        "Predictions": runs / "predictions.csv",
        "MLflow": f"mlflow ui --backend-store-uri {tracking_uri}"
        if tracking_uri.startswith("sqlite:")
        else tracking_uri.rpartition("@")[2],
    }
    if not (results / "report.html").exists():
        del places["Report"]
    return [*shown, "", *(f"{name + ':':<13}{place}" for name, place in places.items())]


def errors(logs: Iterable[Path]) -> list[str]:
    """The last line of each log of a failed job, one of Graft's sentences as a rule; its path."""
    sentences = []
    for log in logs:
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        if last := text.strip().rpartition("\n")[2]:
            sentences.append(f"{last}  ({log})")
    return sentences


def _experiment(results: Path, name: str) -> list[str]:
    folder = results / "experiments" / name
    seal = folder / "comparison.seal.json"
    if not seal.exists():
        return []
    compared = _read(seal)
    metric = compared["metric"]
    baseline = f"{BASELINES[metric]}: {100 * compared['majority_baseline']:.1f} %"
    heading = f"{name}: test {NAMES[metric]} of {compared['n_samples']:,} samples"
    if untested := compared.get("untested", []):
        total = compared["n_classes"]
        heading += f" of {total - len(untested)} of {total} classes, none of {listed(untested)}"
    rows = {mode: _figure(compared, mode) for mode in compared["modes"]}
    width = max(map(len, rows))
    labels = folder / "labels.seal.json"
    plots = folder / "plots" / "plots.seal.json"
    said = _read(plots) if plots.exists() else {}
    warnings = said.get("warnings", [])
    more = len(warnings) - WARNINGS
    return [
        "",
        f"{heading} ({baseline})",
        *(f"  {mode:<{width}}  {figure}" for mode, figure in rows.items()),
        *(f"  {pair['verdict']}" for pair in compared["pairs"]),
        *(f"  {sentence}" for sentence in (_read(labels)["sentences"] if labels.exists() else ())),
        *(f"  warning: {warning}" for warning in warnings[:WARNINGS]),
        *([f"  and {more} more warnings, see the report"] if more > 0 else []),
    ]


def _figure(compared: Mapping[str, Any], mode: str) -> str:
    """A mode's test metric, its interval, and how many runs failed."""
    row = compared["modes"][mode]
    low, high, seeds = row["low"], row["high"], len(row["seeds"])
    interval = "" if low is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    failed = compared["failed"].get(mode, {})
    suffix = f"; {failed_runs(len(failed), seeds)} failed" if failed else ""
    return f"{100 * row['mean']:5.1f} %{interval}{suffix}"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise GraftError(f"{path}: the file is damaged ({error}). Run `make repair`.") from error
