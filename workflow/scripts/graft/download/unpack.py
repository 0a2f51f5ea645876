"""Unpacking of published files: samples are read by offset, which compression does not allow."""

import errno
import gzip
import lzma
import os
import posixpath
import shutil
import stat
import struct
import zipfile
import zlib

from graft.core import files
from graft.core.errors import GraftError, unreadable
from graft.download.archives import add, check_name, new_tar

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
)


def unpack_gzip(source: str | os.PathLike, destination: str | os.PathLike) -> int:
    """Decompress a gzip file, whole or not at all; returns the bytes written.

    Raises GraftError if `source` is missing, empty, truncated or corrupt.
    """
    try:
        with gzip.open(source, "rb") as packed, files.atomic(destination) as temporary:
            with open(temporary, "wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 1 << 20)
                size = unpacked.tell()
            if size == 0:
                raise EOFError("it is empty")
        return size
    except (EOFError, zlib.error, gzip.BadGzipFile, FileNotFoundError) as error:
        raise unreadable(source, error) from error


def unpack_zip(source: str | os.PathLike, destination: str | os.PathLike) -> int:
    """Turn a zip file into an uncompressed tar of the same files in the same order, whole or not
    at all; returns the number of files.

    Raises GraftError for a zip file that is missing, damaged, encrypted, without a file or
    compressed by a method that Python does not have, for links and special files in it, and for a
    name that `archives.check_name` refuses.
    """
    count = 0
    try:
        with zipfile.ZipFile(source) as published, new_tar(destination) as tar:
            for info in published.infolist():
                raw_name = info.orig_filename
                if raw_name.endswith("/") and posixpath.normpath(raw_name) == ".":
                    continue
                name = _checked(source, info)
                if info.is_dir():
                    add(tar, name + "/")
                    continue
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
    return count


def _checked(source: str | os.PathLike, info: zipfile.ZipInfo) -> str:
    """The normal form of a member's name, if it is a plain and open file or a folder."""
    name = check_name(source, info.orig_filename)
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
