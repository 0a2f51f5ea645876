"""From a layout's candidates to the rows of data_file.csv: pictures read, splits and shards set."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypedDict

import numpy as np
import pandas as pd

from graft.config.splits import Limit, Shards, Split
from graft.core.errors import GraftError
from graft.datasets import containers, duplicates
from graft.datasets.label_sets import alike, by_class
from graft.datasets.splits import (
    SPLITS,
    assign_shards,
    check_splits,
    check_training,
    complete_splits,
    follow_published,
    repeats,
    shuffle_key,
    uneven,
    within_limit,
)
from graft.datasets.table import TYPES, Candidate, sample_id, sample_name
from graft.datasets.thumbnails import Near, Thumbnails
from graft.download.archives import Archive
from graft.download.junk import passed_over


class Counts(TypedDict):
    """Numbers of rows. `dropped` is by reason, `rows` by split, `splits` by split and class (a row
    of several classes counts for each of them, one of none for none); `duplicates` are the rows
    that the layout keeps whose picture is the same as an earlier one's; `conflicts` are those with
    a picture under two labels, `near_duplicates` the kept rows with a near duplicate.
    `dropped_from` is `dropped` by the split that a row had, "" for none. `uneven` are the sentences
    of `splits.uneven`, `notes` those on the classes' names and of `duplicates.notices`."""

    published: int
    kept: int
    dropped: dict[str, int]
    dropped_from: dict[str, dict[str, int]]
    rows: dict[str, int]
    splits: dict[str, dict[str, int]]
    duplicates: int
    conflicts: int
    near_duplicates: int
    uneven: list[str]
    notes: list[str]


