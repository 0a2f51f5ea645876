"""Trees: a folder of pictures, or a zip file, as one uncompressed tar that is read by offset.

Of a folder go in its pictures and `.csv` tables, and the folders themselves, so that an empty one
can be seen; hidden files and all others are passed over. Of a zip file goes in all there is. The
tar holds no times, owners or modes: equal trees give equal bytes.
"""

import contextlib
import errno
import hashlib
import json
import lzma
import os
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from graft.core import files
from graft.core.errors import GraftError
from graft.download.archives import check_name, is_picture, objection

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,  # a way of packing that Python does not know
    RuntimeError,
    ValueError,
)


class _Entry(NamedTuple):
    """A file of a tree, or a folder: its name, from the top of the tree, then ends with "/"."""

    name: str
    path: str
    status: os.stat_result


def digest(folder: str | os.PathLike, *, key: str, memory: Path | None = None) -> str:
    """What a folder's tree holds: a sha256 over its names and its files' bytes.

    `memory` is a file that keeps what was read: where a file's size and times (of its bytes and
    of its entry) are as they were, it is not read again. It may be lost at no other cost. `key`
    is where the config has `folder`, for messages.

    Raises GraftError for a folder that is missing, cannot be read or holds no picture, for a
    link that leads out of it or back to a folder that it lies in, and for a name that
    `archives.objection` objects to.
    """
    known, found = _recall(memory), {}
    whole, place = hashlib.sha256(), f"{key}.folder"
    with _readable(folder, place):
        for entry in _walk(folder, place):
            whole.update(entry.name.encode() + b"\0")
            if not entry.name.endswith("/"):
                about = entry.status
                looks = [about.st_size, about.st_mtime_ns, about.st_ctime_ns]
                *before, content = known.get(entry.name, [None])
                if before != looks:
                    content = files.sha256(entry.path)
                found[entry.name] = [*looks, content]
                whole.update(bytes.fromhex(content))
    if not any(map(is_picture, found)):
        raise _without_picture(folder, place)
    if memory is not None and found != known:
        with contextlib.suppress(OSError), files.atomic(memory) as temporary:
            temporary.write_text(files.canonical_json(found), encoding="utf-8")
    return whole.hexdigest()


def pack(
    folder: str | os.PathLike, destination: str | os.PathLike, *, tree: str | None, key: str
) -> dict[str, int]:
    """Write a folder's tree to an uncompressed tar, whole or not at all.

    `tree` is its `digest`, which is only known of data sets that are needed. Returns the number
    of `pictures` and of `tables`. Raises GraftError as `digest` does, and if the folder no
    longer holds what it did.
    """
    if tree is None:
        raise GraftError(
            f"config: {key} is packed when an experiment needs it, and none does; add one to `run`."
        )
    whole, names, place = hashlib.sha256(), [], f"{key}.folder"
    with _readable(folder, place), _tar(destination) as tar:
        for entry in _walk(folder, place):
            whole.update(entry.name.encode() + b"\0")
            if entry.name.endswith("/"):
                _add(tar, entry.name)
                continue
            with open(entry.path, "rb") as file:
                hashed = _Hashed(file)
                _add(tar, entry.name, os.fstat(file.fileno()).st_size, hashed)
            whole.update(hashed.digest.digest())
            names.append(entry.name)
        if whole.hexdigest() != tree:
            raise _changed(folder, place)
    pictures = sum(map(is_picture, names))
    return {"pictures": pictures, "tables": len(names) - pictures}


def pictures(folder: str | os.PathLike, *, key: str) -> list[str]:
    """The names of a tree's pictures, from its top, in its order.

    `key` is where the config names the folder. Raises GraftError as `digest` does.
    """
    with _readable(folder, key):
        names = [entry.name for entry in _walk(folder, key) if is_picture(entry.name)]
    if not names:
        raise _without_picture(folder, key)
    return names


def unpack_zip(source: str | os.PathLike, destination: str | os.PathLike) -> int:
    """Turn a zip file into an uncompressed tar of the same files; returns how many there are.

    Streamed, in the zip's own order, whole or not at all. Raises GraftError for a zip file that
    is missing, damaged, encrypted, without a file or packed in a way that Python does not know,
    for links and special files in it, and for a name that `archives.check_name` refuses.
    """
    count = 0
    try:
        with zipfile.ZipFile(source) as published, _tar(destination) as tar:
            for info in published.infolist():
                if (
                    info.orig_filename.endswith("/")
                    and posixpath.normpath(info.orig_filename) == "."
                ):
                    continue
                name = _checked(source, info)
                if info.is_dir():
                    _add(tar, name + "/")
                    continue
                with published.open(info) as file:
                    _add(tar, name, info.file_size, file)
                count += 1
            if not count:
                raise EOFError("it holds no file")
    except FileNotFoundError as error:
        raise GraftError(f"{source} does not exist: download it first") from error
    except (*_DAMAGE, OSError) as error:
        # Damage may send a seek to before the file; any other trouble is the disk's.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise GraftError(
            f"{source} is damaged or no zip file that can be unpacked ({error}): delete it and "
            "download it again, or unpack it by hand and give its folder instead"
        ) from error
    return count


