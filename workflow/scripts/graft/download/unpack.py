"""Unpacking of published files: samples are read by offset, which compression does not allow."""

import bz2
import errno
import gzip
import lzma
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from typing import IO, Any

from graft.core import files
from graft.core.errors import GraftError, unreadable
from graft.download import zip_names
from graft.download.archives import add, check_name, new_tar, normal
from graft.download.junk import junk, passed_over

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
)


def _zstandard(path: str | os.PathLike, _: str) -> IO[bytes]:
    """Python has no Zstandard before 3.14; MLflow brings Arrow along, which has."""
    try:
        import pyarrow  # it takes a quarter of a second, and few files need it
    except ImportError:
        raise GraftError(
            f"{path}: this Python reads no Zstandard. Install pyarrow, or unpack the file by hand "
            "(`zstd -d`)."
        ) from None
    return pyarrow.CompressedInputStream(pyarrow.OSFile(os.fspath(path)), "zstd")


OPEN: dict[str, Callable[[str | os.PathLike, str], Any]] = {
    "gz": gzip.open,
    "bz2": bz2.open,
    "xz": lzma.open,
    "zst": _zstandard,
}
"""Compression (see `raw_names`) -> how such a file is opened to be read."""


def unpack(source: str | os.PathLike, destination: str | os.PathLike, compression: str) -> int:
    """Decompress a file, whole or not at all and in constant memory; returns the bytes written.

    compression: a key of OPEN. Raises GraftError if `source` is missing, empty, truncated or
    corrupt, and OSError if `destination` cannot be written.
    """
    try:
        with OPEN[compression](source, "rb") as packed, files.atomic(destination) as temporary:
            with open(temporary, "wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 1 << 20)
                size = unpacked.tell()
            if size == 0:
                raise EOFError("it is empty")
        return size
    except (EOFError, zlib.error, lzma.LZMAError, ValueError, OSError) as error:
        # What is wrong with the data has no number; a disk that is full has one.
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
            raise
        raise unreadable(source, error) from error


def unpack_zip(
    source: str | os.PathLike,
    destination: str | os.PathLike,
    *,
    encoding: str | None = None,
    key: str = "the file",
) -> int:
    """Turn a zip file into an uncompressed tar of the same files in the same order, whole or not
    at all; returns the number of files.

    encoding: the code page of names that are not UTF-8 (see `zip_names`). key: the file's key in
    the config, for messages.

    What `junk` lists is left out; of several members of one name the last one is taken, as
    unpacking them one after the other would. Both are counted in the log.

    Raises GraftError for a zip file that is missing, damaged, encrypted, without a file or
    compressed by a method that Python does not have, for links and special files in it, for names
    that need another `encoding`, and for a name that `archives.check_name` refuses.
    """
    count, left_out, again = 0, Counter[str](), Counter[str]()
    try:
        with zipfile.ZipFile(source) as published, new_tar(destination) as tar:
            names = [
                zip_names.decoded(source, info, encoding, key) for info in published.infolist()
            ]
            last = {normal(name): number for number, name in enumerate(names)}
            for number, (info, raw_name) in enumerate(
                zip(published.infolist(), names, strict=True)
            ):
                is_folder = raw_name.endswith("/")
                if is_folder and normal(raw_name) == ".":
                    continue
                if entry := junk(normal(raw_name) + "/" * is_folder):
                    left_out[entry] += not is_folder
                    continue
                name = _checked(source, info, raw_name)
                if is_folder:
                    add(tar, name + "/")
                elif last[normal(raw_name)] != number:
                    again[name] += 1
                else:
                    with published.open(info) as file:
                        add(tar, name, info.file_size, file)
                    count += 1
            if not count:
                raise EOFError("it holds no file")
    except NotImplementedError as error:
        raise _by_hand(source, str(error)) from error
    except (*_DAMAGE, OSError) as error:
        # Damage may send a seek to before the file (EINVAL); other errors are those of the disk.
        missing = isinstance(error, FileNotFoundError)
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL) and not missing:
            raise
        raise unreadable(source, error) from error
    if +left_out:
        print(f"{key}: {passed_over(+left_out)}")
    if again:
        print(
            f"{key}: {again.total()} files are there again under the same name, such as "
            f"{next(iter(again))!r}. Of each the last one is used."
        )
    return count


def _checked(source: str | os.PathLike, info: zipfile.ZipInfo, name: str) -> str:
    """The normal form of a member's name, if it is a plain and open file or a folder."""
    name = check_name(source, name)
    if info.flag_bits & 0x1:
        raise _by_hand(source, f"the member {name!r} is encrypted")
    # The upper half is a mode if the zip file was made on Unix, and mostly 0 elsewhere.
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise GraftError(
            f"{source}: the member {name!r} is a link or a special file. Repack the zip file with "
            "plain files only."
        )
    return name


def _by_hand(source: str | os.PathLike, problem: str) -> GraftError:
    return GraftError(
        f"{source}: {problem}. Unpack the file by hand and give its folder instead (`folder`)."
    )
