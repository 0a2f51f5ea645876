"""The partial file of a download, and the checks that it must pass to become the file.

`<destination>.part` holds the bytes that have arrived. It remains after a failure or a kill, so the
next call requests only what is missing. Whichever mirrors the bytes came from, a digest decides
whether the file is right. Where no digest is known, `<destination>.part.json` holds the mirror and
the version (ETag or date) that the bytes belong to, since no other version may continue them.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from graft.core import files
from graft.core.errors import GraftError
from graft.download.kinds import HEAD, is_web_page

DIGESTS = {"sha256": "[0-9a-f]{8,64}", "md5": "[0-9a-f]{32}"}


class Unusable(Exception):
    """A mirror that does not provide the file: the next one is tried."""


@dataclass(frozen=True)
class Expected:
    """What the config gives of a file, whose key in the config is `key`.

    digests: hexadecimal digits by kind, `sha256` (the first digits will do) and `md5`.
    size: bytes.
    lock: the file that the sha256 is from, if not the config (see `digest_lock`).
    """

    name: str
    key: str
    digests: Mapping[str, str]
    size: int | None
    lock: str | None = None

    def __post_init__(self) -> None:
        if self.name in {"", ".", ".."} or re.search(r"[/\\\0]", self.name):
            raise GraftError(
                f"config: {self.key} names the file {self.name!r}. Give a name without folders."
            )
        for kind, digest in self.digests.items():
            if not re.fullmatch(DIGESTS[kind], digest):
                raise GraftError(
                    f"config: {self.key}.{kind} is {digest!r}. Give its hexadecimal digits."
                )

    def check_size(self, size: int | None) -> None:
        """Raises Unusable for another size than the expected one, where both are known."""
        if None not in (size, self.size) and size != self.size:
            raise Unusable(f"has {size} bytes, expected {self.size} ({self.key}.size)")

    def check(self, path: Path) -> str:
        """The sha256 of a file; raises Unusable if its size or a digest is not as expected."""
        self.check_size(path.stat().st_size)
        actual = {"sha256": files.sha256(path)}
        if "md5" in self.digests:
            md5 = functools.partial(hashlib.md5, usedforsecurity=False)  # for FIPS builds of Python
            with open(path, "rb") as file:
                actual["md5"] = hashlib.file_digest(file, md5).hexdigest()
        for kind, expected in self.digests.items():
            if not actual[kind].startswith(expected):
                source = self.lock or f"{self.key}.{kind}"
                raise Unusable(f"has {kind} {actual[kind]}, expected {expected} ({source})")
        return actual["sha256"]


class Partial:
    """The partial file of a destination, open for appending and locked against other processes.

    Raises GraftError if another process has it open, and OSError if it cannot be written.
    """

    def __init__(self, destination: Path, expected: Expected):
        self.path = destination.with_name(f"{destination.name}.part")
        self._note_path = destination.with_name(f"{destination.name}.part.json")
        self.expected = expected
        destination.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab")  # noqa: SIM115 - open as long as this object is
        self._lock()
        self._note = self._read_note()
        self.resumed = self.size > 0
        """Whether the bytes come from more than one transfer."""

    def _lock(self) -> None:
        # A job may survive its workflow; two writers would mix their bytes.
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path))
        except (BlockingIOError, FileNotFoundError):
            locked = False
        except OSError:  # a file system without locks
            locked = True
        if not locked:
            self._file.close()
            raise GraftError(
                f"{self.path}: another process is writing this file. Wait for it or end it, then "
                "run again."
            )

    def _read_note(self) -> dict[str, files.JsonValue]:
        with contextlib.suppress(OSError, ValueError):
            note = json.loads(self._note_path.read_text(encoding="utf-8"))
            if isinstance(note, dict):
                return note
        return {}

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return os.fstat(self._file.fileno()).st_size

    @property
    def whole(self) -> bool:
        """Whether nothing is missing (the bytes may still be wrong)."""
        return self._note.get("whole") is True or self.size == self.expected.size

    def version(self, mirror: str) -> str | None:
        """The version of the mirror's file that the bytes belong to; None if a digest decides."""
        if self.expected.digests or self._note.get("mirror") != mirror:
            return None
        return self._note.get("version")

    def note(self, **note: files.JsonValue) -> None:
        """Record what the bytes belong to, unless a digest decides."""
        self._note = note
        if self.expected.digests:
            self._note_path.unlink(missing_ok=True)
        else:
            files.write_json(self._note_path, note)

    def restart(self) -> None:
        """Discard what has arrived."""
        self._note_path.unlink(missing_ok=True)
        self._file.truncate(0)
        self._note, self.resumed = {}, False

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()  # what has arrived must survive a kill

    def check(self) -> str:
        """The sha256 of the partial file; raises Unusable if it is not as expected."""
        return self.expected.check(self.path)

    def copy(self, path: Path) -> None:
        """Replace what has arrived by a local file, if that is right; raises Unusable."""
        with contextlib.ExitStack() as stack:
            try:
                source = stack.enter_context(open(path, "rb"))
                if is_web_page(source.read(HEAD)):
                    raise Unusable("is a web page instead of the file")
                source.seek(0)
                self.expected.check(path)
            except OSError as error:
                raise Unusable(f"cannot be read ({error.strerror})") from error
            self.restart()
            shutil.copyfileobj(source, self._file)
            self._file.flush()

    def rename(self, destination: Path) -> None:
        os.fsync(self._file.fileno())
        os.replace(self.path, destination)
        self._note_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close and unlock the file, which is deleted if it is empty."""
        if self.size == 0:
            self.path.unlink(missing_ok=True)
            self._note_path.unlink(missing_ok=True)
        self._file.close()
