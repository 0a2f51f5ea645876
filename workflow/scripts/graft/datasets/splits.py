"""Dividing samples into splits and shards.

Everything here depends on what a sample is (its group, its picture, its id) and on a seed, never on
the order of the rows. `rows` are a frame with columns of data_file.csv, as far as a function needs
them (`split` is "" where there is none yet), and with `content`, the digest of the picture.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from graft.core.errors import GraftError

SPLITS = ("train", "val", "test")
K = TypeVar("K")


def complete_splits(
    rows: pd.DataFrame, *, fractions: Mapping[str, float], seed: int, dataset: str = "*"
) -> pd.DataFrame:
    """Give a split to the rows without one, so that no group and no picture is in two splits.

    Rows are assigned in units: groups, joined where they share a picture. The units of each label
    are assigned separately (a unit of several labels goes by its most frequent one), the largest
    first and equal ones in an order drawn by `seed`, each to the split that lacks the largest part
    of its share of that label; so every split gets large and small units. A label of three units or
    more has one in every split; of two units one is for training, and the other goes to the split
    that lacks most over all labels.

    Published splits are kept. If there are some, but none is val, or none is test, that split is
    taken out of the published train in the same way; `fractions` give the proportion.

    Returns the rows with their splits. Raises GraftError for a group or picture in two published
    splits, and for a label without a training row.
    """
    splits = rows["split"].to_numpy(dtype=object, copy=True)
    published = splits != ""

    def assign(chosen: np.ndarray, among: Sequence[str]) -> None:
        total = sum(fractions[split] for split in among)
        shares = {split: fractions[split] / total if split in among else 0 for split in SPLITS}
        splits[chosen] = _assign_units(rows[chosen], shares, seed)

    if published.any():
        check_splits(rows[published], dataset=dataset)
        missing = [split for split in SPLITS[1:] if split not in set(splits)]
        if missing:
            assign(splits == "train", ["train", *missing])
        assign(~published, SPLITS)
    else:
        splits = _assign_units(rows, fractions, seed)
    rows = rows.assign(split=splits)
    check_splits(rows, dataset=dataset)
    check_training(rows, dataset=dataset)
    return rows


def follow_published(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The rows' splits as far as published splits determine them, and why rows are dropped.

    A picture that is also in test is dropped from train and val (`duplicate_of_test`), one that is
    also in val from train (`duplicate_of_val`); a row without a published split is treated like one
    of train. Its split is that of the published rows that share its group or picture, directly or
    through others (dropped rows count as links: they show the same person). If those are of two
    splits it is dropped (`between_splits`); if there are none its split stays "". The reason is ""
    for a row that is not dropped.
    """
    splits, content = rows["split"].tolist(), rows["content"].tolist()
    pictures: dict[str, set[bytes]] = {split: set() for split in (*SPLITS, "")}
    for split, picture in zip(splits, content, strict=True):
        pictures[split].add(picture)
    before = {"train": ("test", "val"), "val": ("test",), "test": (), "": ("test", "val")}
    reasons = [
        next((f"duplicate_of_{other}" for other in before[split] if picture in pictures[other]), "")
        for split, picture in zip(splits, content, strict=True)
    ]
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
            f"drop the class, or raise datasets.{dataset}.split.train or limit.train."
        )


def within_limit(
    rows: pd.DataFrame, *, limit: Mapping[str, int], seed: int, dataset: str = "*"
) -> np.ndarray:
    """Which rows to keep so that each split in `limit` has at most so many, classes in proportion.

    Within a class the rows are those that come first in an order drawn by `seed`; every class keeps
    at least one as long as the limit allows. Returns bool (n,). Raises GraftError for a training
    limit below the number of classes.
    """
    keep = np.ones(len(rows), dtype=bool)
    ids = rows["sample_id"].tolist()
    by_class = _positions(zip(rows["split"].tolist(), rows["label"].tolist(), strict=True))
    for split, most in limit.items():
        classes = sorted(label for s, label in by_class if s == split)
        if split == "train" and most < len(classes):
            raise GraftError(
                f"config: datasets.{dataset}.limit.train is {most}, below the {len(classes)} "
                "classes, each of which needs a training sample. Raise it."
            )
        quotas = _apportion([len(by_class[split, label]) for label in classes], most)
        for label, quota in zip(classes, quotas, strict=True):
            order = sorted(
                by_class[split, label], key=lambda row: shuffle_key("limit", seed, ids[row])
            )
            keep[order[quota:]] = False
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
                f"{shards[split]} shards. Lower datasets.{dataset}.shards.{split}, or raise "
                f"datasets.{dataset}.split.{split}."
            )
        if order:
            assigned[order] = np.arange(len(order)) % shards[split]
    return assigned


