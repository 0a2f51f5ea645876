"""From a layout's candidates to the rows of data_file.csv: pictures read, splits and shards set."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypedDict

import pandas as pd

from graft.config.datasets import Limit, Shards, Split
from graft.core.errors import GraftError
from graft.datasets import containers
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
from graft.download.archives import Archive
from graft.download.junk import passed_over


class Counts(TypedDict):
    """Numbers of rows. `dropped` is by reason, `rows` by split, `splits` by split and class (a row
    of several classes counts for each of them, one of none for none); `duplicates` are the rows
    that the layout keeps whose picture is the same as an earlier one's; `uneven` are the sentences
    of `splits.uneven`, `notes` those on the classes' names."""

    published: int
    kept: int
    dropped: dict[str, int]
    rows: dict[str, int]
    splits: dict[str, dict[str, int]]
    duplicates: int
    uneven: list[str]
    notes: list[str]


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
    *,
    split: Split,
    shards: Shards,
    limit: Limit,
    multi: bool = False,
    dataset: str = "*",
) -> tuple[pd.DataFrame, Counts]:
    """The rows of data_file.csv (as `table.read` returns them), and their counts.

    Each archive is read once, front to back, one picture at a time. Drop reasons added to the
    layout's: `missing_file` (not in the archive; it replaces any other), `unreadable` (no bytes),
    `over_limit`, and those of `splits.follow_published`. `split.seed` draws every shuffle. A sample
    without a group gets one from its picture's content, so copies of a picture share it.

    multi: whether a label holds any number of classes (see `label_sets.names`).

    Raises GraftError for unusable archives or splits, and if no sample is left, or samples of one
    class only (with `multi`: of none).
    """
    of_classes = by_class if multi else pd.DataFrame.copy
    rows, seed = _located(candidates, archives, dataset), split.seed
    kept = _kept(rows, dataset)
    duplicates = len(kept) - kept["content"].nunique()
    _check(kept, dataset, multi=multi)
    published = sorted(set(kept["split"]) - {""})
    rows.loc[kept.index, "split"], rows.loc[kept.index, "drop_reason"] = follow_published(kept)
    fractions = split.model_dump(exclude={"seed"})
    kept = complete_splits(_kept(rows, dataset), fractions=fractions, seed=seed, dataset=dataset)
    rows.loc[kept.index, "drop_reason"] = repeats(kept)
    kept = kept[rows.loc[kept.index, "drop_reason"] == ""]
    check_splits(kept, dataset=dataset)
    check_training(of_classes(kept), dataset=dataset)
    uneven_classes = [] if published else uneven(of_classes(kept), fractions)
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
    dropped = rows[rows["drop_reason"] != ""].assign(split="", shard=-1)
    frame = pd.concat([kept, dropped], ignore_index=True)[list(TYPES)].astype(TYPES)
    counts = Counter(kept["split"])
    listed = Counter(zip(*(of_classes(kept)[key] for key in ("split", "label")), strict=True))
    return frame, {
        "published": len(frame),
        "kept": len(kept),
        "dropped": dict(sorted(Counter(dropped["drop_reason"]).items())),
        "rows": {split: counts[split] for split in SPLITS},
        "splits": {
            split: {label: n for (where, label), n in sorted(listed.items()) if where == split}
            for split in SPLITS
        },
        "duplicates": duplicates,
        "uneven": uneven_classes,
        "notes": alike(of_classes(kept)["label"], dataset),
    }


def _located(
    candidates: Iterable[Candidate], archives: Mapping[str, str | os.PathLike], dataset: str
) -> pd.DataFrame:
    """The candidates as rows, with the columns of their pictures, each of which is read once."""
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
    for archive, members in pictures.items():
        _read(archive, archives[archive], members)
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


def _read(archive: str, path: str | os.PathLike, pictures: dict[str, _Picture | None]) -> None:
    """Set the pictures of an archive by their members' names, of one name the last as tar does.

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