def _checked(source: str | os.PathLike, info: zipfile.ZipInfo) -> str:
    """The normal form of a member's name, if it is a plain and open file or a folder."""
    name = check_name(source, info.orig_filename)
    if info.flag_bits & 0x1:
        raise GraftError(
            f"{source}: {name!r} is encrypted; unpack it by hand, and give its folder instead "
            "(`folder`)"
        )
    # The upper half is a mode where the zip was made on Unix, and mostly nothing elsewhere.
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise GraftError(
            f"{source}: {name!r} is a link or a special file; repack the zip file with plain "
            "files only"
        )
    return name


class _Hashed:
    """A file that is read once, front to back, and the digest of what was read."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


@contextlib.contextmanager
def _tar(destination: str | os.PathLike) -> Iterator[tarfile.TarFile]:
    with (
        files.atomic(destination) as temporary,
        tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar,
    ):
        yield tar


def _add(tar: tarfile.TarFile, name: str, size: int = 0, file=None) -> None:
    """Add a file, or without one a folder; raises EOFError if the file is shorter than `size`."""
    info = tarfile.TarInfo(name)  # no owner, and the time 0
    info.size = size
    if file is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    try:
        tar.addfile(info, file)
    except OSError as error:
        if error.errno is None:  # tarfile's own, told from the disk's
            raise EOFError(f"{name} ends early") from error
        raise
    tar.members.clear()  # tarfile remembers every member otherwise


def _walk(folder: str | os.PathLike, key: str) -> Iterator[_Entry]:
    """The tree's folders and files, by name, a folder before what it holds."""
    root = os.path.realpath(os.path.expanduser(folder))
    if not os.path.isdir(root):
        raise GraftError(
            f"config: {key} is {str(folder)!r}, where there is no folder; correct the path "
            "(a relative one starts from the working directory)."
        )
    yield from _walk_below(root, "", (root,), key)


def _walk_below(folder: str, prefix: str, within: tuple[str, ...], key: str) -> Iterator[_Entry]:
    """`within` holds the folders above and this one, from the root on, with links resolved."""
    with os.scandir(folder) as found:
        items = sorted((i for i in found if not i.name.startswith(".")), key=lambda i: i.name)
    for item in items:
        name = prefix + item.name
        is_folder = item.is_dir()
        if not is_folder and not (is_picture(name) or name.lower().endswith(".csv")):
            continue
        if reason := objection(name):
            raise GraftError(f"config: {key} holds {name!r}, whose name {reason}; rename it.")
        real = os.path.realpath(item.path) if is_folder or item.is_symlink() else item.path
        if os.path.commonpath((within[0], real)) != within[0]:
            raise GraftError(
                f"config: {key} holds the link {name!r}, which leads out of the folder; put the "
                "pictures themselves there."
            )
        if is_folder:
            if real in within:
                raise GraftError(
                    f"config: {key} holds the link {name!r}, which leads back to a folder that it "
                    "lies in; remove it."
                )
            yield _Entry(f"{name}/", item.path, item.stat())
            yield from _walk_below(item.path, f"{name}/", (*within, real), key)
        elif item.is_file() or item.is_symlink():  # a link to nowhere is told, not passed over
            yield _Entry(name, item.path, item.stat())


@contextlib.contextmanager
def _readable(folder: str | os.PathLike, key: str) -> Iterator[None]:
    try:
        yield
    except EOFError as error:
        raise _changed(folder, key) from error
    except OSError as error:
        raise GraftError(
            f"config: {key} cannot be read ({error.strerror}: {error.filename}); see to "
            "the file or the disk, then run again."
        ) from error


def _without_picture(folder: str | os.PathLike, key: str) -> GraftError:
    return GraftError(
        f"config: {key} is {str(folder)!r}, a folder without a picture; put pictures "
        "there or name another folder."
    )


def _changed(folder: str | os.PathLike, key: str) -> GraftError:
    return GraftError(
        f"config: {key} is {str(folder)!r}, whose files have changed since this run was "
        "planned; run again."
    )


def _recall(memory: Path | None) -> dict[str, list]:
    """What `digest` kept; nothing where it is missing or not of this form."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8")) if memory else {}
        if all(len(item) == 4 and len(bytes.fromhex(item[3])) == 32 for item in known.values()):
            return known
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        pass
    return {}
