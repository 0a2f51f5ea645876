"""Tables of pixels: CSV files with a picture in every row, as FER2013 is published.

The column `pixels` holds the grey values of a square picture, 0 to 255, from its top left corner
row by row, divided by spaces. Other columns say what it shows. The header names the columns, in
any order and with any spaces around the names. Cells may be quoted, but hold neither quotes nor
line breaks of their own; blank lines are passed over.
"""

import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from graft.core.errors import GraftError
from graft.download.archives import Member

COLUMN = "pixels"
LONGEST_LINE = 1 << 24
"""Bytes; what has no end of line for so long is no table, and would fill the memory."""

# A cell with the comma after it: within quotes, or as it stands.
_CELL = re.compile(rb'[ \t]*+"([^"]*+)"[ \t]*+,|([^",]*+),')


class Row(NamedTuple):
    """A row: its picture's name, which is its number from 0 in five digits or more ("00017");
    its line in the file, from 1; the cells asked for, stripped; the text of its pixels, and
    where that starts in the file."""

    name: str
    line: int
    cells: tuple[str, ...]
    pixels: bytes
    offset: int


def rows(path: str | os.PathLike, columns: Sequence[str] = ()) -> Iterator[Row]:
    """Walk the rows, with the cells of `columns`, in flat memory; the pixels are not looked at.

    Raises GraftError for a file that cannot be read, a header that lacks a column or has it
    twice, and a line that is longer than LONGEST_LINE or has not as many cells as the header.
    """
    try:
        with open(path, "rb") as file:
            lines = _lines(path, file)
            names = _header(path, next(lines, (1, 0, b""))[2], (*columns, COLUMN))
            places = [names.index(name) for name in columns]
            for number, (line, start, text) in enumerate(lines):
                cells = _cells(text)
                if len(cells) != len(names):
                    raise GraftError(
                        f"{path}: line {line} has not the {len(names)} cells that its header "
                        "names; fetch it again."
                    )
                pixels, offset = cells[names.index(COLUMN)]
                values = (cells[place][0].decode("utf-8", "replace").strip() for place in places)
                yield Row(f"{number:05d}", line, tuple(values), pixels, start + offset)
    except OSError as error:
        raise GraftError(
            f"{path}: cannot be read ({error.strerror}); fetch it again, or correct the dataset's "
            "`files`."
        ) from error


def members(path: str | os.PathLike) -> Iterator[Member]:
    """Walk the pictures in their order, in flat memory.

    Raises GraftError for a file that `rows` refuses and, naming the line, for pixels that are
    not whole numbers from 0 to 255, or not as many as make a square, or not as many as in the
    first row.
    """
    expected = None
    for row in rows(path):
        values = _values(row.pixels)
        if values is None:
            raise GraftError(
                f"{path}: line {row.line} holds pixels that are not whole numbers from 0 to 255; "
                "fetch it again."
            )
        square = math.isqrt(len(values)) ** 2
        if len(values) != (expected or square):
            wanted = f"{expected} as in the first row" if expected else "a square number"
            raise GraftError(
                f"{path}: line {row.line} holds {len(values)} pixels, not {wanted}; fetch it again."
            )
        expected = square
        yield Member(row.name, row.offset, len(row.pixels))


def decode(text: bytes) -> np.ndarray | None:
    """A picture's pixels as uint8 (side, side, 3), its grey in all channels, or None if they
    are none."""
    values = _values(text)
    if values is None or not len(values) or math.isqrt(len(values)) ** 2 != len(values):
        return None
    side = math.isqrt(len(values))
    return np.repeat(values, 3).reshape(side, side, 3)


def is_table(path: str | os.PathLike) -> bool:
    """Whether a file's name is that of a table: it ends with `.csv`."""
    return Path(path).suffix.lower() == ".csv"


def _lines(path: str | os.PathLike, file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """(number from 1, where it starts, text without its end) of every line that is not blank."""
    number, start = 0, 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            raise GraftError(
                f"{path}: line {number} is too long for a table of pixels; fetch it again, or "
                "correct the dataset's `files`."
            )
        if text := line.rstrip(b"\r\n"):
            yield number, start, text
        start += len(line)


def _header(path: str | os.PathLike, line: bytes, wanted: Sequence[str]) -> list[str]:
    text = line.removeprefix(b"\xef\xbb\xbf")
    names = [name.decode("utf-8", "replace").strip() for name, _ in _cells(text)]
    if any(names.count(name) != 1 for name in wanted):
        raise GraftError(
            f"{path}: its first line names the columns {_shown(names)}, where each of "
            f"{', '.join(wanted)} is expected once, in any order; fetch it again, or correct the "
            "dataset's `files`."
        )
    return names


def _shown(names: Sequence[str]) -> str:
    """Column names as a message may hold them, whatever the file is."""
    text = ", ".join(map(ascii, names))
    return f"{text[:100]}..." if len(text) > 100 else text or "none"


def _cells(line: bytes) -> list[tuple[bytes, int]]:
    """(text, where it starts) of every cell; none if quotes do not match."""
    line, found, end = line + b",", [], 0
    while end < len(line):
        match = _CELL.match(line, end)
        if match is None:
            return []
        found.append((match[match.lastindex], match.start(match.lastindex)))
        end = match.end()
    return found


def _values(text: bytes) -> np.ndarray | None:
    """Pixels as uint8 (n,), or None if they are not whole numbers from 0 to 255."""
    # NumPy's parser is quick but lenient, so what it is given is looked at before.
    if not text.strip() or text.translate(None, b"0123456789 "):
        return None
    values = np.fromstring(text, np.int64, sep=" ")
    return values.astype(np.uint8) if values.max() <= 255 else None
