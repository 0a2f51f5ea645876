"""Dividing samples into splits and shards.

Everything here depends on what a sample is (its group, its picture, its id) and on a seed, never on
the order of the rows; which split a sample is in depends on no other sample. `rows` are a frame
with columns of data_file.csv, as far as a function needs them (`split` is "" where there is none
yet), and with `content`, the digest of the picture.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from graft.core.errors import GraftError
from graft.datasets.label_sets import names

SPLITS = ("train", "val", "test")
K = TypeVar("K")


def complete_splits(
    rows: pd.DataFrame, *, fractions: Mapping[str, float], seed: int, dataset: str = "*"
) -> pd.DataFrame:
    """Give a split to the rows without one, by a number in [0, 1) that is drawn for their group.

    The number is a hash of the group and `seed` (see `draw`), so adding, removing or reordering
    other rows moves nobody. Of the interval test comes first, then val, then train: a larger share
    of training takes rows from val and test and gives them none.

    Published splits are kept. If there are some, but none is val, or none is test, that split is
    taken out of the published train in the same way; `fractions` give the proportion.

    Returns the rows with their splits; a picture of two groups may be in two splits (see
    `repeats`). Raises GraftError for a group or picture in two published splits.
    """
    splits = rows["split"].to_numpy(dtype=object, copy=True)
    published = splits != ""
    dealt, among = ~published, SPLITS
    if published.any():
        check_splits(rows[published], dataset=dataset)
        missing = [split for split in SPLITS[1:] if split not in set(splits)]
        if missing:
            carved = splits == "train"
            splits[carved] = draw(rows["group"][carved], fractions, ("train", *missing), seed)
    splits[dealt] = draw(rows["group"][dealt], fractions, among, seed)
    return rows.assign(split=splits)


def draw(
    groups: pd.Series, fractions: Mapping[str, float], among: Sequence[str], seed: int
) -> np.ndarray:
    """The split of each group, one of `among`; object (n,). Their fractions need not sum to 1."""
    order = [split for split in reversed(SPLITS) if split in among]
    bounds = np.cumsum([fractions[split] for split in order])
    codes, names = pd.factorize(groups.to_numpy(dtype=object))
    numbers = [
        int.from_bytes(shuffle_key("split", seed, name)[:8], "big") / 2**64 for name in names
    ]
    # Not beyond the last: a hash of almost 2**64 rounds to 1.
    places = np.searchsorted(bounds[:-1] / bounds[-1], numbers, side="right")
    return np.array(order, dtype=object)[places][codes]


def repeats(rows: pd.DataFrame, column: str = "content", reason: str = "duplicate_of") -> list[str]:
    """Why rows are dropped whose picture is in another split as well; "" for all others. `column`
    is equal for rows that show the same.

    A picture that is also in test is dropped from train and val (`duplicate_of_test`), one that is
    also in val from train (`duplicate_of_val`); a row without a split is treated like one of train.
    """
    splits, content = rows["split"].tolist(), rows[column].tolist()
    pictures: dict[str, set[bytes | int]] = {split: set() for split in (*SPLITS, "")}
    for split, picture in zip(splits, content, strict=True):
        pictures[split].add(picture)
    before = {"train": ("test", "val"), "val": ("test",), "test": (), "": ("test", "val")}
    return [
        next((f"{reason}_{other}" for other in before[split] if picture in pictures[other]), "")
        for split, picture in zip(splits, content, strict=True)
    ]


def follow_published(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The rows' splits as far as published splits determine them, and why rows are dropped.

    The `repeats` are dropped. The split of a row without a published one is that of the published
    rows that share its group or picture, directly or through others (dropped rows count as links:
    they show the same person). If those are of two splits it is dropped (`between_splits`); if
    there are none its split stays "". The reason is "" for a row that is not dropped.
    """
    splits, reasons = rows["split"].tolist(), repeats(rows)
    if not any(splits):
        return splits, reasons
    units = _units(rows)
    reached: defaultdict[int, set[str]] = defaultdict(set)
    for unit, split, reason in zip(units, splits, reasons, strict=True):
        if split and not reason:
            reached[unit].add(split)
    followed = list(splits)
    for row, (unit, split) in enumerate(zip(units, splits, strict=True)):
        if split == "" and len(reached[unit]) == 1:
            (followed[row],) = reached[unit]
        elif split == "" and reached[unit]:
            reasons[row] = reasons[row] or "between_splits"
    return followed, reasons


