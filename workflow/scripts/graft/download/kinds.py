"""What a file is by its first bytes, whatever its name says."""

import os
import re
import tarfile

from graft.core.errors import GraftError, unreadable
from graft.core.raw_names import ENDINGS, compression, raw_name

HEAD = 1024
"""Bytes that are looked at."""

SIGNATURES = (
    *((b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zst")),
    *((b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"), (b"7z\xbc\xaf\x27\x1c", "7z")),
    *((b"Rar!\x1a\x07", "rar"), (b"\x1f\x9d", "compress"), (b"%PDF-", "pdf"), (b"LZIP", "lzip")),
    *((b"\xff\xd8\xff", "picture"), (b"\x89PNG\r\n", "picture"), (b"\x89HDF\r\n", "hdf5")),
    *((b"PAR1", "parquet"), (b"version https://git-lfs", "pointer"), (b'{"', "json")),
)
"""First bytes, and the kind of file that they mean; as `file(1)` has them (magic(5))."""

WORDS = {
    "gz": "a gzip file",
    "bz2": "a bzip2 file",
    "xz": "an xz file",
    "zst": "a Zstandard file",
    "zip": "a zip file",
    "tar": "a tar archive",
    "7z": "a 7-Zip archive",
    "rar": "a RAR archive",
    "compress": "a file of compress",
    "lzip": "an lzip file",
    "pdf": "a PDF document",
    "picture": "a picture",
    "hdf5": "an HDF5 file",
    "parquet": "a Parquet file",
    "pointer": "a pointer of Git LFS instead of the file",
    "json": "JSON text, perhaps an error message",
    "page": "a web page, perhaps to log in or to confirm",
    "empty": "empty",
}

COMPRESSED = {"gz", "bz2", "xz", "zst", "zip", "tar"}
"""The kinds that a file name with their ending is unpacked by."""

_PAGE = re.compile(
    rb"(\xef\xbb\xbf)?\s*((<!--.*?-->|<\?xml[^>]*>)\s*)*<(!doctype html|html|head|body|script)\b",
    re.IGNORECASE | re.DOTALL,
)


def is_web_page(head: bytes) -> bool:
    """Whether a file begins like HTML: a page to log in, to confirm or about an error."""
    return _PAGE.match(head) is not None


def kind(path: str | os.PathLike) -> str | None:
    """A key of WORDS; None for a file that begins like none of them.

    Raises GraftError if the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise unreadable(path, error) from error
    if not head:
        return "empty"
    if _begins_tar(head):
        return "tar"
    if is_web_page(head):
        return "page"
    return next((kind for first, kind in SIGNATURES if head.startswith(first)), None)


def check(path: str | os.PathLike, name: str) -> None:
    """Raises GraftError for a file that is of another kind than its name says.

    Files that begin like no kind that is known pass: whoever reads them finds out.
    """
    packed = compression(name) or ("tar" if name.lower().endswith(".tar") else None)
    found = kind(path)
    if found in (None, packed) or (
        packed is None and found not in {"page", "pointer", *COMPRESSED}
    ):
        return
    what = f"the file is {WORDS[str(found)]}"
    if packed is not None:
        what += f", and its name that of {WORDS[packed]}"
    if packed is None and found in {"zip", "tar"}:
        advice = f"Unpack it by hand and put the file in it at downloads/{name}"
    elif found in COMPRESSED:
        stem = re.sub(r"\.tar$", "", raw_name(name))
        advice = f"If that is right, call it {stem}.{_ending(str(found), name)} in `files`"
    elif found in {"7z", "rar", "compress", "lzip"}:
        advice = "Unpack it by hand and give its folder instead (`folder`)"
    else:
        advice = f"Get the file itself, for example with a browser, and put it at downloads/{name}"
    raise GraftError(f"{path}: {what}. {advice}.")


def check_unpacked(path: str | os.PathLike, published: str | os.PathLike) -> None:
    """Raises GraftError if what was unpacked to a tar is known to be none.

    published: the file that it was unpacked from, for the message.
    """
    found = kind(path)
    if str(path).endswith(".tar") and found not in (None, "tar"):
        raise GraftError(
            f"{published}: what is packed in it is {WORDS[str(found)]} and no tar archive. Unpack "
            "it by hand and give the folder of the pictures instead (`folder`)."
        )


def _ending(found: str, name: str) -> str:
    """The ending that a file of a kind has: one that was a tar of another kind is a tar."""
    return f"tar.{found}" if found in ENDINGS and raw_name(name).endswith(".tar") else found


def _begins_tar(head: bytes) -> bool:
    """Whether a file begins with the header of a tar's member, of any dialect."""
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True
