"""Verification: every artefact against its seal, every metric against the predictions.

Two folders are read: the results, and the store that they link into. In both a seal lists the files
beside it.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from graft.config.reports import LabelsSettings, OverviewSettings
from graft.core import seals, store
from graft.core.errors import GraftError
from graft.core.files import by_number
from graft.evaluation import compare, evaluate
from graft.evaluation.predictions import read_predictions
from graft.reporting import labels, overview
from graft.reporting.results import Files, Record, Records, Results, by_experiment

SEALED_FILES = ("report.html", "report.seal.json")
SEALED_FOLDERS = ("data", "sources", "features", "experiments", "overviews", "predict")
TOLERANCE = 1e-9


@dataclass
class Problem:
    """One problem in words, and the files to remove so that the next run makes them again.

    A file without a seal is reported but not removed: the user may have put it there.
    """

    sentence: str
    remove: list[Path] = field(default_factory=list)


def verify_results(results: Path) -> Iterator[Problem]:
    """Every problem below a results folder."""
    covered: set[Path] = set()
    sealed: dict[str, str] = {}  # path from the working directory -> sha256
    records: dict[Path, Record] = {}
    files = [
        path
        for name in (*SEALED_FILES, *SEALED_FOLDERS)
        for path in (results / name, *sorted((results / name).rglob("*"), key=by_number))
        if (path.is_file() or path.is_symlink()) and not path.name.startswith(".")
    ]
    for path in filter(seals.is_seal, files):
        covered.add(path)
        try:
            record = seals.read(path)
        except GraftError as error:
            yield Problem(str(error), [path])
            continue
        outputs = {path.parent / o["file"]: o for o in record["seal"]["outputs"].values()}
        covered |= set(outputs)
        damages = {file: seals.damage(file, output) for file, output in outputs.items()}
        for file, damage in damages.items():
            if damage:
                yield Problem(f"{file}: {damage}.", [file, path])
        if not any(damages.values()):
            records[path] = record
            sealed |= {_listed(file, results): o["sha256"] for file, o in outputs.items()}
    for path, record in records.items():
        for file in _missing_inputs(record, results):
            yield Problem(f"{path}: it was made from {file}, which is missing.")
        try:
            sentences = [*_outdated(path, record, sealed), *_recomputed(path, record)]
        except GraftError as error:
            sentences = [str(error)]
        except KeyError as error:
            sentences = [f"{path}: a seal that it is checked against lacks the key {error}."]
        files_made = [path.parent / o["file"] for o in record["seal"]["outputs"].values()]
        for sentence in sentences:
            yield Problem(sentence, [path, *files_made])
    for path in files:
        if path not in covered and path.suffix != ".part" and not path.name.endswith(".part.json"):
            yield Problem(f"{path}: no seal lists this file. Remove it if it is not yours.")


def verify_store(folder: Path) -> Iterator[Problem]:
    """Every damaged entry of a store."""
    for entry in store.entries(folder):
        try:
            store.check(entry)
        except GraftError as error:
            yield Problem(f"store: {error}", [entry])


def remove(problem: Problem, folder: Path) -> None:
    """Remove a problem's files, and their entries in the store, so that they are made again.

    The target of a link is removed only inside the store.
    """
    for path in problem.remove:
        if entry := store.entry_of(path, folder):
            store.discard(entry)
        if path.is_dir() and not path.is_symlink():
            store.discard(path)
        path.unlink(missing_ok=True)


def _listed(path: Path, results: Path) -> str:
    """The name of a file in recipes: from the working directory, which contains `results`."""
    return f"results/{path.relative_to(results).as_posix()}"


def _outdated(path: Path, record: Record, sealed: Mapping[str, str]) -> Iterator[str]:
    """Sentences on inputs that have changed since the artefact was made."""
    for role, listed in record["seal"]["recipe"]["inputs"].items():
        files = [file for file in listed if not seals.is_seal(file)]
        for file, sha256 in zip(files, record["seal"]["inputs"].get(role, ()), strict=False):
            if sealed.get(file, sha256) != sha256:
                yield f"{path}: it was made from another version of {file}."


def _missing_inputs(record: Record, results: Path) -> Iterator[str]:
    """The files that an artefact was made from and that are no longer there."""
    for listed in record["seal"]["recipe"]["inputs"].values():
        yield from (file for file in listed if not (results.parent / file).exists())


def _recomputed(path: Path, record: Record) -> Iterator[str]:
    """Sentences on results that differ from those recomputed from the predictions."""
    settings = record["seal"]["recipe"]["settings"]
    again: Record = {}
    if path.name == "metrics.json":
        options = {key: settings[key] for key in ("resamples", "seed", "level")}
        # What is fitted is of the validation rows, whose predictions are not kept.
        predictions = read_predictions(path.with_name("predictions.csv"))
        again = evaluate.measure_again(predictions, record, **options)
    elif path.name == "comparison.seal.json":
        if "fits" not in record["seal"]["recipe"]["inputs"]:
            raise GraftError(f"{path}: an older version of Graft made it. Run compare again.")
        gathered = Results.gather(*_inputs(path, record))
        failures = gathered.failures_by_mode(settings["metric"])
        again = compare.compare(gathered.tables(), **settings, failures=failures)
    elif path.name == "overview.seal.json":
        again = overview.overview(
            by_experiment(*_inputs(path, record)), OverviewSettings.model_validate(settings)
        )
    elif path.name == "labels.seal.json":
        again = labels.curve(
            by_experiment(*_inputs(path, record)), LabelsSettings.model_validate(settings)
        )
    for key, value in again.items():
        if not _close(value, record.get(key)):
            yield f"{path}: {key} differs from the value recomputed from the predictions."


def _inputs(path: Path, record: Record) -> tuple[Files, Records]:
    """The files that an artefact was made from, and their seals, read again."""
    results = path.parents[2]
    inputs, records = {}, {}
    for role, listed in record["seal"]["recipe"]["inputs"].items():
        files = [results / Path(file).relative_to("results") for file in listed]
        inputs[role] = [file for file in files if not seals.is_seal(file)]
        records[role], _ = seals.check(
            inputs[role], [file for file in files if seals.is_seal(file)]
        )
    return inputs, records


def _close(a: object, b: object) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_close(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(_close, a, b))
    if isinstance(a, float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return a == b
