"""Digests of files whose publishers give none: trusted on first use, and kept to from then on.

`downloads.lock.yaml` in the working directory has an entry for each such file, by its key in the
config. The job that fetches the file for the first time writes it; every later run reads it, as if
the config had the digest. It is to be committed with the config.

    datasets.wiki.files.wiki_crop.tar:
      file: "wiki_crop.tar"
      sha256: "..."
"""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from graft.core import files
from graft.core.errors import GraftError

NAME = "downloads.lock.yaml"

_HEADING = """\
# The sha256 of files whose publishers give none, as they were when they were first downloaded.
# Every later run is held to them. Commit this file; remove an entry to accept another file.
"""


class Entry(NamedTuple):
    """A file as it was first downloaded: its published name, and 64 hexadecimal digits."""

    file: str
    sha256: str


def read(path: Path) -> dict[str, Entry]:
    """The entries by their keys in the config; none if there is no file.

    Raises GraftError for a file that cannot be read or is not as `record` writes it.
    """
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, KeyError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GraftError(
            f"{path}: it is no list of digests ({reason}). Restore the file as it was committed, "
            "or remove it: its files are then fetched and trusted anew."
        ) from None


def record(path: Path, key: str, entry: Entry) -> None:
    """Add an entry, unless it is there; several jobs may do so at once.

    Raises GraftError if there is one with another digest by now, and as `read` does.
    """
    with _locked(path):
        known = read(path)
        if key in known and known[key].sha256 != entry.sha256:
            raise GraftError(
                f"{path}: {key} has sha256 {known[key].sha256} there, recorded in the meantime, "
                f"and the file that was downloaded has {entry.sha256}. Run again; if the latter is "
                "the right file, remove the entry first."
            )
        if known.get(key) != entry:
            with files.atomic(path) as temporary:
                temporary.write_text(_text({**known, key: entry}), encoding="utf-8")
            print(f"{path}: sha256 {entry.sha256} of {key} is recorded. Commit this file.")


def _text(entries: Mapping[str, Entry]) -> str:
    lines = [_HEADING]
    for key, entry in sorted(entries.items()):
        fields = (f"  {name}: {json.dumps(value)}\n" for name, value in entry._asdict().items())
        lines.append(f"{key}:\n{''.join(fields)}")
    return "".join(lines)


def _parsed(text: str) -> dict[str, Entry]:
    """The entries of a file's text; raises one of several errors if they are none."""
    entries = {}
    for key, fields in (yaml.safe_load(text) or {}).items():
        entry = Entry(**fields)
        if not re.fullmatch("[0-9a-f]{64}", entry.sha256):
            raise ValueError(f"{key} has sha256 {entry.sha256!r}")
        entries[key] = entry
    return entries


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file, which is made if need be; others wait. Without it on a file system without
    locks."""
    while True:
        with open(path, "a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:
                yield
                return
            # Who held it may have put another file in its place.
            try:
                same = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                same = False
            if same:
                yield
                return
