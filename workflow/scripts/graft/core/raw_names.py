"""Names of raw files: how they are compressed, and what they are called once unpacked."""

import re

TARS = {
    "gz": "tgz",
    "bz2": "tbz2?|tb2",
    "xz": "txz|tlz",
    "zst": "tzst",
}
"""Compression -> the endings that stand for a compressed tar."""

ENDINGS = {"gz": "gz", "bz2": "bz2", "xz": "xz|lzma", "zst": "zst"}
"""Compression -> the endings of files that are compressed so."""

UNREAD = {"7z": "7-Zip", "rar": "RAR", "z": "compress", "lz": "lzip", "lz4": "LZ4", "cab": "CAB"}
"""Endings of archives that are not unpacked, and what they are called."""

_FORMS = [(re.compile(r"\.zip$", re.IGNORECASE), "zip", ".tar")]
for _kind, _endings in ENDINGS.items():
    _tar = rf"(\.tar\.({_endings})|\.({TARS[_kind]}))$"
    _FORMS.append((re.compile(_tar, re.IGNORECASE), _kind, ".tar"))
    _FORMS.append((re.compile(rf"(?<=.)\.({_endings})$", re.IGNORECASE), _kind, ""))


def compression(name: str) -> str | None:
    """How a file is compressed by its name, in any case: `zip`, a key of ENDINGS, or None."""
    return next((kind for form, kind, _ in _FORMS if form.search(name)), None)


def raw_name(name: str) -> str:
    """The name under which a file is kept: `x.tgz`, `x.tar.xz`, `x.zip` become `x.tar`, and any
    other `x.gz` or `x.bz2` becomes `x`."""
    for form, _, ending in _FORMS:
        if form.search(name):
            return form.sub(ending, name)
    return name


def unread(name: str) -> str | None:
    """The kind of archive that a name stands for, if it is one that is not unpacked."""
    return UNREAD.get(name.lower().rpartition(".")[2]) if "." in name else None
