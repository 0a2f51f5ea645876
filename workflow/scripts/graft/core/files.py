"""Writing files so that they appear whole or not at all."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

JsonValue: TypeAlias = Any
"""What JSON can hold: None, bool, int, float, str, and lists and dicts of these."""


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    The rename replaces whatever stands at `path`, a symlink into the store included: the
    file that the link points at is never opened for writing. The suffix is kept, because
    some writers choose their format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.iterdir():  # by a process that was killed
        if re.fullmatch(rf"\.{re.escape(path.stem)}\.\d+{re.escape(path.suffix)}", left.name):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: str | os.PathLike) -> str:
    """Hex digest of a file's bytes, read in chunks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value) -> str:
    """JSON text that is equal for equal values: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value) -> str:
    """Hex sha256 of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def json_text(value) -> str:
    """JSON text for people: indented, with sorted keys."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: str | os.PathLike, value) -> None:
    """Write a JSON value as `json_text`, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(json_text(value), encoding="utf-8")