def check_splits(rows: pd.DataFrame, *, dataset: str = "*") -> None:
    """Raise GraftError if a group or a picture is in two splits."""
    for kind, column in (("group", "group"), ("picture with sha256", "content")):
        first: dict[str | bytes, str] = {}
        for value, split in zip(rows[column].tolist(), rows["split"].tolist(), strict=True):
            if first.setdefault(value, split) != split:
                name = value.hex() if isinstance(value, bytes) else repr(value)
                raise GraftError(
                    f"datasets.{dataset}: the {kind} {name} is in both {first[value]} and {split}. "
                    "Correct the groups or the published splits."
                )


def check_training(rows: pd.DataFrame, *, dataset: str = "*") -> None:
    """Raise GraftError for a class that has rows, but none in the training split."""
    for label in sorted(set(rows["label"]) - set(rows["label"][rows["split"] == "train"])):
        raise GraftError(
            f"datasets.{dataset}: the class {label!r} has no training sample. Add pictures of it, "
            f"drop the class, set another datasets.{dataset}.split.seed, or raise "
            f"datasets.{dataset}.split.train or limit.train."
        )


TOLERANCE = 0.1
"""By how much of a class a split may miss its share of it before `uneven` reports it."""
LEAST = 3
"""Samples that are always within the tolerance: a small class cannot be divided exactly."""


def uneven(rows: pd.DataFrame, fractions: Mapping[str, float]) -> list[str]:
    """Sentences on classes of which a split has not its share, which chance decides (see `draw`).

    A split should have of each class its fraction, within `TOLERANCE` of the class or `LEAST`
    samples, whichever is more.
    """
    sentences = []
    for label, splits in rows.groupby("label")["split"]:
        allowed = max(TOLERANCE * len(splits), LEAST)
        counts = splits.value_counts()
        for split, fraction in fractions.items():
            count = int(counts.get(split, 0))
            if abs(count - fraction * len(splits)) > allowed:
                sentences.append(
                    f"{split} has {count} of the {len(splits):,} samples of {label} "
                    f"({100 * count / len(splits):.0f} % instead of {100 * fraction:.0f} %)"
                )
    return sentences


def nested_order(labels: Sequence[Any], ids: Sequence[str], seed: int) -> np.ndarray:
    """The order in which samples enter a subset: int64 (n,), positions. Labels are of one type.

    Every beginning of it has the classes in proportion and is part of every longer one. First comes
    a sample of each class, the largest classes first; then they take turns by the divisor method of
    Webster and Sainte-Laguë (Balinski & Young, Fair Representation, 1982), which, unlike largest
    remainders, never takes a seat back. Within a class the order is drawn by `seed`.
    """
    by_class = _positions(labels)
    turns = []
    for label, members in by_class.items():
        drawn = sorted(members, key=lambda row: shuffle_key("limit", seed, ids[row]))
        turns += [
            ((rank + 0.5) / len(members) if rank else -1.0, -len(members), label, row)
            for rank, row in enumerate(drawn)
        ]
    return np.array([row for *_, row in sorted(turns)], dtype=np.int64)