def classes(splits: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The classes of the kept rows, sorted, by `Counts.splits`: a class's place in this list is its
    number."""
    return sorted(set().union(*splits.values()))


class Repeated(NamedTuple):
    """The rows of pictures that are there more than once, dropped ones too (see `duplicates`)."""

    conflicts: pd.DataFrame
    near: pd.DataFrame


class _Picture(NamedTuple):
    """Where a picture's bytes are; `content` is the sha256 of its bytes, or of its pixels where a
    container holds those instead of image files."""

    sample_id: str
    offset: int
    size: int
    content: bytes


def build(
    candidates: Iterable[Candidate],
    archives: Mapping[str, str | os.PathLike],
    thumbnails: Thumbnails,
    *,
    split: Split,
    shards: Shards,
    limit: Limit,
    multi: bool = False,
    dataset: str = "*",
) -> tuple[pd.DataFrame, Counts, Repeated]:
    """The rows of data_file.csv (as `table.read` returns them), their counts, and the rows whose
    picture is there more than once.

    Each archive is read once, front to back, one picture at a time; their thumbnails come into
    `thumbnails` unless `split.near_duplicates` is off. Drop reasons added to the layout's:
    `missing_file` (not in the archive; it replaces any other), `unreadable` (no bytes),
    `conflicting_label`, `over_limit`, those of `splits.follow_published`, and `near_duplicate_of_*`
    likewise. `split.seed` draws every shuffle. A sample without a group gets one from its picture's
    content, so copies of a picture share it; groups that share near duplicates become one.

    multi: whether a label holds any number of classes (see `label_sets.names`).

    Raises GraftError for unusable archives or splits, and if no sample is left, or samples of one
    class only (with `multi`: of none).
    """
    of_classes = by_class if multi else pd.DataFrame.copy
    looked = None if split.near_duplicates == "off" else thumbnails
    rows, seed = _located(candidates, archives, dataset, looked), split.seed
    kept = _kept(rows, dataset)
    copies = len(kept) - kept["content"].nunique()
    _check(kept, dataset, multi=multi)
    conflicting = kept.index[duplicates.conflicting(kept) & (not multi)]
    if split.conflicting_labels == "drop":
        rows.loc[conflicting, "drop_reason"] = "conflicting_label"
        kept = _kept(rows, dataset)
    near = thumbnails.near(kept["content"].unique())
    rows["cluster"] = [near.clusters.get(content, -1) for content in rows["content"]]
    grouped = split.near_duplicates == "group" and not near.alike
    if grouped and near.clusters:
        rows.loc[kept.index, "group"] = duplicates.joined_groups(rows.loc[kept.index])
    kept = _kept(rows, dataset)
    published = sorted(set(kept["split"]) - {""})
    rows.loc[kept.index, "split"], rows.loc[kept.index, "drop_reason"] = follow_published(kept)
    fractions = split.fractions
    kept = complete_splits(_kept(rows, dataset), fractions=fractions, seed=seed, dataset=dataset)
    rows.loc[kept.index, "split"] = kept["split"]
    rows.loc[kept.index, "drop_reason"] = repeats(kept)
    kept = kept[rows.loc[kept.index, "drop_reason"] == ""]
    clustered = kept[kept["cluster"] >= 0]
    reasons = pd.Series(repeats(clustered, "cluster", "near_duplicate_of"), clustered.index, "str")
    if grouped:
        rows.loc[clustered.index, "drop_reason"] = reasons
        kept = kept[rows.loc[kept.index, "drop_reason"] == ""]
    check_splits(kept, dataset=dataset)
    check_training(of_classes(kept), dataset=dataset)
    uneven_classes = [] if published else uneven(of_classes(kept), fractions)
    notices = duplicates.notices(
        len(conflicting),
        near,
        kept,
        int((reasons != "").sum()),
        drop=split.conflicting_labels == "drop",
        grouped=grouped,
    )
    limits = limit.model_dump(exclude_none=True)
    keep = within_limit(kept, limit=limits, seed=seed, multi=multi, dataset=dataset)
    rows.loc[kept.index[~keep], "drop_reason"] = "over_limit"
    kept = kept[keep]
    check_training(of_classes(kept), dataset=dataset)
    shard = assign_shards(kept, shards=shards.model_dump(), seed=seed, dataset=dataset)
    kept = _shuffled(kept.assign(shard=shard), seed)
    labels = set(of_classes(kept)["label"])
    if multi and not labels:
        raise GraftError(
            f"datasets.{dataset}: none of the remaining samples is of a class. Correct "
            f"datasets.{dataset}.classes, label or files."
        )
    if len(labels) < 2 and not multi:
        raise GraftError(
            f"datasets.{dataset}: all remaining samples are of the class {labels.pop()!r}. Correct "
            f"datasets.{dataset}.classes, label or files."
        )
    lost = rows[rows["drop_reason"] != ""]
    dropped = lost.assign(split="", shard=-1)
    frame = pd.concat([kept, dropped], ignore_index=True)[list(TYPES)].astype(TYPES)
    counts = Counter(kept["split"])
    listed = Counter(zip(*(of_classes(kept)[key] for key in ("split", "label")), strict=True))
    return (
        frame,
        {
            "published": len(frame),
            "kept": len(kept),
            "dropped": _by_reason(dropped),
            "dropped_from": {
                where: _by_reason(lost[lost["split"] == where])
                for where in ("", *SPLITS)
                if (lost["split"] == where).any()
            },
            "rows": {split: counts[split] for split in SPLITS},
            "splits": {
                split: {label: n for (where, label), n in sorted(listed.items()) if where == split}
                for split in SPLITS
            },
            "duplicates": copies,
            "conflicts": len(conflicting),
            "near_duplicates": int((kept["cluster"] >= 0).sum()),
            "uneven": uneven_classes,
            "notes": [*alike(of_classes(kept)["label"], dataset), *notices],
        },
        _repeated(rows, conflicting, near),
    )


def _by_reason(rows: pd.DataFrame) -> dict[str, int]:
    return dict(sorted(Counter(rows["drop_reason"]).items()))


def _repeated(rows: pd.DataFrame, conflicting: pd.Index, near: Near) -> Repeated:
    """The repeated pictures; a dropped row has no split, as in data_file.csv."""
    rows = rows.assign(split=rows["split"].where(rows["drop_reason"] == "", ""))
    shown = rows[rows["cluster"] >= 0]
    similarity = [near.similarity[content] for content in shown["content"]]
    return Repeated(rows.loc[conflicting], shown.assign(similarity=similarity))


def _located(
    candidates: Iterable[Candidate],
    archives: Mapping[str, str | os.PathLike],
    dataset: str,
    thumbnails: Thumbnails | None,
) -> pd.DataFrame:
    """The candidates as rows, with the columns of their pictures, each of which is read once; the
    thumbnails of those that the layout keeps, if they are wanted."""
    listed = list(candidates)
    pictures: dict[str, dict[str, _Picture | None]] = {}
    for row in listed:
        if row.archive not in archives:
            raise GraftError(
                f"{row.member}: its archive {row.archive} is not in datasets.{dataset}.files. Add "
                "it."
            )
        members = pictures.setdefault(row.archive, {})
        if row.member in members:
            raise GraftError(
                f"{archives[row.archive]}: the picture {row.member!r} is published twice. Correct "
                "the published list."
            )
        members[row.member] = None
    wanted = {(row.archive, row.member) for row in listed if not row.drop_reason}
    for archive, members in pictures.items():
        for name, shown, content in _read(archive, archives[archive], members):
            if thumbnails is not None and (archive, name) in wanted:
                thumbnails.add(content, shown)
    columns = [
        pictures[row.archive][row.member]
        or _Picture(sample_id(sample_name(row.archive, row.member), None), -1, 0, b"")
        for row in listed
    ]
    rows = pd.DataFrame(listed, columns=list(Candidate._fields)).join(
        pd.DataFrame(columns, columns=list(_Picture._fields))
    )
    rows.loc[rows["offset"] < 0, "drop_reason"] = "missing_file"
    rows.loc[(rows["size"] == 0) & (rows["drop_reason"] == ""), "drop_reason"] = "unreadable"
    own = (rows["group"] == "") & (rows["offset"] >= 0)
    rows.loc[own, "group"] = [content.hex()[:16] for content in rows["content"][own]]
    for member in rows["member"][rows["sample_id"].duplicated()]:
        raise GraftError(
            f"{member}: two archives of datasets.{dataset} hold the same picture under this name. "
            f"List only one of them in datasets.{dataset}.files."
        )
    return rows


def _read(
    archive: str, path: str | os.PathLike, pictures: dict[str, _Picture | None]
) -> Iterator[tuple[str, bytes | np.ndarray, bytes]]:
    """Set the pictures of an archive by their members' names, of one name the last as tar does;
    yields each name with the image file, or the pixels where the container holds those, and the
    digest of the content.

    Prints how many files were passed over (see `junk`) and how many came again.
    """
    left_out, again = Counter[str](), Counter[str]()
    with Archive(path) as file:
        decode = containers.decoder(path)
        for name, offset, size in containers.members(path, passed_over=left_out):
            if name not in pictures:
                continue
            if pictures[name] is not None:
                again[name] += 1
            data = file.read(offset, size)
            pixels = decode(data) if decode else None
            content = hashlib.sha256(data if pixels is None else pixels.tobytes()).digest()
            identity = sample_id(sample_name(archive, name), data)
            pictures[name] = _Picture(identity, offset, size, content)
            yield name, data if pixels is None else pixels, content
    if left_out:
        print(f"{path}: {passed_over(left_out)}")
    if again:
        print(
            f"{path}: {again.total()} pictures are there again under the same name, such as "
            f"{next(iter(again))!r}. Of each the last one is used, as tar does."
        )


def _kept(rows: pd.DataFrame, dataset: str) -> pd.DataFrame:
    kept = rows[rows["drop_reason"] == ""]
    if kept.empty:
        reasons = Counter(rows["drop_reason"]).most_common()
        counts = ", ".join(f"{n} {reason}" for reason, n in reasons) or "none is published"
        raise GraftError(
            f"datasets.{dataset}: no sample is left ({counts}). Correct datasets.{dataset}.files, "
            "label or options."
        )
    return kept


def _check(kept: pd.DataFrame, dataset: str, *, multi: bool) -> None:
    """Raise GraftError for what a layout may not yield."""
    for member in kept["member"][(kept["label"] == "") & (not multi)]:
        raise GraftError(
            f"{member}: it has no drop reason, and no label. Correct the layout of "
            f"datasets.{dataset}."
        )
    unknown = kept[~kept["split"].isin(["", *SPLITS])]
    for member, name in zip(unknown["member"], unknown["split"], strict=True):
        raise GraftError(
            f"{member}: its published split is {name!r}. Choose one of {', '.join(SPLITS)} in the "
            f"published splits of datasets.{dataset}."
        )


def _shuffled(kept: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The rows by split and shard, and shuffled within each."""
    columns = (kept["split"], kept["shard"], kept["sample_id"])
    keys = [
        (SPLITS.index(split), shard, shuffle_key("shuffle", seed, identity))
        for split, shard, identity in zip(*columns, strict=True)
    ]
    return kept.iloc[sorted(range(len(keys)), key=keys.__getitem__)]
