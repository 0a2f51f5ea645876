"""A folder for each class, or a table of the pictures' classes, in one tar.

    root/<class>/...                     pictures at any depth below the class
    root/{train,val,test}/<class>/...    published splits
    path,label[,group][,split]           a table (CSV), in the archive or beside it

With the label `classes` a cell of the table holds any number of classes, divided by "|".

There may be no root. The split val may also be called valid, validation or dev.
"""

import csv
import functools
import io
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from graft.core.errors import GraftError, nearest, unreadable
from graft.datasets import class_folders
from graft.datasets.class_folders import Tree
from graft.datasets.label_sets import joined, names
from graft.datasets.samples import LAYOUTS, wrong_files
from graft.datasets.split_names import Options
from graft.datasets.table import Candidate
from graft.download.archives import Archive, Member, contents, is_picture, normal, objection

COLUMNS = ("path", "label", "group", "split")
SPLITS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("val", "valid", "validation", "dev"), "val"
)


@LAYOUTS.register("folder")
def rows(
    archives: Mapping[str, Path],
    *,
    label: str,
    table: str | None,
    group: str | None,
    splits: Options,
) -> Iterator[Candidate]:
    """The pictures in archive order, or in the table's and then those that it lacks.

    Other files and hidden ones are skipped. A picture in no class folder is dropped (`no_label`),
    and so is one that is not in the table (`not_listed`).

    `table` names a table in the archive; one beside it is read without the option. Its columns may
    be in any order; its paths start from its folder, or from the archive's top or root.

    `group` is a regular expression with one group, searched for in the file's name: pictures for
    which that matches the same text have one group. Without a match and without a group in the
    table, each picture is a group of its own.

    Raises GraftError for `files` other than one tar and at most one table, for a class folder
    without a picture, for folders of which only some are named like splits, for a table that is not
    as above, and for a `group` that has not one group or matches nothing.
    """
    tars = [name for name in archives if name.endswith(".tar")]
    tables = [name for name in archives if name.lower().endswith(".csv")]
    if len(tars) != 1 or len(tables) > 1 or len(archives) > len(tars + tables):
        raise wrong_files("folder", "one tar archive and at most one .csv table", archives)
    if tables and table is not None:
        raise GraftError(
            f"config: options.table is {table!r}, but the data set's `files` have the table "
            f"{tables[0]}. Remove one of them."
        )
    contents = _Contents(archives[tars[0]])
    pattern = None if group is None else _pattern(group, contents)
    if tables or table is not None:
        read = functools.partial(_lines, multi=label == "classes")
        path = archives[tables[0]] if table is None else None
        listed = _beside(path, read) if path else _inside(contents, str(table), read)
        candidates = _by_table(tars[0], contents, listed)
    elif label == "classes":
        raise GraftError(
            f"{contents.path}: pictures of several classes need a table of their labels. Add a "
            ".csv file to `files`, or name one in the archive by options.table."
        )
    else:
        candidates = _by_folder(tars[0], contents, splits)
    for candidate in candidates:
        matched = _match(pattern, candidate.member) if pattern else ""
        yield candidate._replace(group=candidate.group or matched)


class _Contents:
    """The contents of an archive: `files` by name; of these, without hidden ones, the `pictures`;
    the `folders`, whose names end with "/"; and `root`, the folder of all pictures in folders, or
    ""."""

    def __init__(self, path: Path):
        self.path = path
        self.files: dict[str, Member] = {}
        self.pictures: list[str] = []
        self.folders: list[str] = []
        for member in contents(path, folders=True).values():
            hidden = any(part.startswith(".") for part in member.name.split("/"))
            if member.name.endswith("/"):
                self.folders += [] if hidden else [member.name]
                continue
            self.files[member.name] = member
            if is_picture(member.name) and not hidden:
                self.pictures.append(member.name)
        self.root = Tree(self.pictures).single("") or ""


def _by_folder(archive: str, contents: _Contents, splits: Options) -> Iterator[Candidate]:
    found = class_folders.classes(Tree(contents.pictures), contents.path, splits)
    filled = {label for name in contents.pictures if (label := found.of(name))}
    if not filled:
        raise GraftError(
            f"{contents.path}: it has no class folder with pictures. Sort the pictures into a "
            "folder for each class, or add a table of their labels."
        )
    for name in contents.folders:
        if found.is_class(name) and found.of(name) not in filled:
            raise GraftError(
                f"{contents.path}: the class folder {name} has no picture. Add some, or remove it."
            )
    for name in contents.pictures:
        label = found.of(name)
        if label is None:
            yield Candidate(archive, name, drop_reason=found.otherwise)
        else:
            yield Candidate(archive, name, label=label[0], split=label[1])


class _Line(NamedTuple):
    """A line of a table."""

    number: int
    path: str
    label: str
    group: str
    split: str


