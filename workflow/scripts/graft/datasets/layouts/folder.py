"""A folder for each class, or a table that says which picture is of which class, in one tar.

    root/<class>/...                pictures at any depth below the class
    root/{train,val,test}/<class>/...   published splits
    path,label[,group][,split]      a table (CSV), in the archive or beside it

There may be no root. The split val may also be called valid, validation or dev.
"""

import csv
import difflib
import io
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from graft.core.errors import GraftError
from graft.datasets.table import Candidate
from graft.download.archives import Archive, Member, is_picture, members, objection

LABELS = ("class",)
COLUMNS = ("path", "label", "group", "split")
SPLITS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("val", "valid", "validation", "dev"), "val"
)


def rows(
    archives: Mapping[str, Path],
    *,
    label: str,
    table: str | None = None,
    group: str | None = None,
) -> Iterator[Candidate]:
    """Yield the pictures in archive order, or in the table's and then those that it lacks.

    Files that are no pictures are passed over, and so are hidden ones. A picture that lies in no
    class folder is dropped (`no_label`), and one that the table does not name (`not_listed`).

    `table` names a table in the archive; one that lies beside it is taken unasked. Its columns
    stand in any order; its paths start from its own folder, or from the archive's top or root.

    `group` is a regular expression with one group, searched for in the file's name: pictures
    where it finds the same text stay together. Where it finds none, without it, and unless the
    table says otherwise, each picture is a group of its own.

    Raises GraftError for another label, for `files` other than one tar and at most one table,
    for a class folder without a picture, for folders of which some are named like splits and
    some are not, for a table that is not as above, and for a `group` that cannot be used.
    """
    if label not in LABELS:
        raise GraftError(
            f"config: the layout folder offers the label {' and '.join(LABELS)}, not {label!r}; "
            "change the dataset's `label`."
        )
    archive, loose = _files(archives, table)
    tree = _Tree(archives[archive])
    pattern = _pattern(group, tree)
    if loose is None and table is None:
        found = _by_folder(archive, tree)
    else:
        found = _by_table(archive, tree, *_table(tree, table, archives.get(loose)))
    for candidate in found:
        candidate.group = candidate.group or _group(pattern, candidate.member)
        yield candidate


class _Tree:
    """What an archive holds: `files` by name, and of these, hidden ones left out, the `pictures`;
    the `folders` that it lists; and `root`, which holds all pictures that lie in a folder, or "".

    Names of folders end with "/".
    """

    def __init__(self, path: Path):
        self.path = path
        self.files: dict[str, Member] = {}
        self.pictures: list[str] = []
        self.folders: list[str] = []
        for member in members(path, folders=True):
            hidden = any(p.startswith(".") or p == "__MACOSX" for p in member.name.split("/"))
            if member.name.endswith("/"):
                self.folders += [] if hidden else [member.name]
                continue
            self.files[member.name] = member
            if is_picture(member.name) and not hidden:
                self.pictures.append(member.name)
        tops = {_head(name) for name in self.pictures} - {""}
        self.root = f"{tops.pop()}/" if len(tops) == 1 else ""


def _by_folder(archive: str, tree: _Tree) -> Iterator[Candidate]:
    top = _top(tree)
    splits = _splits(tree, top)
    depth = 2 if splits else 1  # of the class folders below the top

    def way(name: str) -> tuple[str, ...]:
        """The folders from the top to a class folder or what lies below it; none beside it."""
        return tuple(name[len(top) :].split("/")[:-1][:depth]) if name.startswith(top) else ()

    filled = {way(name) for name in tree.pictures}
    if not any(len(folders) == depth for folders in filled):
        raise GraftError(
            f"{tree.path}: holds no folder with pictures in it, as the layout folder does for each "
            "class; sort the pictures into folders, or add a table of their labels."
        )
    for name in tree.folders:
        folders = way(name)
        if len(folders) == depth and folders not in filled and (not splits or folders[0] in splits):
            raise GraftError(
                f"{tree.path}: the class folder {name} holds no picture; add some, or remove it."
            )
    for name in tree.pictures:
        folders = way(name)
        if len(folders) < depth:
            yield Candidate(archive, name, drop_reason="no_label")
        else:
            split = splits[folders[0]] if splits else ""
            yield Candidate(archive, name, label=folders[-1], split=split)


def _top(tree: _Tree) -> str:
    """The folder that holds the classes or the splits: the root, or the top of the archive."""
    # A folder that is alone is a class if no other lies in it, and it may be the only split.
    if all(_head(name, tree.root) == "" for name in tree.pictures):
        return ""
    alone = SPLITS.get(tree.root[:-1].lower()) == "train"
    return "" if alone and not _splits(tree, tree.root) else tree.root


def _splits(tree: _Tree, top: str) -> dict[str, str]:
    """The split that each folder below `top` is published as; none if they are classes."""
    inner = dict.fromkeys(filter(None, (_head(name, top) for name in tree.pictures)))
    found = {name: SPLITS[name.lower()] for name in inner if name.lower() in SPLITS}
    if "train" not in found.values():
        return {}
    others = [name for name in inner if name not in found]
    if others and len(set(found.values())) > 1:
        raise GraftError(
            f"{tree.path}: beside the splits {', '.join(found)} lies the folder {others[0]}, so "
            "they could as well be classes; move it away, or rename them."
        )
    return {} if others else found


def _head(name: str, folder: str = "") -> str:
    """The first folder on the way from `folder` to a file; "" if it lies there or above."""
    head, slash, _ = name.removeprefix(folder).partition("/")
    return head if slash else ""


class _Listed(NamedTuple):
    """A row of a table."""

    line: int
    path: str
    label: str
    group: str
    split: str


