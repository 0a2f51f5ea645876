"""Seals: a JSON file beside a job's outputs, with their digests and how they were made.

Snakemake's store does not check the files that it returns. So every job writes a seal with the
sha256 of its outputs, every reader checks it before it uses them, and `make verify` checks all. A
seal has the stage's results at the top level and the provenance under the key `seal`:

    {"kept": 812, ..., "seal": {"stage": "crop", "recipe": {...}, "outputs":
        {"crops": {"file": "train-00.h5", "sha256": "...", "size": 123}}, "digest": "..."}}

`digest` is the sha256 of the whole record without itself.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from graft.core.errors import GraftError
from graft.core.files import JsonValue, digest, json_text, sha256, write_json
from graft.core.version import VERSION

Record: TypeAlias = dict[str, Any]
"""A seal's JSON object."""

NAMES = ("fit.json", "metrics.json", "mlflow.json")
"""The seals that are not called `*.seal.json`, since they hold results that users read."""


def is_seal(path: str | os.PathLike) -> bool:
    name = os.path.basename(path)
    return name.endswith(".seal.json") or name in NAMES


def write(
    path: str | os.PathLike,
    outputs: Mapping[str, str | os.PathLike],
    *,
    stage: str,
    recipe: JsonValue,
    inputs: Mapping[str, list[str]],
    results: Mapping[str, JsonValue],
    run: JsonValue,
) -> None:
    """Seal `outputs` (role -> file in the seal's folder).

    inputs: role -> sha256 of the files that were read. results: of the stage. run: measurements
    (start, seconds, peak memory, threads), on which the outputs do not depend.
    """
    files = {
        role: {"file": Path(file).name, "sha256": sha256(file), "size": os.path.getsize(file)}
        for role, file in outputs.items()
    }
    provenance: Record = {
        "stage": stage,
        "graft_version": VERSION,
        "recipe": recipe,
        "inputs": inputs,
        "identity": identity(recipe, inputs),
        "run": run,
        "outputs": files,
    }
    record = {**results, "seal": provenance}
    provenance["digest"] = digest(record)
    write_json(path, record)


def read(path: str | os.PathLike) -> Record:
    """Read a seal and check its digest; raise GraftError if it is missing or damaged."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        record = json.loads(text)
        provenance = {key: value for key, value in record["seal"].items() if key != "digest"}
        expected = digest({**record, "seal": provenance})
        if expected == record["seal"]["digest"] and json_text(record) == text:
            return record
    except FileNotFoundError:
        raise _error(path, "the seal is missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise _error(path, "the seal is damaged (its digest does not match)")


def check(
    files: Iterable[str | os.PathLike], seals: Iterable[str | os.PathLike]
) -> tuple[list[Record], list[str]]:
    """Check files against seals: the seals' records and the files' sha256, each in their order.

    Raises GraftError for the first file that has no seal or whose bytes have changed.
    """
    records, digests, outputs = [], [], {}
    for seal in seals:
        record = read(seal)
        records.append(record)
        for output in record["seal"]["outputs"].values():
            outputs[Path(seal).parent / output["file"]] = output
    for file in map(Path, files):
        if file not in outputs:
            raise _error(file, "the file has no seal")
        if problem := damage(file, outputs[file]):
            raise _error(file, problem)
        digests.append(outputs[file]["sha256"])
    return records, digests


def identity(recipe: JsonValue, inputs: Mapping[str, list[str]]) -> str:
    """Digest of what a job's outputs depend on: its recipe and the bytes that it reads."""
    return digest({"recipe": recipe, "inputs": inputs})


def damage(file: Path, output: Record) -> str | None:
    """What is wrong with a sealed file, or None. The cheap checks come first."""
    if not file.exists():
        return "the file is missing"
    if (size := file.stat().st_size) != output["size"]:
        return f"the file has {size} bytes, but its seal has {output['size']}"
    if sha256(file) != output["sha256"]:
        return "the file's sha256 is not that of its seal"
    return None


def check_dates(seal: Path, record: Record) -> None:
    """Check the outputs of a seal, reading only those whose size or date calls for it.

    A job writes its seal last, so an output that is newer has been written to since. Raises
    GraftError for the first output whose bytes have changed.
    """
    sealed = seal.stat().st_mtime_ns
    for output in record["seal"]["outputs"].values():
        file = seal.with_name(output["file"])
        status = file.stat()
        if status.st_size == output["size"] and status.st_mtime_ns <= sealed:
            continue
        if problem := damage(file, output):
            raise _error(file, problem)


def _error(path: str | os.PathLike, problem: str) -> GraftError:
    return GraftError(
        f"{path}: {problem}. Run `make repair` (it removes {Path(path).name} here and in the "
        "store), then run again."
    )
