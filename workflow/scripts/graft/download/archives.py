"""Uncompressed tar archives: members read by offset, and a writer whose tars are reproducible.

The format is POSIX ustar/pax and GNU tar, as `tarfile` reads it; what `tarfile` ignores
(truncation, damage, data after the end) is an error here.
"""

import contextlib
import os
import posixpath
import tarfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from graft.core import files
from graft.core.errors import GraftError, damaged, fetch_again, unreadable
from graft.download import kinds
from graft.download.junk import junk

if TYPE_CHECKING:
    from _typeshed import SupportsRead

BLOCK = 512
"""Bytes in a tar block; an archive ends with blocks of zeros."""

PICTURES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif"),
    *(".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
    *(".jp2", ".j2k", ".avif", ".heic", ".heif", ".hif", ".jxl"),
)
"""How names of picture files end, in any case; not all of their formats are decoded, so that a
picture of another one is dropped with a reason."""


class Member(NamedTuple):
    """A regular file in an archive: its name, and where its `size` bytes start.

    A folder's name ends with "/", and it has no bytes.
    """

    name: str
    offset: int
    size: int


def members(
    path: str | os.PathLike, *, folders: bool = False, passed_over: Counter[str] | None = None
) -> Iterator[Member]:
    """The regular files of an uncompressed tar in archive order, in constant memory.

    Names are in the form of `normal`. What `junk` lists is left out, and counted in `passed_over`
    by its entry. Folders that the archive lists are included on request. A name may come more than
    once, the last one being what tar would unpack: see `by_name`.

    Raises GraftError for anything that is not a whole, well-formed, uncompressed tar, for links,
    sparse and special files (their bytes do not lie at an offset), and for a member whose name
    `check_name` refuses.
    """
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            length = os.fstat(file.fileno()).st_size
            while (info := tar.next()) is not None:
                _forget_members(tar)
                if entry := junk(normal(info.name) + "/" * info.isdir()):
                    if passed_over is not None and not info.isdir():
                        passed_over[entry] += 1
                elif not info.isdir():
                    yield _member(path, info, length)
                elif folders and posixpath.normpath(info.name) != ".":
                    yield Member(check_name(path, info.name) + "/", info.offset_data, 0)
            _check_end(path, file, tar.offset)
    except (tarfile.TarError, ValueError, OverflowError) as error:
        found = kinds.kind(path)
        what = f" ({error})" if found in (None, "tar") else f", but {kinds.WORDS[found]}"
        raise fetch_again(path, f"not a readable uncompressed tar archive{what}") from error
    except OSError as error:
        raise unreadable(path, error) from error


def by_name(path: str | os.PathLike, *, folders: bool = False) -> dict[str, Member]:
    """The `members` of a tar by name: of those of one name the last, as tar unpacks them.

    Takes memory for each of them.
    """
    return {member.name: member for member in members(path, folders=folders)}


def normal(name: str) -> str:
    """The form in which names are compared: "./a//b" is "a/b", and letters with marks, which macOS
    takes apart, are put together (Unicode's NFC)."""
    return unicodedata.normalize("NFC", posixpath.normpath(name))


def check_name(path: str | os.PathLike, name: str) -> str:
    """The `normal` form of a member's name; GraftError for a name with an `objection`."""
    if reason := objection(name):
        raise GraftError(
            f"{path}: the member name {name!r} {reason}. Repack the archive without it."
        )
    return normal(name)


def objection(name: str) -> str | None:
    """Why a member may not have this name: it is empty, not UTF-8 or absolute, or contains "..", a
    backslash or a NUL character. None if it may."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    if name.startswith("/"):
        return "is absolute"
    if ".." in name.split("/"):
        return "leads out of the archive with '..'"
    if "\\" in name:
        return "contains a backslash"
    if "\0" in name:
        return "contains a NUL character"
    return "is empty" if posixpath.normpath(name) == "." else None


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture."""
    return name.lower().endswith(PICTURES)


def is_label_table(name: str) -> bool:
    """Whether a file's name is that of a table of labels."""
    return name.lower().endswith((".csv", ".tsv"))


def ending(name: str) -> str:
    """How a file's name ends, such as ".txt", in words where it has no ending."""
    extension = os.path.splitext(os.fsencode(name))[1].lower()
    return extension.decode(errors="replace") or "without an extension"


def counted(counts: Mapping[str, int]) -> str:
    """Numbers by kind in words, such as "2 .mov, 1 .txt"."""
    return ", ".join(f"{number:,} {kind}" for kind, number in sorted(counts.items()))


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
            raise unreadable(self.path, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`; GraftError where the archive does not hold them all."""
        chunks = []
        wanted, position = size, offset
        while offset >= 0 and wanted > 0:
            # One call returns at most 2 GiB, and may return less than asked for.
            chunk = os.pread(self._descriptor, wanted, position)
            if not chunk:
                break
            chunks.append(chunk)
            position += len(chunk)
            wanted -= len(chunk)
        if offset < 0 or wanted:
            problem = f"holds no {size} bytes at offset {offset}, where data_file.csv has a sample"
            raise damaged(self.path, problem, "structure")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


@contextlib.contextmanager
def new_tar(destination: str | os.PathLike) -> Iterator[tarfile.TarFile]:
    """An empty tar to `add` members to, which appears at `destination` whole or not at all."""
    with (
        files.atomic(destination) as temporary,
        tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar,
    ):
        yield tar


def add(
    tar: tarfile.TarFile, name: str, size: int = 0, file: "SupportsRead[bytes] | None" = None
) -> None:
    """Add a file, or without `file` a folder, without times, owners and modes: equal members give
    equal bytes. Raises EOFError if the file is shorter than `size`."""
    info = tarfile.TarInfo(name)
    info.size = size
    if file is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    try:
        tar.addfile(info, file)
    except OSError as error:
        if error.errno is None:  # raised by tarfile, not by the disk
            raise EOFError(f"{name} ends early") from error
        raise
    _forget_members(tar)


def _forget_members(tar: tarfile.TarFile) -> None:
    """Keep memory constant: tarfile keeps every member otherwise."""
    tar.members.clear()  # type: ignore[attr-defined]


def _member(path: str | os.PathLike, info: tarfile.TarInfo, length: int) -> Member:
    name = check_name(path, info.name)
    if not info.isreg() or info.issparse():
        raise GraftError(
            f"{path}: the member {name!r} is a link, a sparse or a special file. Repack the "
            "archive with plain files only (tar --dereference --hard-dereference)."
        )
    if info.size < 0 or info.offset_data + info.size > length:
        raise fetch_again(path, f"the archive is truncated within the member {name!r}")
    return Member(name, info.offset_data, info.size)


def _check_end(path: str | os.PathLike, file: IO[bytes], offset: int) -> None:
    """Check that members end at `offset` with blocks of zeros, and that only zeros follow."""
    file.seek(offset)
    block = file.read(BLOCK)
    if len(block) < BLOCK:
        raise fetch_again(path, "the archive is truncated: it lacks its end-of-archive blocks")
    if any(block):
        raise fetch_again(path, f"the archive is damaged at byte {offset}")
    while block := file.read(1 << 16):
        if any(block):
            raise fetch_again(path, f"the archive has data after its end at byte {offset}")
