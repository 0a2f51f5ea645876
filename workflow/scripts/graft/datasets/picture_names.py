"""Names of pictures in tables that differ from those of the files, and which files they mean."""

import posixpath
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from graft.download.archives import is_picture


def folded(name: str) -> str:
    """Without case; the names of files and tables are in one Unicode form (`archives.normal`)."""
    return unicodedata.normalize("NFC", name.casefold())


def bare(name: str) -> str:
    """Without case and without the ending of a picture."""
    return posixpath.splitext(folded(name))[0] if is_picture(name) else folded(name)


STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("", str),
    ("case", folded),
    ("ending", bare),
)
"""In what names may differ, and what is equal of them; each includes those before."""

FOLDER = "folder"
SAMPLED = 1000


class Match(NamedTuple):
    """A file, and in what its name differs from the one that was listed, "" where in nothing."""

    file: str
    differs: str


def matches(
    paths: Sequence[str], files: Iterable[str], pictures: Sequence[str], starts: Sequence[str]
) -> list[Match | None]:
    """The file that each path means; None where there is none, or more than one.

    A path starts from one of `starts` (folders, or ""). It is that of a file exactly, or but for
    the STEPS, of a picture that no other path means; in each step also of the only picture whose
    name ends with it (FOLDER). Only equal paths may mean the same file. Memory is linear in the
    number of names.
    """
    every, found = set(files), dict[int, Match]()
    for row, path in enumerate(paths):
        name = next((start + path for start in starts if start + path in every), None)
        if name is not None:
            found[row] = Match(name, "")
    for differs, key in STEPS:
        if len(found) == len(paths):
            break
        taken = {match.file for match in found.values()}
        index = _Index([name for name in pictures if name not in taken], key)
        meant = {
            row: match
            for row, path in enumerate(paths)
            if row not in found and (match := index.match(path, starts, differs))
        }
        listed = Counter(match.file for match in meant.values())
        found |= {row: match for row, match in meant.items() if listed[match.file] == 1}
    return [found.get(row) for row in range(len(paths))]


def above(paths: Sequence[str], pictures: Sequence[str], starts: Sequence[str]) -> str:
    """What all paths have in front of the part that the pictures' names have, such as
    "/home/ada/photos/"; "" if they have nothing, or if without it no more pictures are found, of
    about SAMPLED paths."""
    some, every = paths[:: max(1, len(paths) // SAMPLED)], set(pictures)
    if all(any(start + path in every for start in starts) for path in some):
        return ""
    index = _Index(pictures, bare)
    common = posixpath.commonprefix([posixpath.dirname(path).split("/") for path in paths])
    fronts = ["", *(f"{'/'.join(common[: n + 1])}/" for n in range(len(common)))]

    def count(front: str) -> int:
        return sum(index.start(path.removeprefix(front), starts) is not None for path in some)

    return max(fronts, key=count)


class _Index:
    """Files by the `key` of their names, as far as it is of one file only."""

    def __init__(self, names: Sequence[str], key: Callable[[str], str]):
        self._names, self._key = names, key
        self._whole = _unique((key(name), name) for name in names)
        self._ends: dict[int, dict[str, str | None]] = {}

    def start(self, path: str, starts: Sequence[str]) -> str | None:
        return next(filter(None, (self._whole.get(self._key(s + path)) for s in starts)), None)

    def match(self, path: str, starts: Sequence[str], differs: str) -> Match | None:
        if name := self.start(path, starts):
            return Match(name, differs)
        name = self._by_end(path.count("/")).get(self._key(path))
        return Match(name, differs or FOLDER) if name else None

    def _by_end(self, folders: int) -> dict[str, str | None]:
        """Files by the key of their last so many folders and name."""
        if folders not in self._ends:
            ends = (("/".join(name.split("/")[-folders - 1 :]), name) for name in self._names)
            self._ends[folders] = _unique((self._key(end), name) for end, name in ends)
        return self._ends[folders]


def _unique(keys: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """key -> its name, or None where it has several."""
    found: dict[str, str | None] = {}
    for key, name in keys:
        found[key] = None if key in found else name
    return found
