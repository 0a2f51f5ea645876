"""Staleness: whether a sealed artefact is what today's config, code and inputs would give.

Seals decide, not the modification times and records that a workflow engine keeps: a seal holds the
recipe that its artefact was made with and the sha256 of every input, and the inputs' own seals hold
what those are today. So the answer survives copies, `touch` and lost records.
"""

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from graft.core import seals
from graft.core.errors import GraftError
from graft.core.files import JsonValue, canonical_json

Read = Callable[[str | Path], seals.Record]


class Changes(NamedTuple):
    """What differs, as `key: value`, when the artefact was made and today; fresh if both empty."""

    before: set[str]
    now: set[str]


def changes(seal: Path, recipe: Mapping[str, JsonValue], read: Read = seals.read) -> Changes:
    """What has changed since the artefacts of a seal were made.

    recipe: today's. read: how seals are read (`remembered()` reads each once).

    Raises GraftError if nothing has changed but the seal or an output is damaged.
    """
    record = read(seal)
    then, made_from = record["seal"]["recipe"], record["seal"]["inputs"]
    before, now = ({}, {}) if then == recipe else (dict(_leaves(then)), dict(_leaves(recipe)))
    for role, paths in recipe["inputs"].items():
        artefacts = [path for path in paths if not seals.is_seal(path)]
        present = _digests(paths, read)
        before |= dict(zip(artefacts, made_from.get(role, ()), strict=False))
        now |= {path: present.get(path, "missing") for path in artefacts}
    for output in record["seal"]["outputs"].values():
        file = seal.with_name(output["file"])
        before[str(file)] = output["sha256"]
        now[str(file)] = output["sha256"] if file.exists() else "missing"
    differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if not differing:
        seals.check_dates(seal, record)
    return Changes(
        {f"{key}: {before[key]}" for key in differing if key in before},
        {f"{key}: {now[key]}" for key in differing if key in now},
    )


def described(changes: Changes) -> str:
    """The changes in one line, such as `train.lr 0.001 -> 0.003; 2 inputs changed`."""
    before, now = (dict(line.split(": ", 1) for line in lines) for lines in changes)
    keys = sorted({*before, *now})
    files = [key for key in keys if "/" in key]
    parts = [
        _WHOLE.get(key)
        or f"{key.removeprefix('settings.')} {_short(before.get(key))} -> {_short(now.get(key))}"
        for key in keys
        if key not in files
    ]
    missing = [file for file in files if now.get(file) == "missing"]
    for what, some in (("missing", missing), ("changed", sorted({*files} - {*missing}))):
        if some:
            more = f" and {len(some) - 1} more" if len(some) > 1 else ""
            parts.append(f"{some[0]}{more} {what}")
    shown = parts if len(parts) <= _SHOWN else [*parts[:_SHOWN], f"{len(parts) - _SHOWN} more"]
    return "; ".join(shown)


_SHOWN = 4
_LONGEST = 60  # characters of a value
_WHOLE = {"code": "the code of the stage", "lock": "the locked environment"}


def _short(value: str | None) -> str:
    if value is None:
        return "(unset)"
    return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"


def identity(recipe: Mapping[str, JsonValue]) -> str:
    """The identity (see `seals`) that an artefact made now would have, by its inputs' seals.

    Raises GraftError if an input or its seal is missing or damaged.
    """
    digests = {}
    for role, paths in recipe["inputs"].items():
        artefacts = [path for path in paths if not seals.is_seal(path)]
        known = _digests(paths, seals.read)
        for path in artefacts:
            if path not in known:
                raise GraftError(f"{path}: the file has no seal. Run again.")
        digests[role] = [known[path] for path in artefacts]
    return seals.identity(recipe, digests)


def remembered() -> Read:
    """A reader of seals that reads each once."""
    known = functools.cache(seals.read)
    return lambda path: known(os.fspath(path))


def _digests(paths: list[str], read: Read) -> dict[str, str]:
    """Path -> sha256 of the artefacts among the paths, by the seals among them."""
    digests = {}
    for seal in filter(seals.is_seal, paths):
        try:
            outputs = read(seal)["seal"]["outputs"].values()
        except GraftError:  # missing or damaged: the job that makes it is planned or reports it
            continue
        folder = os.path.dirname(seal)
        for output in outputs:
            digests[os.path.join(folder, output["file"])] = output["sha256"]
    return digests


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of a recipe by their keys, such as `settings.train.lr`."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, canonical_json(value)
