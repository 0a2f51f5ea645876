"""Dividing samples into splits and shards.

Everything here is keyed by what a sample is (its group, its bytes, its id) and a seed, never by
its position, so the order of the input does not matter. Rows are parallel sequences: the i-th
label, group, content, ... belong to the i-th row; `content` is the digest of a picture's bytes.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from graft.core.errors import GraftError

SPLITS = ("train", "val", "test")


def split_by_group(
    labels: Sequence[str],
    groups: Sequence[str],
    content: Sequence[bytes],
    *,
    fractions: Mapping[str, float],
    seed: int,
    dataset: str = "*",
) -> np.ndarray:
    """Split rows so that no group and no picture stands in two splits.

    What is dealt out are units: groups, joined where they share a picture. Each label's units
    are dealt separately (a unit of several labels goes by its most frequent one), the largest
    first and equal ones in an order drawn by `seed`, each to the split that is furthest, in
    proportion, from its share of that label; so every split gets large and small units alike.
    A label of three units or more has one in every split, whatever the fractions; of two units
    one is for training, and the other goes to the split that lacks most over all labels.

    Returns the rows' splits, an object array of "train", "val" and "test". Raises GraftError
    for fractions that do not sum to 1, and for a label without a training row.
    """
    total = sum(fractions[split] for split in SPLITS)
    if not math.isclose(total, 1, abs_tol=1e-6) or min(fractions[s] for s in SPLITS) < 0:
        raise GraftError(
            f"config: datasets.{dataset}.split's train, val and test must be fractions that sum "
            f"to 1 (they sum to {total:g}); change them."
        )
    splits = _split_units(labels, groups, content, fractions, seed)
    check_splits(splits, groups, content, dataset=dataset)
    check_training(labels, splits, dataset=dataset)
    return splits


def complete_splits(
    splits: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str],
    content: Sequence[bytes],
    *,
    fractions: Mapping[str, float],
    seed: int,
    dataset: str = "*",
) -> np.ndarray:
    """Give a split to the rows that have none yet (see `follow_published`), for which it is "".

    Those are dealt as `split_by_group` does, the others keep theirs. If there are others and
    none of them is in val, or in test, that split is carved out of their train in the same way:
    `fractions` then say how much of both it gets. Returns and raises what `split_by_group` does.
    """
    if not any(splits):
        return split_by_group(
            labels, groups, content, fractions=fractions, seed=seed, dataset=dataset
        )

    def deal(rows: np.ndarray, among: Sequence[str]) -> None:
        total = sum(fractions[split] for split in among)
        shares = {split: fractions[split] / total if split in among else 0 for split in SPLITS}
        columns = [[column[row] for row in rows] for column in (labels, groups, content)]
        complete[rows] = _split_units(*columns, shares, seed)

    complete = np.array(splits, dtype=object)
    published = np.flatnonzero(complete != "")
    columns = [[column[row] for row in published] for column in (splits, groups, content)]
    check_splits(*columns, dataset=dataset)
    train, free = np.flatnonzero(complete == "train"), np.flatnonzero(complete == "")
    if missing := [split for split in SPLITS[1:] if split not in splits]:
        deal(train, ["train", *missing])
    deal(free, SPLITS)
    check_splits(complete, groups, content, dataset=dataset)
    check_training(labels, complete, dataset=dataset)
    return complete


def follow_published(
    splits: Sequence[str], groups: Sequence[str], content: Sequence[bytes]
) -> tuple[list[str], list[str]]:
    """What published splits ask of all rows: (the rows' splits, why rows must go).

    A picture that is also in the test split is dropped from train and val
    (`duplicate_of_test`), one that is also in val from train (`duplicate_of_val`); a row that
    was published without a split ("") is treated like one of train. The others of those rows
    take the split that common groups and pictures link them to, dropped rows' links as well:
    who is on a picture stays the same. One that is linked to two splits is dropped
    (`between_splits`), one that is linked to none stays "". A reason is "" where the row stays.
    """
    held = {split: set() for split in (*SPLITS, "")}
    for split, picture in zip(splits, content, strict=True):
        held[split].add(picture)
    outrank = {"train": ("test", "val"), "val": ("test",), "test": (), "": ("test", "val")}
    reasons = [
        next((f"duplicate_of_{other}" for other in outrank[split] if picture in held[other]), "")
        for split, picture in zip(splits, content, strict=True)
    ]
    component = _components(groups, content)
    reached: defaultdict[int, set[str]] = defaultdict(set)
    for unit, split, reason in zip(component, splits, reasons, strict=True):
        if split and not reason:
            reached[unit].add(split)
    followed = list(splits)
    for row, (unit, split) in enumerate(zip(component, splits, strict=True)):
        if split == "" and len(reached[unit]) == 1:
            (followed[row],) = reached[unit]
        elif split == "" and reached[unit]:
            reasons[row] = reasons[row] or "between_splits"
    return followed, reasons


def check_splits(
    splits: Sequence[str], groups: Sequence[str], content: Sequence[bytes], *, dataset: str = "*"
) -> None:
    """Raise GraftError if a group, or one and the same picture, stands in two splits."""
    for what, values in (("group", groups), ("picture with sha256", content)):
        seen: dict = {}
        for value, split in zip(values, splits, strict=True):
            first = seen.setdefault(value, split)
            if first != split:
                name = value.hex() if isinstance(value, bytes) else repr(value)
                raise GraftError(
                    f"datasets.{dataset}: the {what} {name} stands in both {first} and {split}; "
                    "samples that belong together must share a split, so correct the dataset's "
                    "groups or its published splits."
                )


def check_training(labels: Sequence[str], splits: Sequence[str], *, dataset: str = "*") -> None:
    """Raise GraftError for a class that has rows, but none in the training split."""
    trained = {label for label, split in zip(labels, splits, strict=True) if split == "train"}
    for label in sorted(set(labels) - trained):
        raise GraftError(
            f"datasets.{dataset}: the class {label!r} has no training sample; add pictures of "
            f"it, drop the class, or raise datasets.{dataset}.split.train or limit.train."
        )


def within_limit(
    labels: Sequence[str],
    splits: Sequence[str],
    sample_ids: Sequence[str],
    *,
    limit: int | Mapping[str, int] | None,
    seed: int,
    dataset: str = "*",
) -> np.ndarray:
    """Which rows to keep so that a split has at most `limit` of them, its classes in proportion.

    `limit` is a number for every split or one for each split it names. Within a class the rows
    are those that come first in an order drawn by `seed`; every class keeps at least one as
    long as the limit allows. Returns a boolean array, one value for each row. Raises GraftError
    for a training limit below the number of classes.
    """
    if limit is None:
        limit = {}
    elif isinstance(limit, int):
        limit = dict.fromkeys(SPLITS, limit)
    keep = np.ones(len(labels), dtype=bool)
    by_class = defaultdict(list)
    for row, (split, label) in enumerate(zip(splits, labels, strict=True)):
        by_class[split, label].append(row)
    for split, most in limit.items():
        classes = sorted(label for s, label in by_class if s == split)
        if split == "train" and most < len(classes):
            raise GraftError(
                f"config: datasets.{dataset}.limit.train is {most}, below the {len(classes)} "
                "classes, each of which needs a training sample; raise it."
            )
        quotas = _apportion([len(by_class[split, label]) for label in classes], most)
        for label, quota in zip(classes, quotas, strict=True):
            rows = by_class[split, label]
            rows.sort(key=lambda row: shuffle_key("limit", seed, sample_ids[row]))
            keep[rows[quota:]] = False
    return keep


def assign_shards(
    splits: Sequence[str],
    sample_ids: Sequence[str],
    shards: Mapping[str, int],
    seed: int,
    *,
    dataset: str = "*",
) -> np.ndarray:
    """Deal each split's rows, shuffled by `seed`, into its number of shards (default: one).

    Returns int64, the rows' shards, from 0; the shards of a split differ in size by at most
    one. Raises GraftError for a split that has fewer rows than shards.
    """
    dealt = np.zeros(len(splits), dtype=np.int64)
    rows_of = defaultdict(list)
    for row, split in enumerate(splits):
        rows_of[split].append(row)
    for split in SPLITS:
        rows = rows_of[split]
        count = shards.get(split, 1)
        if count > len(rows):
            raise GraftError(
                f"datasets.{dataset}: the split {split} has {len(rows)} samples, too few for "
                f"{count} shards; lower datasets.{dataset}.shards.{split}, or give the split a "
                f"larger share in datasets.{dataset}.split."
            )
        rows.sort(key=lambda row: shuffle_key("shuffle", seed, sample_ids[row]))
        if rows:
            dealt[rows] = np.arange(len(rows)) % count
    return dealt


def shuffle_key(purpose: str, seed: int, identity: str) -> bytes:
    """A sort key that shuffles: drawn by `seed`, independent of all other rows.

    Shuffles for different purposes are independent of each other.
    """
    return hashlib.blake2b(f"{purpose}\0{seed}\0{identity}".encode(), digest_size=16).digest()


def _split_units(
    labels: Sequence[str],
    groups: Sequence[str],
    content: Sequence[bytes],
    fractions: Mapping[str, float],
    seed: int,
) -> np.ndarray:
    """The splits that `split_by_group` describes, unchecked."""
    component = _components(groups, content)
    by_label = defaultdict(list)
    for unit in _units(component, labels, groups, seed):
        by_label[unit.label].append(unit)
    lacking = {split: fractions[split] * len(labels) for split in SPLITS}
    chosen = {}
    for label in sorted(by_label):
        units = sorted(by_label[label], key=lambda unit: (-unit.size, unit.key))
        chosen |= _deal(units, fractions, lacking)
    return np.array([chosen[unit] for unit in component], dtype=object)


class _Unit(NamedTuple):
    """Rows that must share a split; `key` shuffles units of equal size."""

    component: int
    key: bytes
    label: str
    size: int


def _components(groups: Sequence[str], content: Sequence[bytes]) -> list[int]:
    """For each row the number of its unit: rows are linked by a common group or picture."""
    group, group_names = pd.factorize(np.array(groups, dtype=object))
    picture, pictures = pd.factorize(np.array(content, dtype=object))
    nodes = len(group_names) + len(pictures)
    links = (np.ones(len(group), dtype=bool), (group, len(group_names) + picture))
    _, component = connected_components(coo_matrix(links, shape=(nodes, nodes)), directed=False)
    return component[group].tolist()


def _units(
    component: Sequence[int], labels: Sequence[str], groups: Sequence[str], seed: int
) -> list[_Unit]:
    names: dict[int, str] = {}
    tallies: defaultdict[int, Counter] = defaultdict(Counter)
    for unit, label, group in zip(component, labels, groups, strict=True):
        # The least of a unit's groups names it: the same whatever the order of the rows.
        names[unit] = min(names.get(unit, group), group)
        tallies[unit][label] += 1
    return [
        _Unit(
            unit,
            shuffle_key("split", seed, names[unit]),
            min(tally, key=lambda label: (-tally[label], label)),
            tally.total(),
        )
        for unit, tally in tallies.items()
    ]


def _deal(
    units: Sequence[_Unit], fractions: Mapping[str, float], lacking: dict[str, float]
) -> dict[int, str]:
    """Choose a split for each of one label's units, in the order given.

    `lacking` holds how many rows each split is short of over all labels; it is kept up to date.
    """
    total = sum(unit.size for unit in units)
    share = {split: fractions[split] * total for split in SPLITS if fractions[split] > 0}
    left = dict(share)
    empty = set(share)
    chosen = {}
    for position, unit in enumerate(units):
        fits = [split for split in share if left[split] >= unit.size]
        if len(units) - position <= len(empty):
            # The last units go where there is none yet, to training before all.
            waiting = [split for split in share if split in empty]
            split = "train" if "train" in empty else max(waiting, key=lacking.get)
        elif fits:
            split = max(fits, key=lambda s: (left[s] / share[s], lacking[s]))
        else:
            split = max(share, key=lambda s: (left[s], lacking[s]))
        chosen[unit.component] = split
        empty.discard(split)
        left[split] -= unit.size
        lacking[split] -= unit.size
    return chosen


def _apportion(sizes: Sequence[int], most: int) -> list[int]:
    """Divide `most` seats among classes in proportion to their sizes (largest remainders).

    A class whose share is below one seat gets one all the same, if there are enough for all;
    no class gets more seats than its size.
    """
    total = sum(sizes)
    if most >= total:
        return list(sizes)
    seats = [0] * len(sizes)
    rich = list(range(len(sizes)))
    while most >= len(rich) and (poor := {i for i in rich if sizes[i] * most < total}):
        for i in poor:
            seats[i] = 1
        most -= len(poor)
        total -= sum(sizes[i] for i in poor)
        rich = [i for i in rich if i not in poor]
    for i in rich:
        seats[i] = sizes[i] * most // total
    left = most - sum(seats[i] for i in rich)
    for i in sorted(rich, key=lambda i: (-(sizes[i] * most % total), i))[:left]:
        seats[i] += 1
    return seats
