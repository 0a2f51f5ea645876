"""Reading pictures straight out of uncompressed tar archives.

An archive stays one file: `members` lists where each regular file's bytes lie, and `Archive`
reads them by offset. The format is POSIX ustar/pax and GNU tar, as `tarfile` understands it;
what `tarfile` passes over in silence (truncation, damage, data after the end) is an error here.
"""

import os
import posixpath
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from graft.core.errors import GraftError

BLOCK = 512
"""Bytes in a tar block; an archive ends with blocks of zeros."""

PICTURES = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".gif"),
    *(".webp", ".tif", ".tiff", ".ppm", ".pgm"),
)
"""How names of picture files end, in any case."""


class Member(NamedTuple):
    """A regular file in an archive: its name, and where its `size` bytes start.

    A folder's name ends with "/", and it has no bytes.
    """

    name: str
    offset: int
    size: int


def members(path: str | os.PathLike, *, folders: bool = False) -> Iterator[Member]:
    """Walk an uncompressed tar's regular files in archive order, in flat memory.

    Names come back in normal form ("./a//b" is "a/b"). Folders that the archive lists are
    skipped unless they are asked for. Links, sparse and special files are refused: their bytes
    do not lie at an offset, and skipping them would lose pictures in silence.

    Raises GraftError for anything that is not a whole, well-formed, uncompressed tar, and for
    a member whose name `check_name` refuses.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            length = os.fstat(tar.fileobj.fileno()).st_size
            while (info := tar.next()) is not None:
                tar.members.clear()  # tarfile remembers every member otherwise
                if not info.isdir():
                    yield _member(path, info, length)
                elif folders and posixpath.normpath(info.name) != ".":
                    yield Member(check_name(path, info.name) + "/", info.offset_data, 0)
            _check_end(path, tar)
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise GraftError(
            f"{path}: not a readable uncompressed tar archive ({error}); fetch it again, or "
            "correct the dataset's `files`."
        ) from error
    except OSError as error:
        raise GraftError(
            f"{path}: cannot be read ({error.strerror}); fetch it again, or correct the "
            "dataset's `files`."
        ) from error


def check_name(path: str | os.PathLike, name: str) -> str:
    """The normal form of a member's name.

    Raises GraftError, naming the archive at `path`, for a name with an `objection`.
    """
    if reason := objection(name):
        raise GraftError(
            f"{path}: the member name {name!r} {reason}; repack the archive without it."
        )
    return posixpath.normpath(name)


def objection(name: str) -> str | None:
    """Why a member may not have this name, in words: it is empty or not UTF-8, is absolute,
    climbs with "..", or holds a backslash or a NUL character. None if it may."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    if name.startswith("/"):
        return "is absolute"
    if ".." in name.split("/"):
        return "climbs out of the archive with '..'"
    if "\\" in name:
        return "holds a backslash"
    if "\0" in name:
        return "holds a NUL character"
    return "is empty" if posixpath.normpath(name) == "." else None


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture."""
    return name.lower().endswith(PICTURES)


def named(paths: Iterable[Path], dataset: str) -> dict[str, Path]:
    """A data set's raw files, `<set>/raw/<file>`, by their names in its data_file.csv.

    That is `file`; or `set/file` for the files of another set, which this one merges.
    """
    sets = {path: path.parent.parent.name for path in paths}
    return {
        path.name if name == dataset else f"{name}/{path.name}": path for path, name in sets.items()
    }


class Archive:
    """An archive open for reading by offset: `with Archive(path) as archive: archive.read(...)`.

    Reads are positional, so threads may share one Archive.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    def __enter__(self) -> "Archive":
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise GraftError(
                f"{self.path}: cannot be read ({error.strerror}); fetch it again, or correct the "
                "dataset's `files`."
            ) from error
        return self

    def __exit__(self, *_) -> None:
        os.close(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`; GraftError where the archive does not hold them all."""
        chunks = []
        wanted = size
        while offset >= 0 and wanted > 0:
            # One call returns at most 2 GiB, and may return less than asked for.
            chunk = os.pread(self._descriptor, wanted, offset)
            if not chunk:
                break
            chunks.append(chunk)
            offset += len(chunk)
            wanted -= len(chunk)
        if offset < 0 or wanted:
            raise GraftError(
                f"{self.path}: holds no {size} bytes at offset {offset}, as data_file.csv says it "
                "does; run the structure stage again (-R structure)."
            )
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _member(path: str | os.PathLike, info: tarfile.TarInfo, length: int) -> Member:
    name = check_name(path, info.name)
    if not info.isreg() or info.issparse():
        raise GraftError(
            f"{path}: the member {name!r} is a link, a sparse or a special file; repack the "
            "archive with plain files only (tar --dereference --hard-dereference)."
        )
    if info.size < 0 or info.offset_data + info.size > length:
        raise GraftError(f"{path}: is cut short within the member {name!r}; fetch it again.")
    return Member(name, info.offset_data, info.size)


def _check_end(path: str | os.PathLike, tar: tarfile.TarFile) -> None:
    """Check that the walk ended at blocks of zeros and that nothing but zeros follows."""
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(BLOCK)
    if len(block) < BLOCK:
        raise GraftError(
            f"{path}: is cut short, its end-of-archive blocks are missing; fetch it again."
        )
    if any(block):
        raise GraftError(f"{path}: is damaged at byte {tar.offset}; fetch it again.")
    while block := tar.fileobj.read(1 << 16):
        if any(block):
            raise GraftError(
                f"{path}: holds data after its end at byte {tar.offset}; fetch it again, or repack "
                "it as one archive."
            )
