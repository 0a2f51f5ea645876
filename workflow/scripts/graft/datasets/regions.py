"""regions.csv: where in the kept pictures of a data set the published objects are.

One row for each object of each kept sample, samples as in data_file.csv and objects as published:

    sample_id       as in data_file.csv
    label           the object's class, by its name after `classes`
    x1 y1 x2 y2     its box in pixels of the published picture, from 0, the last ones excluded
    difficult       1 if the publisher calls it hard to recognise, else 0
    truncated       1 if it extends beyond the box, else 0

A sample without objects has no row. UTF-8, Unix newlines, quoted as data_file.csv is.
"""

import math
import os
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import pandas as pd

from graft.config.datasets import Classes
from graft.config.stages import RegionsSettings
from graft.core.errors import damaged
from graft.core.files import atomic
from graft.datasets import annotations, table
from graft.datasets.annotations import Object
from graft.datasets.relabel import renamed
from graft.download.archives import Archive, by_name

EDGES = ("x1", "y1", "x2", "y2")
FLAGS = ("difficult", "truncated")
TYPES = {
    "sample_id": "str",
    "label": "str",
    **dict.fromkeys(EDGES, "float64"),
    **dict.fromkeys(FLAGS, "bool"),
}
COLUMNS = tuple(TYPES)

_Key = tuple[str, str]
"""A picture in a data set's kits: the root, and its id (see `annotations.place`)."""


class Counts(TypedDict):
    """`samples` are the kept ones, of which `empty` have no object; `objects` are rows by label;
    `clipped` are those whose published box stuck out of the picture."""

    samples: int
    empty: int
    objects: dict[str, int]
    difficult: int
    truncated: int
    clipped: int


def collect(
    frame: pd.DataFrame, settings: RegionsSettings, archives: Mapping[str, Path]
) -> tuple[pd.DataFrame, Counts]:
    """The regions of the kept rows of data_file.csv, as `read` returns them, and their counts.

    `archives` is as `archives.named` gives it; each is read once. Classes are renamed and left out
    as `samples.samples` does it. Raises GraftError for a kept row without a whole annotation.
    """
    kept = frame[frame["drop_reason"] == ""]
    wanted: dict[str, dict[_Key, list[Object] | None]] = {name: {} for name in settings.members}
    rows: list[tuple[str, str, _Key]] = []
    for identity, archive, member in zip(
        kept["sample_id"], kept["archive"], kept["member"], strict=True
    ):
        place = annotations.place(member)
        if place is None:
            raise damaged("data_file.csv", f"{member!r} is no picture of VOC's", "structure")
        name = posixpath.dirname(archive) if settings.merged else next(iter(settings.members))
        wanted[name][place.root, place.name] = None
        rows.append((identity, name, (place.root, place.name)))
    for name, found in wanted.items():
        prefix = f"{name}/" if settings.merged else ""
        own = [path for archive, path in archives.items() if archive.startswith(prefix)]
        _find(found, own, [settings.members[name], settings.classes])
    return _table(rows, wanted)


def write(path: str | os.PathLike, frame: pd.DataFrame) -> None:
    """Write rows (as `collect` and `read` return them), whole or not at all."""
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        for identity, label, *rest in frame[list(COLUMNS)].itertuples(index=False):
            edges = [repr(edge).removesuffix(".0") for edge in map(float, rest[:4])]
            flags = [str(int(flag)) for flag in rest[4:]]
            file.write(",".join([identity, table.quoted(label), *edges, *flags]) + "\n")


def read(path: str | os.PathLike) -> pd.DataFrame:
    """Read the file into a frame of `TYPES`. Raises GraftError for one not in this format."""
    return table.read_frame(path, TYPES, _checked, what="regions", stage="regions")


def _find(
    found: dict[_Key, list[Object] | None], archives: Sequence[Path], classes: Sequence[Classes]
) -> None:
    """Set the objects of the pictures, by their new classes."""
    for path in archives:
        with Archive(path) as archive:
            for member in by_name(path).values():
                place = annotations.place(member.name)
                if place is None or (place.folder, place.suffix) != ("Annotations", "xml"):
                    continue
                key = (place.root, place.name)
                if key in found:
                    data = archive.read(member.offset, member.size)
                    parsed = annotations.parse(data, f"{path}: {member.name}")
                    found[key] = list(_relabelled(parsed.objects, classes))


def _relabelled(objects: Sequence[Object], classes: Sequence[Classes]) -> Iterator[Object]:
    for item in objects:
        label: str | None = item.label
        for step in classes:
            label = None if label is None else renamed(label, step)
        if label is not None:
            yield item._replace(label=label)


def _table(
    rows: Sequence[tuple[str, str, _Key]],
    found: Mapping[str, Mapping[_Key, Sequence[Object] | None]],
) -> tuple[pd.DataFrame, Counts]:
    listed: list[tuple[str, Object]] = []
    empty = 0
    for identity, name, key in rows:
        objects = found[name][key]
        if objects is None:
            problem = f"it keeps {''.join(key)!r}, which has no annotation"
            raise damaged("data_file.csv", problem, "structure")
        empty += not objects
        listed += [(identity, item) for item in objects]
    frame = pd.DataFrame(
        [(i, item.label, *item.box, item.difficult, item.truncated) for i, item in listed],
        columns=list(COLUMNS),
    ).astype(TYPES)
    counts: Counts = {
        "samples": len(rows),
        "empty": empty,
        "objects": dict(sorted(Counter(item.label for _, item in listed).items())),
        "difficult": int(frame["difficult"].sum()),
        "truncated": int(frame["truncated"].sum()),
        "clipped": sum(item.clipped for _, item in listed),
    }
    return frame, counts


def _checked(row: Sequence[str], line: int) -> tuple[str | float | bool, ...]:
    """The typed cells of a row; ValueError for a row that `write` cannot write."""
    if len(row) != len(COLUMNS):
        raise ValueError(f"line {line} has {len(row)} cells")
    edges, flags = [float(cell) for cell in row[2:6]], row[6:]
    x1, y1, x2, y2 = edges
    if not (0 <= x1 < x2 < math.inf and 0 <= y1 < y2 < math.inf):
        raise ValueError(f"line {line} has no box")
    if not row[0] or not row[1] or not set(flags) <= {"0", "1"}:
        raise ValueError(f"line {line} is no region")
    return (*row[:2], *edges, *(flag == "1" for flag in flags))
