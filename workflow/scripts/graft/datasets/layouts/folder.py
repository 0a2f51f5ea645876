"""A folder for each class, or a table of the pictures' classes, in one tar.

    root/<class>/...                     pictures at any depth below the class
    root/{train,val,test}/<class>/...    published splits
    path,label[,group][,split]           a table, in the archive or beside it

With the label `classes` a cell of the table holds any number of classes, divided by "|". See
`class_folders` for the folders, `label_tables` for the tables and `picture_names` for how their
names may differ from those of the pictures.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from graft.core.errors import GraftError, nearest, unreadable
from graft.datasets import class_folders, label_tables, picture_names
from graft.datasets.class_folders import SHOWN, Classes, Tree
from graft.datasets.label_tables import Line, bad_line
from graft.datasets.samples import LAYOUTS, Note, wrong_files
from graft.datasets.split_names import Options
from graft.datasets.table import Candidate
from graft.download.archives import (
    Archive,
    Member,
    by_name,
    counted,
    ending,
    is_label_table,
    is_picture,
)

MISSING = 0.1
"""From this share of a table's lines on, missing pictures are an error."""

Rows = Iterator[Candidate | Note]


@LAYOUTS.register("folder")
def rows(
    archives: Mapping[str, Path],
    *,
    label: str,
    table: str | None,
    group: str | None,
    splits: Options,
    columns: Mapping[str, str | None],
    separator: str | None,
    allow_missing: bool,
) -> Rows:
    """The pictures in archive order, or in the table's and then those that it lacks.

    Other files and hidden ones are skipped. A picture in no class folder is dropped (`no_label`, or
    with named `splits` `no_split`), and so is one that is not in the table (`not_listed`).

    `table` names a table in the archive; one beside it is read without the option, and so is the
    only one in the archive that fits, where there are no two class folders. Its columns may be in
    any order; its paths start from its folder, or from the archive's top or root. `columns` and
    `separator` are those of `label_tables.read`.

    `group` is a regular expression with one group, searched for in the file's name: pictures for
    which that matches the same text have one group. Without a match and without a group in the
    table, each picture is a group of its own.

    Raises GraftError for `files` other than one tar and at most one table, for a class folder
    without a picture, for folders that may be splits (see `class_folders.classes`), for a table
    that is not as above, for one of which more than MISSING of the lines name no picture, unless
    `allow_missing`, and for a `group` that has not one group or matches nothing.
    """
    tars = [name for name in archives if name.endswith(".tar")]
    tables = [name for name in archives if is_label_table(name)]
    if len(tars) != 1 or len(tables) > 1 or len(archives) > len(tars + tables):
        raise wrong_files("folder", "one tar archive and at most one .csv table", archives)
    if tables and table is not None:
        raise GraftError(
            f"config: options.table is {table!r}, but the data set's `files` have the table "
            f"{tables[0]}. Remove one of them."
        )
    contents = _Contents(archives[tars[0]])
    pattern = None if group is None else _pattern(group, contents)
    classes = Classes(())
    if not tables and table is None:
        if label != "classes":
            classes = class_folders.classes(Tree(contents.pictures), contents.path, splits)
        table, note = _unnamed_table(contents, classes)
        yield from note
    if tables or table is not None:

        def read(source: str, data: bytes) -> label_tables.Table:
            return label_tables.read(
                source,
                data,
                multi=label == "classes",
                columns=columns,
                separator=separator,
                splits=splits,
            )

        path = archives[tables[0]] if table is None else None
        listed = _beside(path, read) if path else _inside(contents, str(table), read)
        candidates = _by_table(tars[0], contents, listed, allow_missing=allow_missing)
    elif label == "classes":
        raise GraftError(
            f"{contents.path}: pictures of several classes need a table of their labels. Add a "
            f".csv file to `files`, or name one in the archive by options.table{_tables(contents)}."
        )
    else:
        candidates = _by_folder(tars[0], contents, classes)
    yield from _grouped(candidates, pattern, contents.path)


