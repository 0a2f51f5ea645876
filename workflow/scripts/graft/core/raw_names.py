"""Names of raw files: which are compressed, and what they are called once unpacked."""

import re

_GZIP_TAR = re.compile(r"(\.tar\.gz|\.tgz)$", re.IGNORECASE)
_GZIP = re.compile(r"(?<=.)\.gz$", re.IGNORECASE)
_ZIP = re.compile(r"\.zip$", re.IGNORECASE)


def is_gzip(name: str) -> bool:
    """Whether a file name is that of a gzip file: `.tgz` or `.gz`, in any case."""
    return _GZIP_TAR.search(name) is not None or _GZIP.search(name) is not None


def is_zip(name: str) -> bool:
    """Whether a file name is that of a zip file: `.zip`, in any case."""
    return _ZIP.search(name) is not None


def raw_name(name: str) -> str:
    """The name under which a file is kept: `x.tgz`, `x.tar.gz`, `x.zip` become `x.tar`, and
    any other `x.gz` becomes `x`."""
    return _GZIP.sub("", _ZIP.sub(".tar", _GZIP_TAR.sub(".tar", name)))
