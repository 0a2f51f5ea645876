"""data_file.csv: every published sample, where its picture lies, and what becomes of it.

One row for each sample that the publisher lists, kept or dropped with a reason:

    sample_id    16 hex digits that the picture's name (`sample_name`) and its bytes determine
    split        train, val or test; empty for a dropped row
    shard        number of the shard within the split, from 0; empty for a dropped row
    label        the class
    group        the identity: no group stands in two splits
    archive      file name of the archive; in a merged set, after the name of the set it is of
    member       the picture's name in the archive
    offset       where the picture's bytes start in the archive; -1 if it is not there
    size         how many bytes they are; 0 if it is not there
    box          "x1 y1 x2 y2", where the publisher says the face is, in pixels of the picture,
                 from 0; empty if unknown
    drop_reason  empty for a kept row

Kept rows come first, by split and shard and shuffled within each; then the dropped ones in the
order they were published in. The file is UTF-8 with Unix newlines; cells are quoted only where
they must be (RFC 4180).
"""

import csv
import hashlib
import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from graft.core.errors import GraftError
from graft.core.files import atomic
from graft.datasets import containers
from graft.datasets.splits import (
    SPLITS,
    assign_shards,
    check_training,
    complete_splits,
    follow_published,
    shuffle_key,
    within_limit,
)
from graft.download.archives import Archive

COLUMNS = (
    "sample_id",
    "split",
    "shard",
    "label",
    "group",
    "archive",
    "member",
    "offset",
    "size",
    "box",
    "drop_reason",
)
INTEGERS = ("shard", "offset", "size")


@dataclass(slots=True)
class Candidate:
    """A published sample as a layout describes it; see the columns above.

    `archive` is a key of the archives that the layout was given. `split` is the publisher's
    own, empty where there is none. A row that is not dropped needs a label and a group.
    """

    archive: str
    member: str
    label: str = ""
    group: str = ""
    box: str = ""
    drop_reason: str = ""
    split: str = ""


def sample_id(member: str, data: bytes | None) -> str:
    """A picture's id, from its name in the archive and its bytes.

    The first 16 hex digits of sha256 over name, NUL and bytes, or over the name alone for a
    picture that the archive lacks (None).
    """
    digest = hashlib.sha256(member.encode())
    if data is not None:
        digest.update(b"\0")
        digest.update(data)
    return digest.hexdigest()[:16]


def sample_name(archive: str, member: str) -> str:
    """The name that a picture's id is made from: the member's, in a merged set after that of the
    set it comes from, since two sets may hold the same picture under the same name; and where
    that name is only a number, after the archive's."""
    place = archive if containers.is_numbered(archive) else posixpath.dirname(archive)
    return posixpath.join(place, member)


def check_sample(expected: str, member: str, data: bytes) -> None:
    """Raise GraftError if bytes read from an archive are not the picture with this id."""
    if sample_id(member, data) != expected:
        raise GraftError(
            f"{member}: the bytes in the archive are not those of sample {expected} in "
            "data_file.csv; the archive has changed, so run the structure stage again "
            "(-R structure)."
        )


def format_box(x1: float, y1: float, x2: float, y2: float) -> str:
    """A box as data_file.csv writes it: four numbers of pixels, to the hundredth."""
    return " ".join(f"{round(float(edge), 2) + 0.0:.10g}" for edge in (x1, y1, x2, y2))


def write(path: str | os.PathLike, frame: pd.DataFrame) -> None:
    """Write rows (as `build` and `read` return them), whole or not at all."""
    columns = [
        ["" if name == "shard" and value < 0 else str(value) for value in frame[name].tolist()]
        for name in COLUMNS
    ]
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        file.writelines(",".join(map(_quoted, row)) + "\n" for row in zip(*columns, strict=True))


def read(path: str | os.PathLike) -> pd.DataFrame:
    """Read the file into a frame with all `COLUMNS`.

    `shard`, `offset` and `size` are int64 (a dropped row's shard is -1), all others strings,
    never missing and never converted: labels such as "007" and "NA" stay what they are. Raises
    GraftError for a file that is not in this format.
    """
    columns: list[list] = [[] for _ in COLUMNS]
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.reader(file, strict=True)
            if tuple(next(rows, ())) != COLUMNS:
                raise ValueError(f"its header is not {','.join(COLUMNS)}")
            for row in rows:
                _check_row(row, rows.line_num)
                for column, value in zip(columns, row, strict=True):
                    column.append(value)
    except OSError as error:
        raise GraftError(
            f"{path}: cannot be read ({error.strerror}); run the structure stage (all_structure)."
        ) from error
    except (ValueError, csv.Error) as error:
        raise GraftError(
            f"{path}: not a data file of this version ({error}); run the structure stage again "
            "(-R structure)."
        ) from error
    return _frame(dict(zip(COLUMNS, columns, strict=True)))


