"""What the defaults give where nothing is set but data set and source.

    python benchmarks/defaults.py                                   # all of PAIRS
    python benchmarks/defaults.py digits:portraits_identity --seeds 1

runs, in a new folder with an empty store, an experiment for each pair (benchmarks/defaults.yaml,
config/), with the given seeds, and prints the test accuracies beside scikit-learn's logistic
regression on the same cached features (standardised, L2, C chosen on the validation rows). Goals:
the linear probe reaches the logistic regression minus one point, fine-tuning the linear probe minus
one and on validation never less than its start, no run fails, and training takes at most twice the
updates of 30 epochs.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from projects import project_in  # noqa: E402

from graft.images.packs import open_parts  # noqa: E402

OVERLAY = Path(__file__).with_suffix(".yaml")
PAIRS = (
    "lfw:imagenet",
    "fer2013:imagenet",
    "mnist500:imagenet_48",
    "mnist2000:fashion_resnet18",
    "digits:fashion_resnet18",
    "fashion2000:mnist_resnet18",
    "fashion500:mnist_vit",
    "fashion500:mnist_convnext",
    "portraits:portraits_identity",
)
MODES = ["feature_extraction", "fine_tuning"]
BEFORE = 30
"""Epochs that were the default before rates were tuned."""
STRENGTHS = [10.0**k for k in range(-5, 3)]
"""Of C, the inverse of the penalty."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", nargs="*", default=PAIRS, metavar="DATASET:SOURCE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--configfile", type=Path, nargs="*", default=[OVERLAY])
    arguments = parser.parse_args()
    pairs = [tuple(pair.split(":")) for pair in arguments.pairs]
    with tempfile.TemporaryDirectory(prefix="graft-defaults-") as name:
        folder = Path(name) / "project"
        _run(folder, pairs, arguments.seeds, arguments.configfile)
        heads = ["data set", "source", "logistic regression", *MODES, "failed", "updates"]
        print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
        for dataset, source in pairs:
            print(f"| {dataset} | {source} | {_row(folder, dataset, source)} |", flush=True)


def _run(folder: Path, pairs: list, seeds: int, overlays: list[Path]) -> None:
    """The workflow, with experiments that set a data set and a source."""
    project_in(folder)
    if (shared := ROOT.parent / "shared").exists():
        (folder.parent / "shared").symlink_to(shared)
    experiments = {
        _name(dataset, source): {
            "dataset": dataset,
            "source": source,
            "modes": MODES,
            "seeds": list(range(seeds)),
        }
        for dataset, source in pairs
    }
    overlay = {"experiments": experiments, "run": list(experiments)}
    (folder / "defaults.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    paths = [*(str(path.absolute()) for path in overlays), "defaults.yaml"]
    subprocess.run(
        [Path(sys.executable).parent / "snakemake", "all_plots", "--cores", "2"]
        + ["--configfile", *paths],
        cwd=folder,
        env={**os.environ, "SNAKEMAKE_OUTPUT_CACHE": str(folder / ".store")},
        check=True,
    )


def _name(dataset: str, source: str) -> str:
    return f"{dataset}_from_{source}"


def _row(folder: Path, dataset: str, source: str) -> str:
    experiment = folder / "results/experiments" / _name(dataset, source)
    (features,) = (
        path
        for cut in ("avgpool", "pooled")
        if (path := folder / "results/features" / dataset / source / cut).is_dir()
    )
    cells = [f"{100 * _logistic_regression(features):.1f}"]
    updates = []
    for mode in MODES:
        measured = [
            (
                json.loads((run / "metrics.json").read_text()),
                json.loads((run / "fit.json").read_text()),
            )
            for run in sorted(experiment.glob(f"{mode}/*"))
        ]
        values = [100 * test["accuracy"] for test, _ in measured]
        text = f"{np.mean(values):.1f} ({', '.join(f'{value:.1f}' for value in values)})"
        starts = [fit["start_value"] for _, fit in measured if fit["start_value"] is not None]
        if starts:
            gains = [100 * (fit["best_value"] - fit["start_value"]) for _, fit in measured]
            text += f"; on validation {min(gains):+.1f} to {max(gains):+.1f}"
        cells.append(text)
        for _, fit in measured:
            batch = fit["seal"]["recipe"]["settings"]["train"]["batch_size"]
            epoch = -(-fit["rows_per_epoch"] // batch)
            updates.append(sum(fit["updates"].values()) / (BEFORE * epoch))
    with open(experiment / "plots/summary.csv", encoding="utf-8", newline="") as file:
        failed = sum(bool(row["failed"]) for row in csv.DictReader(file) if row["seed"] != "mean")
    return " | ".join([*cells, str(failed), f"{np.mean(updates):.1f} x"])


def _logistic_regression(features: Path) -> float:
    """Its accuracy on the test rows, with the C that is best on the validation rows."""
    parts = {}
    for split in ("train", "val", "test"):
        data = open_parts(sorted(features.glob(f"{split}-*.h5")))
        rows = data.read(np.arange(len(data)))[:, 0]
        parts[split] = rows.astype(np.float64).reshape(len(rows), -1), np.asarray(data.labels)
    scale = StandardScaler().fit(parts["train"][0])
    x = {split: scale.transform(rows) for split, (rows, _) in parts.items()}
    y = {split: labels for split, (_, labels) in parts.items()}
    models = [
        LogisticRegression(C=strength, max_iter=5000).fit(x["train"], y["train"])
        for strength in STRENGTHS
    ]
    best = max(models, key=lambda model: model.score(x["val"], y["val"]))
    return float(best.score(x["test"], y["test"]))


if __name__ == "__main__":
    main()