def shuffle_key(purpose: str, seed: int, identity: str) -> bytes:
    """A sort key that shuffles, drawn by `seed` and independent of all other rows and purposes."""
    return hashlib.blake2b(f"{purpose}\0{seed}\0{identity}".encode(), digest_size=16).digest()


class _Unit(NamedTuple):
    """Rows that must share a split; `key` shuffles units of equal size."""

    number: int
    key: bytes
    label: str
    size: int


def _assign_units(rows: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> np.ndarray:
    """The splits that `complete_splits` describes, for rows without any."""
    numbers = _units(rows)
    by_label: defaultdict[str, list[_Unit]] = defaultdict(list)
    for unit in _described(numbers, rows["label"].tolist(), rows["group"].tolist(), seed):
        by_label[unit.label].append(unit)
    lacking = {split: fractions[split] * len(rows) for split in SPLITS}
    chosen: dict[int, str] = {}
    for label in sorted(by_label):
        units = sorted(by_label[label], key=lambda unit: (-unit.size, unit.key))
        chosen |= _assign_label(units, fractions, lacking)
    return np.array([chosen[number] for number in numbers], dtype=object)


def _units(rows: pd.DataFrame) -> list[int]:
    """For each row the number of its unit: rows are linked by a common group or picture."""
    group, groups = pd.factorize(rows["group"].to_numpy(dtype=object))
    picture, pictures = pd.factorize(rows["content"].to_numpy(dtype=object))
    nodes = len(groups) + len(pictures)
    links = (np.ones(len(group), dtype=bool), (group, len(groups) + picture))
    _, component = connected_components(coo_matrix(links, shape=(nodes, nodes)), directed=False)
    return component[group].tolist()


def _described(
    numbers: Sequence[int], labels: Sequence[str], groups: Sequence[str], seed: int
) -> list[_Unit]:
    names: dict[int, str] = {}
    tallies: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for number, label, group in zip(numbers, labels, groups, strict=True):
        # The least of a unit's groups names it: the same for any order of the rows.
        names[number] = min(names.get(number, group), group)
        tallies[number][label] += 1
    return [
        _Unit(
            number,
            shuffle_key("split", seed, names[number]),
            min(tally, key=lambda label: (-tally[label], label)),
            tally.total(),
        )
        for number, tally in tallies.items()
    ]


def _assign_label(
    units: Sequence[_Unit], fractions: Mapping[str, float], lacking: dict[str, float]
) -> dict[int, str]:
    """Choose a split for each of one label's units, in the order given.

    `lacking` holds how many rows each split lacks over all labels; it is updated.
    """
    total = sum(unit.size for unit in units)
    share = {split: fractions[split] * total for split in SPLITS if fractions[split] > 0}
    left = dict(share)
    empty = set(share)
    chosen = {}
    for position, unit in enumerate(units):
        fits = [split for split in share if left[split] >= unit.size]
        if len(units) - position <= len(empty):
            # The last units go to splits that have none yet, to training first.
            waiting = [split for split in share if split in empty]
            split = "train" if "train" in empty else max(waiting, key=lambda s: lacking[s])
        elif fits:
            split = max(fits, key=lambda s: (left[s] / share[s], lacking[s]))
        else:
            split = max(share, key=lambda s: (left[s], lacking[s]))
        chosen[unit.number] = split
        empty.discard(split)
        left[split] -= unit.size
        lacking[split] -= unit.size
    return chosen


def _apportion(sizes: Sequence[int], most: int) -> list[int]:
    """Divide `most` seats among classes in proportion to their sizes (largest remainders).

    A class whose share is below one seat still gets one, if there are enough for all; no class gets
    more seats than its size.
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


def _positions(keys: Iterable[K]) -> defaultdict[K, list[int]]:
    """The positions of each key, in order."""
    positions: defaultdict[K, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        positions[key].append(position)
    return positions