def kept(frame: pd.DataFrame, split: str, shard: int) -> pd.DataFrame:
    """The rows of one part, in their order, with a fresh index."""
    chosen = (frame["drop_reason"] == "") & (frame["split"] == split) & (frame["shard"] == shard)
    return frame[chosen].reset_index(drop=True)


def classes(frame: pd.DataFrame) -> list[str]:
    """The labels of the kept rows, sorted: a class's place in this list is its number."""
    return sorted(set(frame.loc[frame["drop_reason"] == "", "label"]))


def build(
    candidates: Iterable[Candidate],
    archives: Mapping[str, str | os.PathLike],
    *,
    split: Mapping[str, float],
    shards: Mapping[str, int],
    limit: int | Mapping[str, int] | None = None,
    dataset: str = "*",
) -> tuple[pd.DataFrame, dict]:
    """Turn a layout's candidates into data_file.csv's rows, and count them.

    `split` holds the fractions `train`, `val` and `test`, and `seed`, which draws every
    shuffle; `shards` holds each split's number of shards; `limit` is as for `within_limit`.
    Each archive is read once, front to back, one picture at a time; what stays in memory is a
    small record for each row. Reasons added to the layout's: `missing_file` (not in the
    archive; it replaces any other), `unreadable` (of no bytes), `over_limit`, and beside
    published splits `duplicate_of_test`, `duplicate_of_val` and `between_splits` (see
    `splits.follow_published`; how the rows that are left without a split get theirs, see
    `splits.complete_splits`).

    Two pictures are the same if their bytes are, or their pixels where a container holds those
    instead of image files (see `containers`).

    Returns the frame (see `read`) and the counts {"published": n, "kept": n, "dropped":
    {reason: n}, "splits": {split: {label: n}}, "duplicates": n}; duplicates are the rows fit
    for a split whose picture is the same as an earlier one's. Raises GraftError for unusable
    archives or splits, and if no sample is left, or samples of one class only.
    """
    rows = [
        _Row(c.archive, c.member, c.label, c.group, c.box, c.drop_reason, c.split)
        for c in candidates
    ]
    _locate(rows, archives, dataset)
    kept_rows = _not_dropped(rows, dataset)
    duplicates = len(kept_rows) - len({row.content for row in kept_rows})
    _split(kept_rows, split, dataset)
    kept_rows = _not_dropped(rows, dataset)
    _limit(kept_rows, limit, split["seed"], dataset)
    kept_rows = _not_dropped(rows, dataset)
    _shard(kept_rows, shards, split["seed"], dataset)
    if len(found := {row.label for row in kept_rows}) < 2:
        raise GraftError(
            f"datasets.{dataset}: all samples that are left are of the class {found.pop()!r}, and "
            f"there is nothing to tell apart; correct datasets.{dataset}.classes, label or files."
        )

    dropped_rows = [row for row in rows if row.drop_reason]
    for row in dropped_rows:
        row.split = ""
    kept_rows.sort(
        key=lambda row: (
            SPLITS.index(row.split),
            row.shard,
            shuffle_key("shuffle", split["seed"], row.sample_id),
        )
    )
    ordered = kept_rows + dropped_rows
    frame = _frame({name: [getattr(row, name) for row in ordered] for name in COLUMNS})
    labels = Counter((row.split, row.label) for row in kept_rows)
    counts = {
        "published": len(rows),
        "kept": len(kept_rows),
        "dropped": dict(sorted(Counter(row.drop_reason for row in dropped_rows).items())),
        "splits": {
            name: {label: n for (where, label), n in sorted(labels.items()) if where == name}
            for name in SPLITS
        },
        "duplicates": duplicates,
    }
    return frame, counts


@dataclass(slots=True)
class _Row(Candidate):
    """A row in the making; `content` is the sha256 of the picture (see `build`)."""

    sample_id: str = ""
    shard: int = -1
    offset: int = -1
    size: int = 0
    content: bytes = b""


def _locate(rows: Sequence[_Row], archives: Mapping, dataset: str) -> None:
    """Read each row's picture once, in archive order; set where it lies and its identity."""
    wanted: dict[str, dict[str, _Row]] = {}
    for row in rows:
        if row.archive not in archives:
            raise GraftError(
                f"{row.member}: lies in {row.archive}, which datasets.{dataset}.files does not "
                "list; add it."
            )
        if wanted.setdefault(row.archive, {}).setdefault(row.member, row) is not row:
            raise GraftError(
                f"{archives[row.archive]}: the picture {row.member!r} is published twice; correct "
                "the published list."
            )
    for archive, by_name in wanted.items():
        _read_pictures(Path(archives[archive]), by_name)
    seen: set[str] = set()
    for row in rows:
        if row.offset < 0:
            row.sample_id = sample_id(sample_name(row.archive, row.member), None)
            row.drop_reason = "missing_file"
        elif row.size == 0 and not row.drop_reason:
            row.drop_reason = "unreadable"
        if row.sample_id in seen:
            raise GraftError(
                f"{row.member}: two archives of datasets.{dataset} hold this very picture under "
                f"this name; list only one of them in datasets.{dataset}.files."
            )
        seen.add(row.sample_id)