class _Table(NamedTuple):
    """A table: its name in messages, its folder in the archive, and its lines."""

    source: str
    folder: str
    lines: list[_Line]


def _by_table(archive: str, contents: _Contents, table: _Table) -> Iterator[Candidate]:
    starts = dict.fromkeys((table.folder, "", contents.root))
    numbers: dict[str, int] = {}
    for line in table.lines:
        names = [start + line.path for start in starts]
        name = next((name for name in names if name in contents.files), names[0])
        if name in numbers:
            problem = f"names {line.path!r} again, after line {numbers[name]}"
            raise _bad_line(table.source, line.number, problem)
        numbers[name] = line.number
    if not any(name in contents.files for name in numbers):
        first = next(iter(contents.pictures), "none")
        raise GraftError(
            f"{table.source}: none of its pictures, such as {table.lines[0].path!r}, is in "
            f"{contents.path}, whose first one is {first!r}. Correct the paths."
        )
    for name, line in zip(numbers, table.lines, strict=True):
        yield Candidate(archive, name, label=line.label, group=line.group, split=line.split)
    for name in contents.pictures:
        if name not in numbers:
            yield Candidate(archive, name, drop_reason="not_listed")


Read = Callable[[str, bytes], list[_Line]]


def _beside(path: Path, read: Read) -> _Table:
    try:
        return _Table(str(path), "", read(str(path), path.read_bytes()))
    except OSError as error:
        raise unreadable(path, error) from error


def _inside(contents: _Contents, table: str, read: Read) -> _Table:
    name = next((n for n in (table, f"{contents.root}{table}") if n in contents.files), None)
    if name is None:
        tables = [name for name in contents.files if name.lower().endswith(".csv")]
        raise GraftError(
            f"{contents.path}: it has no file {table!r}, which options.table names. "
            f"{nearest(table, tables, cutoff=0.3)}"
        )
    source, folder = f"{contents.path}: {name}", f"{posixpath.dirname(name)}/".lstrip("/")
    _, offset, size = contents.files[name]
    with Archive(contents.path) as archive:
        return _Table(source, folder, read(source, archive.read(offset, size)))


def _lines(source: str, data: bytes, *, multi: bool) -> list[_Line]:
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise GraftError(f"{source}: it is not UTF-8 text ({error}). Save it as UTF-8.") from error
    reader = csv.reader(text, strict=True, skipinitialspace=True)
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        if not {"path", "label"} <= set(header) <= set(COLUMNS) or len(set(header)) < len(header):
            problem = (
                f"names the columns {', '.join(header) or 'none'}, not path, label and, if any, "
            )
            raise _bad_line(source, 1, problem + "group and split")
        lines = []
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                if len(cells) != len(header):
                    problem = f"has {len(cells)} cells, not {len(header)}"
                    raise _bad_line(source, reader.line_num, problem)
                values = dict(zip(header, cells, strict=True))
                lines.append(_line(source, reader.line_num, values, multi=multi))
    except csv.Error as error:
        raise _bad_line(source, reader.line_num, f"is not CSV ({error})") from error
    if not lines:
        raise GraftError(f"{source}: it lists no picture. Add a line for each.")
    return lines


def _line(source: str, number: int, cells: Mapping[str, str], *, multi: bool) -> _Line:
    path = cells["path"].replace("\\", "/")  # as Windows writes paths; members have none
    split = cells.get("split", "").lower()
    if reason := objection(path):
        raise _bad_line(source, number, f"has the path {path!r}, which {reason}")
    label = joined(names(cells["label"])) if multi else cells["label"]
    if not label and not multi:
        raise _bad_line(source, number, f"has no label for {path!r}")
    if split and split not in SPLITS:
        problem = f"has the split {split!r}, which is none of {', '.join(SPLITS)}"
        raise _bad_line(source, number, problem)
    path, split = normal(path), SPLITS.get(split, "")
    return _Line(number, path, label, cells.get("group", ""), split)


def _bad_line(source: str, number: int, problem: str) -> GraftError:
    return GraftError(f"{source}: line {number} {problem}. Correct it.")


def _pattern(group: str, contents: _Contents) -> re.Pattern[str]:
    try:
        pattern = re.compile(group)
        if pattern.groups != 1:
            raise ValueError(f"has {pattern.groups} groups in brackets, not 1")
        if not any(_match(pattern, name) for name in contents.pictures):
            raise ValueError(f"matches no file name in {contents.path}")
    except (re.error, ValueError) as error:
        problem = f"is no regular expression ({error})" if isinstance(error, re.error) else error
        raise GraftError(
            f"config: options.group is {group!r}, which {problem}. Correct it."
        ) from error
    return pattern


def _match(pattern: re.Pattern[str], name: str) -> str:
    match = pattern.search(posixpath.basename(name))
    return (match and match[1]) or ""
