"""Names in zip files, whose bytes are UTF-8 where a flag says so, and else of any code page.

PKWARE's APPNOTE 6.3.10, 4.4.4 (bit 11) and 4.6.9 (the extra field 0x7075, in which Info-ZIP gives
the name in UTF-8 beside that in the code page of the computer). Programs that write UTF-8 without
the flag are common (Info-ZIP and macOS among them), and so are those that write the code page of
their computer; the standard's own CP437 is what hardly any means.
"""

import os
import struct
import zipfile
import zlib

from graft.core.errors import GraftError

COMMON = ("cp437", "cp850", "cp1252", "cp866", "cp1251", "cp932", "gbk", "big5", "cp949")
"""Code pages that a question shows names in: of DOS and Windows in the West, in Russia, in Japan,
China, Taiwan and Korea."""

_UTF8 = 0x800
_UNICODE_PATH = 0x7075


def decoded(
    source: str | os.PathLike, info: zipfile.ZipInfo, encoding: str | None, key: str
) -> str:
    r"""The name of a member, with "/" between folders ("\" separates them as well).

    It is what the extra field says, or UTF-8 if the flag is set or the bytes are valid; else it is
    in `encoding`. Of an encoding with characters of several bytes some names are valid UTF-8 by
    chance, so that it comes before UTF-8 where it is given.

    Raises GraftError for a name that is not UTF-8 if there is no `encoding`, and for one that is
    not in it; `key` is the file's key in the config.
    """
    if info.flag_bits & _UTF8:
        return _separated(info.orig_filename)
    raw = info.orig_filename.encode("cp437")  # as zipfile decodes names without the flag
    if (unicode := _unicode_path(info.extra, raw)) is not None:
        return _separated(unicode)
    order = ("utf-8", encoding) if encoding is None or _single_bytes(encoding) else (encoding,)
    for page in order:
        try:
            return _separated(raw.decode(page or "ascii"))
        except UnicodeDecodeError:
            pass
    if encoding is not None:
        problem = f"which is not of {encoding} ({key}.zip_encoding)"
        raise GraftError(f"{source}: it holds the name {raw!r}, {problem}. {_question(raw, key)}")
    problem = "and does not say of which code page it is"
    raise GraftError(f"{source}: it holds the name {raw!r}, {problem}. {_question(raw, key)}")


def _separated(name: str) -> str:
    return name.replace("\\", "/")


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """The name in the extra field 0x7075, if there is one that belongs to this name."""
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        data, extra = extra[4 : 4 + size], extra[4 + size :]
        ours = kind == _UNICODE_PATH and data[:1] == b"\1" and len(data) > 5
        if ours and struct.unpack("<L", data[1:5])[0] == zlib.crc32(raw):
            try:
                return data[5:].decode()
            except UnicodeDecodeError:
                return None
    return None


def _single_bytes(encoding: str) -> bool:
    """Whether each byte is a character."""
    return len(bytes(range(256)).decode(encoding, "replace")) == 256


def _question(raw: bytes, key: str) -> str:
    """The name in the usual code pages, for the user to choose from."""
    shown: dict[str, list[str]] = {}
    for page in COMMON:
        try:
            shown.setdefault(raw.decode(page), []).append(page)
        except UnicodeDecodeError:
            continue
    listed = "; ".join(f"{' or '.join(pages)}: {name!r}" for name, pages in shown.items())
    return f"Choose the code page in which it reads right as {key}.zip_encoding ({listed})."
