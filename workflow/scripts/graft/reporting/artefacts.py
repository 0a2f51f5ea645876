"""Artefacts: the files that a run makes, and digests of what is in them.

What makes them comparable between machines: files that hold paths, times or measurements (seals,
logs, the MLflow database) are no artefacts, and of an HDF5 file the recipe is left out, which names
the version of the code.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py

from graft.core.files import by_number, sha256

PATTERNS = (
    "data/*/raw/*.tar",
    "data/*/data_file.csv",
    "data/*/crops/*.h5",
    "data/*/packs/*.h5",
    "sources/*.safetensors",
    "features/**/*.h5",
    "experiments/**/model.safetensors",
    "experiments/**/history.csv",
    "experiments/**/predictions.csv",
    "experiments/*/comparison.csv",
    "experiments/*/labels.csv",
)
"""Below `results/`, in the order of the stages."""

ROWS = 1024
"""Rows of an array that are read at once: memory is flat in their number."""


def digests(results: Path) -> dict[str, str]:
    """Relative path -> `digest` of all artefacts of a results folder, in the stages' order."""
    return {
        str(path.relative_to(results)): digest(path)
        for pattern in PATTERNS
        for path in sorted(results.glob(pattern), key=by_number)
    }


def figures(results: Path) -> dict[str, dict[str, str]]:
    """Experiment -> mode -> its test metric with the interval, such as "69.7 % [66.8, 72.6]"."""
    compared = {
        seal.parent.name: json.loads(seal.read_text(encoding="utf-8"))["modes"]
        for seal in sorted(results.glob("experiments/*/comparison.seal.json"))
    }
    return {
        experiment: {mode: _figure(row) for mode, row in modes.items()}
        for experiment, modes in compared.items()
    }


def _figure(row: dict[str, Any]) -> str:
    shown = f"{100 * row['mean']:.1f} %"
    if row["low"] is None:
        return shown
    return f"{shown} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def digest(path: Path) -> str:
    """The sha256 of a file; of an HDF5 file that of its arrays and attributes but the recipe."""
    if path.suffix != ".h5":
        return sha256(path)
    total = hashlib.sha256()
    with h5py.File(path, "r") as file:
        for name, value in sorted(file.attrs.items()):
            if name != "recipe":
                total.update(f"{name} {value}\n".encode())
        for name, dataset in sorted(file.items()):
            total.update(f"{name} {dataset.dtype} {dataset.shape}\n".encode())
            for start in range(0, len(dataset), ROWS):
                total.update(dataset[start : start + ROWS].tobytes())
    return total.hexdigest()


def difference(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """The expected artefacts that are missing or have other bytes, in order."""
    return [name for name, value in expected.items() if found.get(name) != value]
