"""data_file.csv: every published sample, where its picture is, and its split or drop reason.

One row for each sample that the publisher lists:

    sample_id    16 hex digits, a digest of the picture's name (`sample_name`) and its bytes
    split        train, val or test; empty for a dropped row
    shard        number of the shard within the split, from 0; empty for a dropped row
    label        the class; where a picture may have several, their names, sorted and joined by
                 "|", and empty for a picture of none
    group        the identity, or 16 hex digits of the picture's sha256: no group is in two splits
    archive      file name of the archive; in a merged set, after the name of its data set
    member       the picture's name in the archive
    offset       where the picture's bytes start in the archive; -1 if it is not there
    size         how many bytes they are; 0 if it is not there
    box          "x1 y1 x2 y2", the published place of the face, in pixels of the picture, from 0;
                 empty if unknown
    drop_reason  empty for a kept row

Kept rows come first, by split and shard and shuffled within each; then the dropped ones in
published order. The file is UTF-8 with Unix newlines; cells are quoted only where they must be (RFC
4180).
"""

import csv
import hashlib
import os
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import dropwhile, takewhile
from typing import NamedTuple

import pandas as pd

from graft.core.errors import damaged
from graft.core.files import atomic
from graft.datasets import containers
from graft.datasets.splits import SPLITS

INTEGERS = ("shard", "offset", "size")
TYPES = {
    name: "int64" if name in INTEGERS else "str"
    for name in (
        *("sample_id", "split", "shard", "label", "group", "archive", "member"),
        *("offset", "size", "box", "drop_reason"),
    )
}
COLUMNS = tuple(TYPES)


class Candidate(NamedTuple):
    """A published sample as a layout describes it; see the columns above.

    `archive` is a key of the archives that the layout was given. `split` is the publisher's, empty
    where there is none. A row that is not dropped needs a label; one without a group is its own.
    """

    archive: str
    member: str
    label: str = ""
    group: str = ""
    box: str = ""
    drop_reason: str = ""
    split: str = ""


def sample_id(name: str, data: bytes | None) -> str:
    """The first 16 hex digits of sha256 over a picture's name, NUL and bytes; over the name alone
    for a picture that the archive lacks (None)."""
    digest = hashlib.sha256(name.encode())
    if data is not None:
        digest.update(b"\0")
        digest.update(data)
    return digest.hexdigest()[:16]


def sample_name(archive: str, member: str) -> str:
    """The name that `sample_id` hashes: the member's; in a merged set after that of its data set,
    since two sets may hold the same picture under the same name; after the archive's if the
    member's name is only a number."""
    place = archive if containers.is_numbered(archive) else posixpath.dirname(archive)
    return posixpath.join(place, member)


def check_sample(expected: str, name: str, data: bytes) -> None:
    """Raise GraftError if bytes read from an archive are not those of the sample with this id."""
    if sample_id(name, data) != expected:
        raise damaged(
            name, f"the bytes in the archive are not those of sample {expected}", "structure"
        )


def format_box(x1: float, y1: float, x2: float, y2: float) -> str:
    """A box as data_file.csv has it: four numbers of pixels, to the hundredth."""
    return " ".join(f"{round(float(edge), 2) + 0.0:.10g}" for edge in (x1, y1, x2, y2))


def write(path: str | os.PathLike, frame: pd.DataFrame) -> None:
    """Write rows (as `build.build` and `read` return them), whole or not at all."""
    # Not DataFrame.to_csv, which leaves a cell with a carriage return unquoted.
    cells = frame[list(COLUMNS)].astype("str")
    cells.loc[frame["shard"] < 0, "shard"] = ""
    columns = [cells[name].tolist() for name in COLUMNS]
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        file.writelines(",".join(map(quoted, row)) + "\n" for row in zip(*columns, strict=True))


def read_frame(
    path: str | os.PathLike,
    types: Mapping[str, str],
    check: Callable[[list[str], int], Sequence],
    *,
    what: str,
    stage: str,
    chosen: Callable[[Iterable[list[str]]], Iterable[list[str]]] = iter,
) -> pd.DataFrame:
    """A CSV file that a stage wrote, as a frame of these types.

    `check` makes a row of a line's cells and its number, or raises ValueError. `chosen` are the
    lines to make rows of; memory does not grow with the others. GraftError for a file that is not
    `what` it should be.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            lines = csv.reader(file, strict=True)
            if tuple(next(lines, ())) != tuple(types):
                raise ValueError(f"its header is not {','.join(types)}")
            rows = [check(row, lines.line_num) for row in chosen(lines)]
        return pd.DataFrame(rows, columns=list(types)).astype(types)
    except OSError as error:
        raise damaged(path, f"the file cannot be read ({error.strerror})", stage) from error
    except (ValueError, csv.Error) as error:
        raise damaged(path, f"not {what} of this version ({error})", stage) from error


def read(path: str | os.PathLike) -> pd.DataFrame:
    """Read the file into a frame with all `COLUMNS`.

    `shard`, `offset` and `size` are int64 (a dropped row's shard is -1), all others strings, never
    missing and never converted: labels such as "007" and "NA" stay strings. Raises GraftError for a
    file that is not in this format.
    """
    return read_frame(path, TYPES, _checked, what="a data file", stage="structure")


def read_part(path: str | os.PathLike, split: str, shard: int) -> pd.DataFrame:
    """The rows of one part, in their order, as `read` returns them.

    The file is read up to the end of the part, whose rows are together. Memory does not grow with
    the other rows, which are not checked.
    """
    place = [split, str(shard)]

    def of_part(lines: Iterable[list[str]]) -> Iterable[list[str]]:
        return takewhile(
            lambda row: row[1:3] == place, dropwhile(lambda row: row[1:3] != place, lines)
        )

    return read_frame(path, TYPES, _checked, what="a data file", stage="structure", chosen=of_part)


def quoted(cell: str) -> str:
    """A cell as RFC 4180 writes it."""
    if any(character in cell for character in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _checked(row: Sequence[str], line: int) -> list[str]:
    """The cells of a row, -1 for an empty shard; ValueError for a row that `write` cannot write."""
    if len(row) != len(COLUMNS):
        raise ValueError(f"line {line} has {len(row)} cells")
    cells = dict(zip(COLUMNS, row, strict=True))
    is_dropped = cells["split"] == cells["shard"] == "" != cells["drop_reason"]
    is_kept = cells["split"] in SPLITS and cells["shard"].isdecimal() and not cells["drop_reason"]
    if not is_dropped and not is_kept:
        raise ValueError(f"line {line} is neither kept nor dropped")
    return list((cells | {"shard": cells["shard"] or "-1"}).values())
