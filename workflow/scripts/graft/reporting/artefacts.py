"""Artefacts: the files that a run makes, and digests of what is in them.

What makes them comparable between machines: files that hold paths, times or measurements (seals,
logs, the MLflow database) are no artefacts, and of an HDF5 file the recipe is left out, which names
the version of the code.
"""

import hashlib
from pathlib import Path

import h5py

from graft.core.files import sha256

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
)
"""Below `results/`, in the order of the stages."""

ROWS = 1024
"""Rows of an array that are read at once: memory is flat in their number."""


def digests(results: Path) -> dict[str, str]:
    """Relative path -> `digest` of all artefacts of a results folder, in the stages' order."""
    return {
        str(path.relative_to(results)): digest(path)
        for pattern in PATTERNS
        for path in sorted(results.glob(pattern))
    }


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
