"""A user's folder of pictures: its digest, and its contents as one uncompressed tar.

The tar holds the folder's pictures, its tables of labels and its folders, empty ones included;
hidden files, what `junk` lists and all others are left out. It holds no times, owners or modes:
equal folders give equal bytes.
"""

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from graft.core import files
from graft.core.errors import GraftError
from graft.download.archives import (
    add,
    counted,
    ending,
    is_label_table,
    is_picture,
    new_tar,
    normal,
    objection,
)
from graft.download.junk import junk, passed_over

HIDDEN, SYSTEM = "hidden", "of systems and tools"
"""Kinds of files that are passed over by their names."""

Memory = dict[str, list]
"""[size, mtime, ctime, sha256] of files, by name; times in nanoseconds."""


class _Entry(NamedTuple):
    """A file or a folder: its name, from the top of the user's folder; a folder's ends with "/"."""

    name: str
    path: str
    status: os.stat_result


def digest(folder: str | os.PathLike, *, key: str, memory: Path | None = None) -> str:
    """The sha256 over the names and the bytes of what a folder's tar would hold.

    memory: a file of earlier digests: a file with the size and times of then is not read again. If
        it is lost, all files are read.
    key: where the config has `folder`, for messages.

    Raises GraftError for a folder that is missing, cannot be read or holds no picture, for a link
    that leads out of it or back to a folder that it lies in, for a name that `archives.objection`
    objects to, and for two files whose names are equal in the form of `archives.normal`.
    """
    known, current, whole = _recall(memory), Memory(), hashlib.sha256()
    names: set[str] = set()
    with _readable(folder, key):
        for entry in _walk(folder, key):
            if normal(entry.name) in names:
                raise GraftError(
                    f"config: {key} holds {entry.name!r} twice: the names differ only in how their "
                    "letters with marks are written. Rename one."
                )
            if not entry.name.endswith("/"):  # folders of one name become one
                names.add(normal(entry.name))
            whole.update(entry.name.encode() + b"\0")
            if not entry.name.endswith("/"):
                status = entry.status
                looks = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
                *before, content = known.get(entry.name, [None])
                if before != looks:
                    content = files.sha256(entry.path)
                current[entry.name] = [*looks, content]
                whole.update(bytes.fromhex(content))
    if not any(map(is_picture, current)):
        raise _without_picture(folder, key)
    if memory is not None and current != known:
        with contextlib.suppress(OSError), files.atomic(memory) as temporary:
            temporary.write_text(files.canonical_json(current), encoding="utf-8")
    return whole.hexdigest()


def pack(
    folder: str | os.PathLike, destination: str | os.PathLike, *, tree: str | None, key: str
) -> dict[str, int]:
    """Write a folder to an uncompressed tar, whole or not at all.

    tree: its `digest`, which is computed only for data sets that are needed.

    Returns the number of `pictures` and of `tables`, and prints what was passed over of hidden
    files and of `junk`. Raises GraftError as `digest` does, and if the folder has changed since
    then.
    """
    if tree is None:
        raise GraftError(
            f"config: {key} is packed only if an experiment needs it, and none does. Add one to "
            "`run`."
        )
    whole, names, skipped = hashlib.sha256(), [], _Skipped(Counter(), Counter())
    with _readable(folder, key), new_tar(destination) as tar:
        for entry in _walk(folder, key, skipped):
            whole.update(entry.name.encode() + b"\0")
            if entry.name.endswith("/"):
                add(tar, entry.name)
                continue
            with open(entry.path, "rb") as file:
                hashed = _Hashed(file)
                add(tar, entry.name, os.fstat(file.fileno()).st_size, hashed)
            whole.update(hashed.digest.digest())
            names.append(entry.name)
        if whole.hexdigest() != tree:
            raise _changed(folder, key)
    if skipped.by_name:
        print(f"{key}: {passed_over(skipped.by_name)}")
    if skipped.by_ending:
        print(f"{key}: no pictures, passed over: {counted(skipped.by_ending)}")
    pictures = sum(map(is_picture, names))
    return {"pictures": pictures, "tables": len(names) - pictures}


def pictures(folder: str | os.PathLike, *, key: str) -> list[str]:
    """The names of a folder's pictures, from its top, in its order; GraftError as in `digest`."""
    with _readable(folder, key):
        names = [entry.name for entry in _walk(folder, key) if is_picture(entry.name)]
    if not names:
        raise _without_picture(folder, key)
    return names


