"""What the defaults give where nothing is set but data set and source.

    python benchmarks/defaults.py digits:portraits_identity portraits:portraits_identity
    python benchmarks/defaults.py lfw:squeezenet1_1_kit --configfile config/lfw_squeezenet.yaml

runs, in a new folder with an empty store, an experiment for each pair, with three modes and the
given seeds, and prints the test metrics beside scikit-learn's logistic regression on the same
cached features (standardised, L2, C chosen on the validation rows). Goals: the linear probe reaches
the logistic regression minus one point, fine-tuning the linear probe minus one, and no run fails.
"""

import argparse
import csv
import json
import os
import shutil
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

from graft.images.packs import open_parts  # noqa: E402

COPIED = ("Snakefile", "workflow", "config", "profiles", "envs")
MODES = ["from_scratch", "feature_extraction", "fine_tuning"]
STRENGTHS = [10.0**k for k in range(-5, 3)]
"""Of C, the inverse of the penalty."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", nargs="+", metavar="DATASET:SOURCE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--configfile", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    pairs = [tuple(pair.split(":")) for pair in arguments.pairs]
    with tempfile.TemporaryDirectory(prefix="graft-defaults-") as name:
        folder = Path(name) / "project"
        _run(folder, pairs, arguments.seeds, arguments.configfile)
        print("| data set | source | logistic regression | " + " | ".join(MODES) + " | failed |")
        print("|---" * (len(MODES) + 4) + "|")
        for dataset, source in pairs:
            print(f"| {dataset} | {source} | {_row(folder, dataset, source)} |", flush=True)


def _run(folder: Path, pairs: list, seeds: int, overlays: list[Path]) -> None:
    """The workflow, with experiments that set a data set and a source."""
    folder.mkdir()
    for item in COPIED:
        copy = shutil.copytree if (ROOT / item).is_dir() else shutil.copy2
        copy(ROOT / item, folder / item)
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
    features = folder / "results/features" / dataset / source / "avgpool"
    cells, failed = [f"{100 * _logistic_regression(features):.1f}"], 0
    for mode in MODES:
        found = [
            json.loads(p.read_text()) for p in sorted(experiment.glob(f"{mode}/*/metrics.json"))
        ]
        values = [100 * measured["accuracy"] for measured in found]
        cells.append(f"{np.mean(values):.1f} ({', '.join(f'{value:.1f}' for value in values)})")
    with open(experiment / "plots/summary.csv", encoding="utf-8", newline="") as file:
        failed = sum(bool(row["failed"]) for row in csv.DictReader(file) if row["seed"] != "mean")
    return " | ".join([*cells, str(failed)])


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