def _by_table(
    archive: str, tree: _Tree, source: str, folder: str, listed: list[_Listed]
) -> Iterator[Candidate]:
    """`source` names the table in messages, `folder` is where in the archive it lies."""
    starts = dict.fromkeys((folder, "", tree.root))
    lines: dict[str, int] = {}
    for row in listed:
        names = [start + row.path for start in starts]
        name = next((name for name in names if name in tree.files), names[0])
        if name in lines:
            raise GraftError(
                f"{source}: line {row.line} names {row.path!r}, which line {lines[name]} did; "
                "remove one of them."
            )
        lines[name] = row.line
    if not any(name in tree.files for name in lines):
        first = next(iter(tree.pictures), "none")
        raise GraftError(
            f"{source}: none of its pictures, such as {listed[0].path!r}, is in {tree.path}, whose "
            f"first one is {first!r}; correct the paths."
        )
    for name, row in zip(lines, listed, strict=True):
        yield Candidate(archive, name, label=row.label, group=row.group, split=row.split)
    for name in tree.pictures:
        if name not in lines:
            yield Candidate(archive, name, drop_reason="not_listed")


def _table(tree: _Tree, table: str | None, loose: Path | None) -> tuple[str, str, list[_Listed]]:
    """The table's name in messages, the folder in the archive that it lies in, and its rows."""
    if loose is not None:
        source, folder = str(loose), ""
        try:
            data = Path(loose).read_bytes()
        except OSError as error:
            raise GraftError(
                f"{loose}: cannot be read ({error.strerror}); fetch it again."
            ) from error
    else:
        name = next((n for n in (table, f"{tree.root}{table}") if n in tree.files), None)
        if name is None:
            tables = [name for name in tree.files if name.lower().endswith(".csv")]
            near = difflib.get_close_matches(str(table), tables, n=1, cutoff=0.3)
            raise GraftError(
                f"{tree.path}: holds no {table!r}, which the option `table` names; "
                + (f"did you mean {near[0]}?" if near else "correct the option or the archive.")
            )
        source, folder = f"{tree.path}: {name}", f"{posixpath.dirname(name)}/".lstrip("/")
        with Archive(tree.path) as archive:
            data = archive.read(*tree.files[name][1:])
    try:
        return source, folder, _parse(source, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise GraftError(f"{source}: is not UTF-8 text ({error}); save it as such.") from error


def _parse(source: str, text: str) -> list[_Listed]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        if not {"path", "label"} <= set(header) <= set(COLUMNS) or len(set(header)) < len(header):
            raise GraftError(
                f"{source}: line 1 names the columns {', '.join(header) or 'none'}, where path and "
                "label are expected, and group and split may stand besides; correct it."
            )
        listed = []
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                if len(cells) != len(header):
                    _refuse(source, reader.line_num, f"has {len(cells)} cells, not {len(header)}")
                listed.append(
                    _listed(source, reader.line_num, dict(zip(header, cells, strict=True)))
                )
    except csv.Error as error:
        _refuse(source, reader.line_num, f"is no CSV ({error})")
    if not listed:
        raise GraftError(f"{source}: lists no picture; add a line for each.")
    return listed


def _listed(source: str, line: int, cells: Mapping[str, str]) -> _Listed:
    path = cells["path"].replace("\\", "/")  # Windows writes paths so; members never hold one
    reason = objection(path)
    if reason:
        _refuse(source, line, f"has the path {path!r}, which {reason}")
    if not cells["label"]:
        _refuse(source, line, f"has no label for {path!r}")
    split = cells.get("split", "").lower()
    if split and split not in SPLITS:
        _refuse(source, line, f"has the split {split!r}, which is none of {', '.join(SPLITS)}")
    group, split = cells.get("group", ""), SPLITS.get(split, "")
    return _Listed(line, posixpath.normpath(path), cells["label"], group, split)


def _refuse(source: str, line: int, what: str) -> None:
    raise GraftError(f"{source}: line {line} {what}; correct it.")


def _files(archives: Collection[str], table: str | None) -> tuple[str, str | None]:
    """The names of the tar, and of the table beside it if there is one."""
    tars = [name for name in archives if name.endswith(".tar")]
    tables = [name for name in archives if name.lower().endswith(".csv")]
    if len(tars) != 1 or len(tables) > 1 or len(archives) > len(tars + tables):
        raise GraftError(
            "config: the layout folder reads one tar archive and at most one .csv table, but the "
            f"dataset's `files` list {', '.join(archives) or 'none'}; correct them."
        )
    if tables and table is not None:
        raise GraftError(
            f"config: the dataset's `files` list the table {tables[0]}, and its option `table` "
            f"names {table!r}; leave one of them out."
        )
    return tars[0], tables[0] if tables else None


def _pattern(group: str | None, tree: _Tree) -> re.Pattern | None:
    if group is None:
        return None
    try:
        pattern = re.compile(group)
        problem = None if pattern.groups == 1 else f"has {pattern.groups} groups in brackets, not 1"
    except (re.error, TypeError) as error:
        problem = f"is no regular expression ({error})"
    if problem is None and not any(_found(pattern, name) for name in tree.pictures):
        problem = f"is found in no file name in {tree.path}"
    if problem:
        raise GraftError(
            f"config: the dataset's option `group` is {group!r}, which {problem}; correct it."
        )
    return pattern


def _group(pattern: re.Pattern | None, name: str) -> str:
    return (pattern and _found(pattern, name)) or name


def _found(pattern: re.Pattern, name: str) -> str:
    found = pattern.search(posixpath.basename(name))
    return (found and found[1]) or ""