def others(folder: str | os.PathLike) -> dict[str, int]:
    """Number of files below a folder that are not pictures, by extension; and of hidden ones and
    those of systems and tools, where a folder counts as one."""
    counts: Counter[str] = Counter()
    for _, folders, names in os.walk(os.path.expanduser(folder)):
        below = {f"{name}/": _why_passed_over(f"{name}/") for name in folders}
        files = {name: _why_passed_over(name) for name in names}
        counts.update(filter(None, [*below.values(), *files.values()]))
        folders[:] = [name for name in folders if below[f"{name}/"] is None]
        shown = (name for name, reason in files.items() if reason is None)
        counts.update(ending(name) for name in shown if not is_picture(name))
    return dict(sorted(counts.items()))


def _why_passed_over(name: str) -> str | None:
    """Why a file or a folder (its name ends with "/") is passed over, if it is."""
    if name.startswith("."):
        return HIDDEN
    return SYSTEM if junk(name) else None


class _Skipped(NamedTuple):
    """Numbers of files that are not packed: `by_name`, the hidden ones and those that are `junk`,
    by the list's entry; `by_ending`, those that are no pictures and no tables."""

    by_name: Counter[str]
    by_ending: Counter[str]


class _Hashed:
    """A file that is read once, front to back, and the digest of what was read."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def _walk(folder: str | os.PathLike, key: str, skipped: _Skipped | None = None) -> Iterator[_Entry]:
    """The folders and files by name, a folder before what it holds; others are counted."""
    root = os.path.realpath(os.path.expanduser(folder))
    if not os.path.isdir(root):
        raise GraftError(
            f"config: {key} is {str(folder)!r}, where there is no folder. Correct the path (a "
            "relative one starts from the working directory)."
        )
    yield from _walk_below(root, "", (root,), key, skipped or _Skipped(Counter(), Counter()))


def _walk_below(
    folder: str, prefix: str, above: tuple[str, ...], key: str, skipped: _Skipped
) -> Iterator[_Entry]:
    """above: the folders from the root to this one, with links resolved."""
    with os.scandir(folder) as entries:
        items = sorted(entries, key=lambda i: i.name)
    for item in items:
        name = prefix + item.name
        is_folder = item.is_dir()
        hidden = HIDDEN if item.name.startswith(".") else None
        if entry := junk(item.name + "/" * is_folder) or hidden:
            skipped.by_name[entry] += _files(item)
            continue
        if not is_folder and not (is_picture(name) or is_label_table(name)):
            skipped.by_ending[ending(name)] += 1
            continue
        if reason := objection(name):
            raise GraftError(f"config: {key} holds {name!r}, whose name {reason}. Rename it.")
        real = os.path.realpath(item.path) if is_folder or item.is_symlink() else item.path
        if os.path.commonpath((above[0], real)) != above[0]:
            raise GraftError(
                f"config: {key} holds the link {name!r}, which leads out of the folder. Put the "
                "pictures themselves there."
            )
        if is_folder:
            if real in above:
                raise GraftError(
                    f"config: {key} holds the link {name!r}, which leads back to a folder that it "
                    "lies in. Remove it."
                )
            yield _Entry(f"{name}/", item.path, item.stat())
            yield from _walk_below(item.path, f"{name}/", (*above, real), key, skipped)
        elif item.is_file() or item.is_symlink():  # a broken link is an error
            yield _Entry(name, item.path, item.stat())


def _files(item: os.DirEntry[str]) -> int:
    """The number of files that a file or a folder is; links are not followed."""
    if not item.is_dir(follow_symlinks=False):
        return 1
    return sum(len(files) for _, _, files in os.walk(item.path))


@contextlib.contextmanager
def _readable(folder: str | os.PathLike, key: str) -> Iterator[None]:
    try:
        yield
    except EOFError as error:
        raise _changed(folder, key) from error
    except OSError as error:
        raise GraftError(
            f"config: {key} cannot be read ({error.strerror}: {error.filename}). Correct the file "
            "or the disk and run again."
        ) from error


def _without_picture(folder: str | os.PathLike, key: str) -> GraftError:
    return GraftError(
        f"config: {key} is {str(folder)!r}, a folder without a picture. Put pictures there or "
        "name another folder."
    )


def _changed(folder: str | os.PathLike, key: str) -> GraftError:
    return GraftError(
        f"config: {key} is {str(folder)!r}, whose files have changed since this run was planned. "
        "Run again."
    )


def _recall(memory: Path | None) -> Memory:
    """The digests that `digest` kept; none if the file is missing or has another form."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8")) if memory else {}
        if all(len(item) == 4 and len(bytes.fromhex(item[3])) == 32 for item in known.values()):
            return known
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        pass
    return {}