class _Contents:
    """The contents of an archive: `files` by name; of these, without hidden ones, the `pictures`
    and the `tables`; the `folders`, whose names end with "/"; and `root`, the folder of all
    pictures in folders, or ""."""

    def __init__(self, path: Path):
        self.path = path
        self.files: dict[str, Member] = {}
        self.pictures: list[str] = []
        self.folders: list[str] = []
        others: Counter[str] = Counter()
        for member in by_name(path, folders=True).values():
            hidden = _is_hidden(member.name)
            if member.name.endswith("/"):
                self.folders += [] if hidden else [member.name]
                continue
            self.files[member.name] = member
            if is_picture(member.name) and not hidden:
                self.pictures.append(member.name)
            elif not hidden and not is_label_table(member.name):
                others[ending(member.name)] += 1
        if others:
            print(f"{path}: no pictures, passed over: {counted(others)}")
        self.tables = [n for n in self.files if is_label_table(n) and not _is_hidden(n)]
        self.root = Tree(self.pictures).single("") or ""


def _by_folder(archive: str, contents: _Contents, classes: Classes) -> Iterator[Candidate]:
    filled = {label for name in contents.pictures if (label := classes.of(name))}
    if not filled:
        raise GraftError(
            f"{contents.path}: it has no class folder with pictures. Sort the pictures into a "
            "folder for each class, or add a table of their labels, or name one in the archive by "
            f"options.table{_tables(contents)}."
        )
    for name in contents.folders:
        if classes.is_class(name) and classes.of(name) not in filled:
            raise GraftError(
                f"{contents.path}: the class folder {name} has no picture. Add some, or remove it."
            )
    for name in contents.pictures:
        label = classes.of(name)
        if label is None:
            yield Candidate(archive, name, drop_reason=classes.otherwise)
        else:
            yield Candidate(archive, name, label=label[0], split=label[1])


def _unnamed_table(contents: _Contents, classes: Classes) -> tuple[str | None, list[Note]]:
    """The table in the archive that is read although the config names none, and what to note."""
    if not contents.tables:
        return None, []
    labels = {label[0] for name in contents.pictures if (label := classes.of(name))}
    if len(labels) > 1:
        return None, [
            Note(
                f"{contents.path}: the classes are its folders. To read a table of labels instead, "
                f"name it by options.table{_tables(contents)}."
            )
        ]
    with Archive(contents.path) as file:
        read = {name: file.read(*contents.files[name][1:]) for name in contents.tables}
    fitting = [name for name, data in read.items() if label_tables.fits(data)]
    if len(fitting) != 1:
        return None, []
    return fitting[0], [
        Note(
            f"{contents.path}: it has no folders of two classes, so labels are those of its table "
            f"{fitting[0]}."
        )
    ]


def _tables(contents: _Contents) -> str:
    return f" (it holds {', '.join(contents.tables[:SHOWN])})" if contents.tables else ""


class _Table(NamedTuple):
    """A table: its name in messages, its folder in the archive, its lines and unused columns."""

    source: str
    folder: str
    lines: list[Line]
    unused: list[str]


def _by_table(archive: str, contents: _Contents, table: _Table, *, allow_missing: bool) -> Rows:
    starts = list(dict.fromkeys((table.folder, "", contents.root)))
    paths = [line.path for line in table.lines]
    front = picture_names.above(paths, contents.pictures, starts)
    paths = [path.removeprefix(front).lstrip("/") for path in paths]
    found = picture_names.matches(paths, contents.files, contents.pictures, starts)
    numbers: dict[str, int] = {}
    for line, path, match in zip(table.lines, paths, found, strict=True):
        name = match.file if match else starts[0] + path
        if name in numbers:
            problem = f"names {line.path!r} again, after line {numbers[name]}"
            raise bad_line(table.source, line.number, problem)
        numbers[name] = line.number
    for sentence in _of_names(contents, table, front, found, allow_missing=allow_missing):
        yield Note(f"{table.source}: {sentence}")
    for name, line in zip(numbers, table.lines, strict=True):
        yield Candidate(archive, name, label=line.label, group=line.group, split=line.split)
    for name in contents.pictures:
        if name not in numbers:
            yield Candidate(archive, name, drop_reason="not_listed")


