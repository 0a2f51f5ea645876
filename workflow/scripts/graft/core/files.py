"""Atomic writes, digests and JSON."""

import contextlib
import errno
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
    """Yield a temporary path beside `path`, with its suffix; rename it when the block succeeds.

    A symlink at `path` is replaced; the file that it points to (in the store) does not change.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.iterdir():  # temporary files of killed processes
        if re.fullmatch(rf"\.{re.escape(path.stem)}\.\d+{re.escape(path.suffix)}", other.name):
            other.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


_FULL = re.compile(
    r"err(no =|or) (27|28|122)\b|No space left|quota exceeded|disk is full", re.IGNORECASE
)
"""ENOSPC, EDQUOT and EFBIG in the words of libraries that raise no OSError."""


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, is that nothing more can be written.

    PyTorch raises RuntimeError, safetensors and SQLite errors of their own, and HDF5 either.
    """
    while error is not None:
        number = getattr(error, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or _FULL.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def bytes_text(count: int) -> str:
    """A number of bytes for people to read: `12.3 GB`, or MB below 1 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.0f} MB"


def by_number(path: Path) -> list[str | int]:
    """A sort key of paths by which numbers in them count as such: train-99 before train-100."""
    pieces = re.split(r"(\d+)", str(path))  # texts and numbers in turn
    return [int(piece) if at % 2 else piece for at, piece in enumerate(pieces)]


def sha256(path: str | os.PathLike) -> str:
    """Hex digest of a file's bytes, read in chunks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: JsonValue) -> str:
    """JSON text that is equal for equal values: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: JsonValue) -> str:
    """Hex sha256 of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def json_text(value: JsonValue) -> str:
    """Indented JSON text with sorted keys."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: str | os.PathLike, value: JsonValue) -> None:
    """Write a JSON value as `json_text`, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json_text(value), encoding="utf-8")
