"""Tables of pixels: CSV files with a picture in every row, as FER2013 is published.

The column `pixels` holds the grey values of a square picture, 0 to 255, row by row from its top
left corner, divided by spaces. The header names the columns, in any order and with any spaces
around the names. Cells may be quoted, but contain no quotes and no line breaks; blank lines are
skipped.
"""

import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from graft.core.errors import GraftError, unreadable
from graft.download.archives import Member

COLUMN = "pixels"
LONGEST_LINE = 1 << 24
"""Bytes; a longer line is of no table, and would fill the memory."""

# A cell and the comma after it, quoted or not.
_CELL = re.compile(rb'[ \t]*+"([^"]*+)"[ \t]*+,|([^",]*+),')


class Row(NamedTuple):
    """A row: its picture's name, which is its number from 0 in five digits or more ("00017");
    its line in the file, from 1; the requested cells, stripped; the text of its pixels, and where
    that starts in the file."""

    name: str
    line: int
    cells: tuple[str, ...]
    pixels: bytes
    offset: int


def rows(path: str | os.PathLike, columns: Sequence[str] = ()) -> Iterator[Row]:
    """The rows with the cells of `columns`, in flat memory; the pixels are not checked.

    Raises GraftError for a file that cannot be read, a header that lacks a column or has it twice,
    and a line that is longer than LONGEST_LINE or has not as many cells as the header.
    """
    try:
        with open(path, "rb") as file:
            lines = _lines(path, file)
            names = _header(path, next(lines, (1, 0, b""))[2], (*columns, COLUMN))
            places = [names.index(name) for name in columns]
            for number, (line, start, text) in enumerate(lines):
                cells = _cells(text)
                if len(cells) != len(names):
                    raise _bad_line(path, line, f"does not have {len(names)} cells as the header")
                pixels, offset = cells[names.index(COLUMN)]
                values = (cells[place][0].decode("utf-8", "replace").strip() for place in places)
                yield Row(f"{number:05d}", line, tuple(values), pixels, start + offset)
    except OSError as error:
        raise unreadable(path, error) from error


def members(path: str | os.PathLike) -> Iterator[Member]:
    """The pictures in their order, in flat memory.

    Raises what `rows` raises, and GraftError for pixels that are not whole numbers from 0 to 255,
    or whose number is not a square or not that of the first row.
    """
    expected = None
    for row in rows(path):
        values = _values(row.pixels)
        if values is None:
            raise _bad_line(path, row.line, "has pixels that are not whole numbers from 0 to 255")
        square = math.isqrt(len(values)) ** 2
        if len(values) != (expected or square):
            wanted = f"{expected} as in the first row" if expected else "a square number"
            raise _bad_line(path, row.line, f"has {len(values)} pixels, not {wanted}")
        expected = square
        yield Member(row.name, row.offset, len(row.pixels))


def decode(text: bytes) -> np.ndarray | None:
    """A picture's pixels as uint8 (side, side, 3), its grey in all channels; None if they are not
    as in `members`."""
    values = _values(text)
    if values is None or not len(values) or math.isqrt(len(values)) ** 2 != len(values):
        return None
    side = math.isqrt(len(values))
    return np.repeat(values, 3).reshape(side, side, 3)


def is_table(path: str | os.PathLike) -> bool:
    """Whether a file's name is that of a table: it ends with `.csv`."""
    return Path(path).suffix.lower() == ".csv"


def _bad_line(path: str | os.PathLike, line: int, problem: str) -> GraftError:
    return unreadable(path, ValueError(f"line {line} {problem}"))


def _lines(path: str | os.PathLike, file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """(number from 1, where it starts, text without its end) of every line that is not blank."""
    number, start = 0, 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            raise _bad_line(path, number, "is too long for a table of pixels")
        if text := line.rstrip(b"\r\n"):
            yield number, start, text
        start += len(line)


def _header(path: str | os.PathLike, line: bytes, wanted: Sequence[str]) -> list[str]:
    cells = _cells(line.removeprefix(b"\xef\xbb\xbf"))
    names = [name.decode("utf-8", "replace").strip() for name, _ in cells]
    if any(names.count(name) != 1 for name in wanted):
        shown = ", ".join(map(ascii, names)) or "none"  # the file may hold anything
        shown = f"{shown[:100]}..." if len(shown) > 100 else shown
        raise _bad_line(
            path, 1, f"names the columns {shown}, and needs each of {', '.join(wanted)} once"
        )
    return names


def _cells(line: bytes) -> list[tuple[bytes, int]]:
    """(text, where it starts) of every cell; none if quotes do not match."""
    line, cells, end = line + b",", [], 0
    while end < len(line):
        match = _CELL.match(line, end)
        if match is None:
            return []
        group = 1 if match[2] is None else 2
        cells.append((match[group], match.start(group)))
        end = match.end()
    return cells


def _values(text: bytes) -> np.ndarray | None:
    """Pixels as uint8 (n,), or None if they are not whole numbers from 0 to 255."""
    # NumPy's parser is fast but lenient, so the text is checked first.
    if not text.strip() or text.translate(None, b"0123456789 "):
        return None
    values = np.fromstring(text, np.int64, sep=" ")
    return values.astype(np.uint8) if values.max() <= 255 else None
