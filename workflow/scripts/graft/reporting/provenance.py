"""Provenance: what results were computed from, with what and where, by their seals."""

import sysconfig
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from graft.core.version import VERSION
from graft.reporting.results import Record, wildcard

PACKAGES = {
    "torch": "PyTorch",
    "torchvision": "torchvision",
    "numpy": "NumPy",
    "scipy": "SciPy",
    "scikit_learn": "scikit-learn",
    "opencv_python_headless": "OpenCV",
    "h5py": "h5py",
    "snakemake": "Snakemake",
}
"""Names of the installed packages that results depend on most, as folders spell them."""

FILES = {
    "download": ("raw", "{dataset}: {file}"),
    "structure": ("data_file", "{dataset}: data_file.csv"),
    "weights": ("weights", "{source}: weights"),
    "train": ("model", "{experiment}: {mode}, seed {seed}"),
}
"""Stage -> the output whose digest is shown, and its name, of wildcards."""


ORDER = (
    *("download", "structure", "regions", "crop", "pack", "weights", "features"),
    *("train", "evaluate", "heat_maps", "labels", "compare", "plots", "overview"),
)
"""The stages, each after those that it reads from."""


class Stage(NamedTuple):
    """The jobs of a stage: their number, sums of seconds, most MB of memory, kinds of CPU."""

    name: str
    jobs: int
    seconds: float
    peak_memory_mb: int
    cpus: list[str]


def stages(records: Iterable[Record]) -> list[Stage]:
    """The stages of which there are records, in ORDER."""
    by_stage: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_stage.setdefault(record["seal"]["stage"], []).append(record["seal"]["run"])
    return [
        Stage(
            name,
            len(runs),
            sum(run["seconds"] for run in runs),
            max(run["peak_memory_mb"] for run in runs),
            list(dict.fromkeys(map(cpu, runs))),
        )
        for name in ORDER
        if (runs := by_stage.get(name))
    ]


def cpu(run: Mapping[str, Any]) -> str:
    """A job's CPU, such as "Xeon (avx2, fma)"; "not known" where the system does not tell."""
    found = run.get("cpu") or {}
    if not found.get("model"):
        return "not known"
    listed = ", ".join(found.get("instructions", ()))
    return f"{found['model']} ({listed})" if listed else str(found["model"])


def on_cpus(found: Sequence[Stage], reproducible: str) -> str:
    """Whether all stages were computed on one kind of CPU, and what that means for their bytes."""
    jobs = Counter[str]()
    for stage in found:
        for name in stage.cpus:
            jobs[name] += 1
    if len(jobs) == 1:
        return f"All stages ran on one kind of CPU: {next(iter(jobs))}."
    meaning = (
        "compute.reproducible: portable keeps the results independent of which"
        if reproducible == "portable"
        else "with compute.reproducible: fast the last digits depend on which"
    )
    return f"The stages ran on {len(jobs)} kinds of CPU; {meaning}. {'; '.join(jobs)}."


def digests(records: Iterable[Record]) -> list[tuple[str, str, str]]:
    """(stage, name, sha256) of the data, the weights and the models."""
    rows = []
    for record in records:
        seal = record["seal"]
        output, name = FILES.get(seal["stage"], ("", ""))
        if output in seal["outputs"]:
            names = {key: wildcard(record, key) for key in seal["recipe"]["wildcards"]}
            rows.append((seal["stage"], name.format(**names), seal["outputs"][output]["sha256"]))
    return rows


def first_uses(records: Iterable[Record]) -> list[tuple[str, str, str]]:
    """(key, file, sha256) of the downloaded files for which no digest is published, so that the
    first download was trusted."""
    found = [record["first_use"] for record in records if "first_use" in record]
    return sorted((one["key"], one["file"], one["sha256"]) for one in found)


def checkpoints(records: Iterable[Record]) -> list[tuple[str, str, str, list[str]]]:
    """(source, keys opened, prefix taken off, notes) of the weights that were not plain ones."""
    rows = []
    for record in records:
        if record["seal"]["stage"] == "weights":
            keys, prefix = " > ".join(record.get("unwrapped", ())), record.get("stripped", "")
            notes = list(record.get("notes", ()))
            if proof := record.get("certificate"):
                notes.append(
                    f"Both halves of the network equal the whole at {len(proof['cuts'])} cuts, in "
                    f"evaluation and training, for pictures of {proof['size']} pixels."
                )
            if keys or prefix or notes:
                rows.append((wildcard(record, "source"), keys, prefix, notes))
    return rows


def environments(records: Iterable[Record]) -> list[tuple[str, str, str]]:
    """(Graft, Python, digest of the lock) of the jobs, each combination once."""
    found = [
        (
            record["seal"]["graft_version"],
            record["seal"]["recipe"]["python"],
            record["seal"]["recipe"]["lock"],
        )
        for record in records
    ]
    return list(dict.fromkeys(found))


def versions(folder: Path | None = None) -> dict[str, str]:
    """Graft's version and those of the packages that are installed here."""
    folder = folder or Path(sysconfig.get_path("purelib"))
    found = {"Graft": VERSION}
    for name, shown in PACKAGES.items():
        for path in folder.glob(f"{name}-*.dist-info"):
            found[shown] = path.name.removesuffix(".dist-info").removeprefix(f"{name}-")
    return found