def _of_names(
    contents: _Contents,
    table: _Table,
    front: str,
    found: list[picture_names.Match | None],
    *,
    allow_missing: bool,
) -> Iterator[str]:
    """Sentences on columns and names; GraftError where too many pictures are missing."""
    lines, source, total = table.lines, table.source, len(found)
    known = {match.file for match in found if match}
    unlisted = [name for name in contents.pictures if name not in known]
    missing = [line for line, match in zip(lines, found, strict=True) if match is None]
    if len(missing) == total:
        raise GraftError(
            f"{source}: none of its pictures, such as {lines[0].path!r}, is in "
            f"{contents.path}, whose first one is {next(iter(contents.pictures), 'none')!r}. "
            "Correct the paths."
        )
    if len(missing) > MISSING * total and not allow_missing:
        others = [
            f"; {len(unlisted):,} of its pictures, such as {name!r}, are in no line"
            for name in unlisted[:1]
        ]
        raise GraftError(
            f"{source}: {len(missing):,} of its {total:,} lines, such as line {missing[0].number} "
            f"({missing[0].path!r}), name no picture of {contents.path}{''.join(others)}. Correct "
            "the paths, or set options.allow_missing to true to drop these lines."
        )
    if table.unused:
        yield f"the columns {', '.join(table.unused[:SHOWN])} are not used (see options.columns)."
    if front:
        yield f"its paths are read without {front!r} in front."
    differing = Counter(match.differs for match in found if match and match.differs)
    for differs, number in differing.items():
        line, match = next(
            (line, match)
            for line, match in zip(lines, found, strict=True)
            if match and match.differs == differs
        )
        yield (
            f"{number:,} of its {total:,} names are those of pictures but for the {differs}, such "
            f"as {line.path!r} ({match.file})."
        )
    if missing:
        yield (
            f"{len(missing):,} of its {total:,} lines name no picture (missing_file), such as line "
            f"{missing[0].number} ({missing[0].path!r})."
        )
    if unlisted:
        yield (
            f"it lacks {len(unlisted):,} of the {len(contents.pictures):,} pictures (not_listed), "
            f"such as {unlisted[0]!r}."
        )


Read = Callable[[str, bytes], label_tables.Table]


def _beside(path: Path, read: Read) -> _Table:
    try:
        return _Table(str(path), "", *read(str(path), path.read_bytes()))
    except OSError as error:
        raise unreadable(path, error) from error


def _inside(contents: _Contents, table: str, read: Read) -> _Table:
    name = next((n for n in (table, f"{contents.root}{table}") if n in contents.files), None)
    if name is None:
        raise GraftError(
            f"{contents.path}: it has no file {table!r}, which options.table names. "
            f"{nearest(table, contents.tables, cutoff=0.3)}"
        )
    source, folder = f"{contents.path}: {name}", f"{posixpath.dirname(name)}/".lstrip("/")
    _, offset, size = contents.files[name]
    with Archive(contents.path) as archive:
        return _Table(source, folder, *read(source, archive.read(offset, size)))


def _grouped(candidates: Rows, pattern: re.Pattern[str] | None, source: Path) -> Rows:
    """The candidates with the groups of their names; a note where only some have one."""
    alone: list[str] = []
    kept = 0
    for candidate in candidates:
        if isinstance(candidate, Note) or pattern is None:
            yield candidate
            continue
        group = candidate.group or _match(pattern, candidate.member)
        if not candidate.drop_reason:
            kept += 1
            alone += [] if group else [candidate.member]
        yield candidate._replace(group=group)
    if pattern is not None and alone:
        yield Note(
            f"{source}: options.group ({pattern.pattern!r}) gives {kept - len(alone):,} of "
            f"{kept:,} pictures a group; each of the other {len(alone):,}, such as {alone[0]!r}, "
            "is its own."
        )


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


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
