"""Seals: the small JSON file beside an artefact that says what made it and what its bytes are.

Snakemake's store hands out files without looking inside them. So every job writes, next to
its outputs, one seal with the sha256 of each of them; every reader checks the seal before it
uses the file, and `make verify` checks them all. A seal holds the stage's results (counts,
metrics, timings) at the top level and its provenance under the key `seal`:

    {"kept": 812, ..., "seal": {"stage": "crop", "recipe": {...}, "outputs":
        {"crops": {"file": "train-00.h5", "sha256": "...", "size": 123}}, "digest": "..."}}

`digest` is the sha256 of the whole record without itself, so a damaged seal is noticed too.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from graft.core.errors import GraftError
from graft.core.files import digest, json_text, sha256, write_json
from graft.core.version import VERSION


def write(
    path: str | os.PathLike,
    outputs: Mapping[str, str | os.PathLike],
    *,
    stage: str,
    recipe: dict,
    inputs: dict[str, list[str]],
    results: dict,
    run: dict,
) -> None:
    """Seal `outputs` (role -> file), which must lie in the seal's own folder.

    `inputs` maps roles to the sha256 of the files that were read, `results` is the stage's own
    JSON object; `run` what was measured of this run (seconds, peak memory, threads), which is
    no part of what the outputs depend on.
    """
    record = {
        **results,
        "seal": {
            "stage": stage,
            "graft_version": VERSION,
            "recipe": recipe,
            "inputs": inputs,
            "identity": identity(recipe, inputs),
            "run": run,
            "outputs": {
                role: {
                    "file": Path(file).name,
                    "sha256": sha256(file),
                    "size": os.path.getsize(file),
                }
                for role, file in outputs.items()
            },
        },
    }
    record["seal"]["digest"] = _digest(record)
    write_json(path, record)


def read(path: str | os.PathLike) -> dict:
    """Read a seal and check that it is whole; raise GraftError if it is not."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        record = json.loads(text)
        whole = _digest(record) == record["seal"]["digest"] and json_text(record) == text
    except FileNotFoundError:
        raise GraftError(f"{path} is missing: {_remedy(path)}.") from None
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise GraftError(f"{path} is damaged (its digest does not match): {_remedy(path)}.")
    return record


def check(
    files: Iterable[str | os.PathLike], seals: Iterable[str | os.PathLike]
) -> tuple[list[dict], list[str]]:
    """Check every file against the seals.

    Returns the seals' records and the files' sha256, each in their order.

    Raises GraftError for the first file that no seal covers or whose bytes have changed.
    """
    records, digests, known = [], [], {}
    for seal in seals:
        record = read(seal)
        records.append(record)
        for output in record["seal"]["outputs"].values():
            known[Path(seal).parent / output["file"]] = output
    for file in map(Path, files):
        if file not in known:
            raise GraftError(f"{file} has no seal: {_remedy(file)}.")
        problem = damage(file, known[file])
        if problem:
            raise GraftError(f"{file} {problem}: {_remedy(file)}.")
        digests.append(known[file]["sha256"])
    return records, digests


def identity(recipe: dict, inputs: dict[str, list[str]]) -> str:
    """Digest of all that a job's result depends on: its recipe and the bytes it reads."""
    return digest({"recipe": recipe, "inputs": inputs})


def damage(file: Path, output: dict) -> str | None:
    """Say what is wrong with a sealed file, or None. Cheap checks come first."""
    if not file.exists():
        return "is missing"
    if (size := file.stat().st_size) != output["size"]:
        return f"is {size} bytes long where its seal says {output['size']}"
    if sha256(file) != output["sha256"]:
        return "does not have the sha256 that its seal records"
    return None


def _digest(record: dict) -> str:
    provenance = {key: value for key, value in record["seal"].items() if key != "digest"}
    return digest({**record, "seal": provenance})


def _remedy(path: str | os.PathLike) -> str:
    return f"run `make repair` (it removes {Path(path).name} here and in the store), then run again"
