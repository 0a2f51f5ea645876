"""Print the results: one line per experiment and mode, and where the report is."""

import csv
import json
from pathlib import Path

EXPERIMENTS = Path("results/experiments")


def main() -> None:
    for summary in sorted(EXPERIMENTS.glob("*/plots/summary.csv")):
        print(f"\n{summary.parts[-3]}")
        with open(summary, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["seed"] == "mean":
                    failed = f"; {row['failed']} failed" if row["failed"] else ""
                    print(f"  {row['mode']:<24}{_accuracy(row)}{failed}")
        seal = json.loads((summary.parent / "plots.seal.json").read_text(encoding="utf-8"))
        for sentence in [*seal["verdicts"], *seal["warnings"]]:
            print(f"  {sentence}")
    print("\nReport:  open results/report.html in a browser")
    print("MLflow:  .venv/bin/mlflow ui --backend-store-uri sqlite:///results/mlflow/mlflow.db")


def _accuracy(row: dict[str, str]) -> str:
    mean, low, high = (row[key] for key in ("accuracy", "accuracy_low", "accuracy_high"))
    interval = f" [{100 * float(low):.1f}, {100 * float(high):.1f}]" if low else ""
    majority = 100 * float(row["majority_baseline"])
    return f"test accuracy {100 * float(mean):.1f} %{interval} (majority class {majority:.1f} %)"


if __name__ == "__main__":
    main()