def _read_pictures(path: Path, by_name: Mapping[str, _Row]) -> None:
    with Archive(path) as archive:
        decode = containers.decoder(path)
        for name, offset, size in containers.members(path):
            row = by_name.get(name)
            if row is None:
                continue
            if row.offset >= 0:
                raise GraftError(
                    f"{path}: holds the member {name!r} twice; repack the archive with one of them."
                )
            data = archive.read(offset, size)
            row.offset, row.size = offset, size
            row.sample_id = sample_id(sample_name(row.archive, name), data)
            row.content = hashlib.sha256(decode(data) if decode else data).digest()


def _split(rows: Sequence[_Row], split: Mapping[str, float], dataset: str) -> None:
    """Set each row's split, keeping the published ones and dropping what would straddle them."""
    for row in rows:
        if not row.label or not row.group:
            raise GraftError(
                f"{row.member}: has neither a drop reason nor both a label and a group; correct "
                f"the layout of datasets.{dataset}."
            )
        if row.split and row.split not in SPLITS:
            raise GraftError(
                f"{row.member}: its published split {row.split!r} is none of {', '.join(SPLITS)}; "
                f"correct the published splits of datasets.{dataset}."
            )
    followed = follow_published(*_columns(rows, "split group content"))
    for row, name, reason in zip(rows, *followed, strict=True):
        row.split, row.drop_reason = name, reason
    rows = [row for row in rows if not row.drop_reason]
    found = complete_splits(
        *_columns(rows, "split label group content"),
        fractions=split,
        seed=split["seed"],
        dataset=dataset,
    )
    for row, name in zip(rows, found, strict=True):
        row.split = name


def _columns(rows: Sequence[_Row], names: str) -> list[list]:
    return [[getattr(row, name) for row in rows] for name in names.split()]


def _limit(
    rows: Sequence[_Row], limit: int | Mapping[str, int] | None, seed: int, dataset: str
) -> None:
    labels, splits = [row.label for row in rows], [row.split for row in rows]
    ids = [row.sample_id for row in rows]
    keep = within_limit(labels, splits, ids, limit=limit, seed=seed, dataset=dataset)
    for row, stays in zip(rows, keep, strict=True):
        if not stays:
            row.drop_reason = "over_limit"


def _shard(rows: Sequence[_Row], shards: Mapping[str, int], seed: int, dataset: str) -> None:
    labels, splits = [row.label for row in rows], [row.split for row in rows]
    check_training(labels, splits, dataset=dataset)
    dealt = assign_shards(splits, [row.sample_id for row in rows], shards, seed, dataset=dataset)
    for row, shard in zip(rows, dealt.tolist(), strict=True):
        row.shard = shard


def _not_dropped(rows: Sequence[_Row], dataset: str) -> list[_Row]:
    kept_rows = [row for row in rows if not row.drop_reason]
    if not kept_rows:
        reasons = Counter(row.drop_reason for row in rows).most_common()
        why = ", ".join(f"{n} {reason}" for reason, n in reasons) or "none is published"
        raise GraftError(
            f"datasets.{dataset}: no sample is left ({why}); check datasets.{dataset}.files, label "
            "and options."
        )
    return kept_rows


def _frame(columns: Mapping[str, list]) -> pd.DataFrame:
    integers = dict.fromkeys(INTEGERS, "int64")
    return pd.DataFrame(
        {
            name: pd.Series(
                [-1 if value == "" else int(value) for value in values]
                if name in integers
                else values,
                dtype=integers.get(name, "str"),
            )
            for name, values in columns.items()
        }
    )


def _quoted(cell: str) -> str:
    if any(character in cell for character in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _check_row(row: Sequence[str], line: int) -> None:
    """Raise ValueError, naming the line, for a row that `write` cannot have written."""
    if len(row) != len(COLUMNS):
        raise ValueError(f"line {line} has {len(row)} cells")
    cell = dict(zip(COLUMNS, row, strict=True))
    dropped = cell["drop_reason"] != ""
    if (cell["split"] == "" and cell["shard"] == "") != dropped or (
        not dropped and (cell["split"] not in SPLITS or not cell["shard"].isdecimal())
    ):
        raise ValueError(f"line {line} is neither kept nor dropped")
    for name in ("offset", "size"):
        int(cell[name])