def covering_order(labels: np.ndarray, ids: Sequence[str], seed: int) -> np.ndarray:
    """As `nested_order`, of samples that may have several classes or none: bool labels (n, K).

    First come, the rarest class first, a sample of each class that those before lack; then all
    others. Chance alone decides among them, drawn by `seed`.
    """
    drawn = sorted(range(len(ids)), key=lambda row: shuffle_key("limit", seed, ids[row]))
    order = dict[int, None]()
    for one in np.argsort(labels.sum(axis=0), kind="stable"):
        members = [row for row in drawn if labels[row, one]]
        if members and not any(labels[row, one] for row in order):
            order[members[0]] = None
    order |= dict.fromkeys(drawn)
    return np.array(list(order), dtype=np.int64)


def within_limit(
    rows: pd.DataFrame,
    *,
    limit: Mapping[str, int],
    seed: int,
    multi: bool = False,
    dataset: str = "*",
) -> np.ndarray:
    """Which rows to keep so that each split in `limit` has at most so many, classes in proportion.

    They are the first in their `nested_order`, or with `multi` in their `covering_order`, so a
    smaller limit keeps some of the same rows. Returns bool (n,). Raises GraftError for a training
    limit below the number of classes.
    """
    keep = np.ones(len(rows), dtype=bool)
    by_split = _positions(rows["split"].tolist())
    labels, ids = rows["label"].to_numpy(dtype=object), rows["sample_id"].to_numpy(dtype=object)
    for split, most in limit.items():
        members = np.array(by_split[split], dtype=np.int64)
        sets = [set(names(label)) if multi else {label} for label in labels[members]]
        known = sorted(set().union(*sets))
        classes = len(known)
        if split == "train" and most < classes:
            raise GraftError(
                f"config: datasets.{dataset}.limit.train is {most}, below the {classes} "
                "classes, each of which needs a training sample. Raise it."
            )
        own = ids[members].tolist()
        if multi:
            table = np.array([[name in held for name in known] for held in sets], dtype=bool)
            order = covering_order(table.reshape(len(sets), classes), own, seed)
        else:
            order = nested_order(labels[members].tolist(), own, seed)
        keep[members[order[most:]]] = False
    return keep


def assign_shards(
    rows: pd.DataFrame, *, shards: Mapping[str, int], seed: int, dataset: str = "*"
) -> np.ndarray:
    """Divide each split's rows, shuffled by `seed`, into its number of shards.

    Returns int64 (n,), the shards from 0; the shards of a split differ in size by at most one.
    Raises GraftError for a split with fewer rows than shards.
    """
    assigned = np.zeros(len(rows), dtype=np.int64)
    ids, by_split = rows["sample_id"].tolist(), _positions(rows["split"].tolist())
    for split in SPLITS:
        order = sorted(by_split[split], key=lambda row: shuffle_key("shuffle", seed, ids[row]))
        if shards[split] > len(order):
            raise GraftError(
                f"datasets.{dataset}: the split {split} has {len(order)} samples, too few for "
                f"{shards[split]} shards. Lower datasets.{dataset}.shards.{split}, raise "
                f"datasets.{dataset}.split.{split}, or set another split.seed."
            )
        if order:
            assigned[order] = np.arange(len(order)) % shards[split]
    return assigned


def shuffle_key(purpose: str, seed: int, identity: str) -> bytes:
    """A sort key that shuffles, drawn by `seed` and independent of all other rows and purposes."""
    return hashlib.blake2b(f"{purpose}\0{seed}\0{identity}".encode(), digest_size=16).digest()


def _units(rows: pd.DataFrame) -> list[int]:
    """For each row the number of its unit: rows are linked by a common group or picture."""
    group, groups = pd.factorize(rows["group"].to_numpy(dtype=object))
    picture, pictures = pd.factorize(rows["content"].to_numpy(dtype=object))
    nodes = len(groups) + len(pictures)
    links = (np.ones(len(group), dtype=bool), (group, len(groups) + picture))
    _, component = connected_components(coo_matrix(links, shape=(nodes, nodes)), directed=False)
    return component[group].tolist()


def _positions(keys: Iterable[K]) -> defaultdict[K, list[int]]:
    """The positions of each key, in order."""
    positions: defaultdict[K, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        positions[key].append(position)
    return positions
