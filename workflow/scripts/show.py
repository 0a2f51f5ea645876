"""Print the results: one line per experiment and mode, and where the report is."""

import json
from collections.abc import Mapping
from pathlib import Path

from graft.evaluation.failure import BASELINES, failed_runs

EXPERIMENTS = Path("results/experiments")


def main() -> None:
    for plotted in sorted(EXPERIMENTS.glob("*/plots/plots.seal.json")):
        folder = plotted.parents[1]
        print(f"\n{folder.name}")
        compared = json.loads((folder / "comparison.seal.json").read_text(encoding="utf-8"))
        for mode in compared["modes"]:
            print(f"  {mode:<24}{_figure(compared, mode)}")
        sentences = json.loads(plotted.read_text(encoding="utf-8"))
        for sentence in [*sentences["verdicts"], *sentences["warnings"]]:
            print(f"  {sentence}")
    print("\nReport:  open results/report.html in a browser")
    print("MLflow:  .venv/bin/mlflow ui --backend-store-uri sqlite:///results/mlflow/mlflow.db")


def _figure(compared: Mapping, mode: str) -> str:
    """A mode's test metric, its interval, the metric's baseline, and how many runs failed."""
    metric, row = compared["metric"], compared["modes"][mode]
    low, high = row["low"], row["high"]
    interval = "" if low is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    baseline = f"{BASELINES[metric]} {100 * compared['majority_baseline']:.1f} %"
    failed = compared["failed"].get(mode, {})
    suffix = f"; {failed_runs(len(failed), len(row['seeds']))} failed" if failed else ""
    name = metric.replace("_", " ")
    return f"test {name} {100 * row['mean']:.1f} %{interval} ({baseline}){suffix}"


if __name__ == "__main__":
    main()
