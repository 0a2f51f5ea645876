"""Tables of labels: which columns and which separator they have, and their lines.

A table is text with a header, in UTF-8 (or UTF-16 with a byte order mark, as spreadsheets write
it), divided by one of SEPARATORS. The usual names of columns are in COLUMNS; others are named by
the config.
"""

import codecs
import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from graft.core.errors import GraftError, nearest
from graft.datasets import split_names
from graft.datasets.label_sets import joined, names
from graft.datasets.split_names import Options
from graft.download.archives import is_picture, normal, objection

COLUMNS = {
    "path": (
        *("path", "filepath", "filename", "file", "fname", "imagepath", "imagename", "image"),
        *("imageid", "imageindex", "imgpath", "imgname", "img", "picture", "photo", "id"),
    ),
    "label": ("label", "labels", "class", "classname", "category", "target", "tag", "tags"),
    "group": ("group",),
    "split": ("split", "subset", "partition", "usage"),
}
"""What a column is for -> its usual names, the surest first, in small letters and digits only."""

REQUIRED = ("path", "label")
SEPARATORS = (",", ";", "\t")
_INDEX = ("", "unnamed0")
"""How pandas heads the column of the rows' numbers."""

_DRIVE = re.compile(r"[A-Za-z]:(?=/)")


class Line(NamedTuple):
    """A line of a table. The path has "/" between folders, in front too if it is absolute."""

    number: int
    path: str
    label: str
    group: str
    split: str


class Table(NamedTuple):
    """The lines, and the `unused` columns; index columns are not among these."""

    lines: list[Line]
    unused: list[str]


def read(
    source: str,
    data: bytes,
    *,
    multi: bool,
    columns: Mapping[str, str | None],
    separator: str | None,
    splits: Options,
) -> Table:
    """The table in a file's bytes.

    `columns` names those whose names are not usual, `separator` the text between cells; without it
    the first of SEPARATORS is taken by which the header has a path and a label. `splits` is the
    layout's option (see `split_names.named`). With `multi` a label holds any number of classes.

    Raises GraftError, which names `source` and the line, for a header without these columns, for
    a line with another number of cells, without a label, with a split of an unknown name or with a
    path that `archives.objection` refuses, and for a table without lines.
    """
    text = _decoded(source, data)
    separator = separator or _separator(text, columns)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True
    )
    try:
        header = [cell.strip() for cell in next(reader, [])]
        roles = _roles(source, header, columns)
        if lacking := [role for role in REQUIRED if role not in roles]:
            raise _without(source, header, separator, lacking)
        lines = []
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                if len(cells) != len(header):
                    problem = f"has {len(cells)} cells, not {len(header)}"
                    raise bad_line(source, reader.line_num, problem)
                values = {role: cells[place] for role, place in roles.items()}
                lines.append(_line(source, reader.line_num, values, multi=multi, splits=splits))
    except csv.Error as error:
        raise bad_line(source, reader.line_num, f"is not CSV ({error})") from error
    if not lines:
        raise GraftError(f"{source}: it lists no picture. Add a line for each.")
    other = [cell for place, cell in enumerate(header) if place not in roles.values()]
    return Table(lines, [cell for cell in other if _plain(cell) not in _INDEX])


def fits(data: bytes) -> bool:
    """Whether a file is a table of labels, by its header, without the config."""
    try:
        text = _decoded("", data)
        return set(REQUIRED) <= set(_roles("", _cells(text, _separator(text, {})), {}))
    except (GraftError, csv.Error):
        return False


def bad_line(source: str, number: int, problem: str) -> GraftError:
    return GraftError(f"{source}: line {number} {problem}. Correct it.")


def _decoded(source: str, data: bytes) -> str:
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise GraftError(f"{source}: it is not UTF-8 text ({error}). Save it as UTF-8.") from error


def _separator(text: str, columns: Mapping[str, str | None]) -> str:
    """The first by which the header has what is required, or the one with the most cells."""

    def rank(separator: str) -> tuple[int, int]:
        try:
            header = _cells(text, separator)
        except csv.Error:
            return 0, 0
        return len(set(_known(header, columns)) & set(REQUIRED)), len(header)

    return max(SEPARATORS, key=rank)


def _cells(text: str, separator: str) -> list[str]:
    first = io.StringIO(text, newline="")
    reader = csv.reader(first, delimiter=separator, strict=True, skipinitialspace=True)
    return [cell.strip() for cell in next(reader, [])]


def _known(header: Sequence[str], columns: Mapping[str, str | None]) -> dict[str, str]:
    """Role -> the name of its column: the one in `columns`, or the surest that there is."""
    usual = {_plain(cell): cell for cell in reversed(header)}
    known: dict[str, str] = {}
    for role, choices in COLUMNS.items():
        given = columns.get(role)
        named = [cell for cell in header if given and cell.casefold() == given.strip().casefold()]
        found = named if given else [usual[choice] for choice in choices if choice in usual]
        known |= {role: found[0]} if found else {}
    return known


def _roles(source: str, header: Sequence[str], columns: Mapping[str, str | None]) -> dict[str, int]:
    """Role -> the place of its column."""
    known = _known(header, columns)
    for role, given in columns.items():
        if given and role not in known:
            raise GraftError(
                f"config: options.columns.{role} is {given!r}, which is no column of {source}. "
                f"{nearest(given, header)}"
            )
    for role, name in known.items():
        if header.count(name) > 1:
            raise bad_line(source, 1, f"names the column {name} of the {role} twice")
    return {role: header.index(name) for role, name in known.items()}


def _without(
    source: str, header: Sequence[str], separator: str, lacking: Sequence[str]
) -> GraftError:
    shown = ", ".join(header) or "none"
    example = ", ".join(f"{role}: ..." for role in lacking)
    first = " The first line has to be a header." if any(map(is_picture, header)) else ""
    return GraftError(
        f"{source}: line 1 names the columns {shown} (divided by {separator!r}), and none of them "
        f"has a usual name of the {' or the '.join(lacking)}.{first} Name it by options.columns, "
        f"such as {{{example}}}, or another separator by options.separator."
    )


def _line(
    source: str, number: int, cells: Mapping[str, str], *, multi: bool, splits: Options
) -> Line:
    path = _DRIVE.sub("", cells["path"].replace("\\", "/"))  # as Windows writes paths
    label = joined(names(cells["label"])) if multi else cells["label"]
    if reason := objection(path.lstrip("/")):
        raise bad_line(source, number, f"has the path {path!r}, which {reason}")
    if not label and not multi:
        raise bad_line(source, number, f"has no label for {path!r}")
    given = split_names.named(splits)
    try:
        split = "" if given == {} else split_names.split(cells.get("split", ""), given or {})
    except ValueError as error:
        raise bad_line(source, number, str(error)) from None
    path = ("/" if path.startswith("/") else "") + normal(path.lstrip("/"))
    return Line(number, path, label, cells.get("group", ""), split)


def _plain(cell: str) -> str:
    return re.sub(r"[\W_]+", "", cell.casefold())
