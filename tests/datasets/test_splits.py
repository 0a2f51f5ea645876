"""Splits and shards: nothing straddles, and only a sample's own identity counts."""

import hashlib
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.core.errors import GraftError
from graft.datasets.splits import (
    SPLITS,
    assign_shards,
    check_splits,
    check_training,
    complete_splits,
    covering_order,
    follow_published,
    nested_order,
    repeats,
    uneven,
    within_limit,
)

FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}


def digest(value):
    return hashlib.sha256(str(value).encode()).digest()


def tally(labels, splits):
    """{label: (train, val, test)}"""
    counts = Counter(zip(labels, splits, strict=True))
    return {label: tuple(counts[label, s] for s in SPLITS) for label in sorted(set(labels))}


@st.composite
def rows(draw):
    """Rows as (label, group, picture): groups of one label or several, pictures repeated."""
    size = draw(st.integers(1, 60))
    labels = st.sampled_from("abc")
    groups = st.integers(0, draw(st.integers(0, 40))).map("person {}".format)
    pictures = st.integers(0, draw(st.sampled_from([5, 50, 10**9])))
    row = st.tuples(labels, groups, pictures)
    return draw(st.lists(row, min_size=size, max_size=size))


def frame(splits, labels=None, groups=None, content=None):
    """Rows that have nothing in common unless given."""
    size = len(splits)
    columns = {
        "split": splits,
        "label": labels or ["a"] * size,
        "group": groups or [f"group {row}" for row in range(size)],
        "content": content or [f"picture {row}".encode() for row in range(size)],
        "sample_id": [f"{row:016x}" for row in range(size)],
    }
    return pd.DataFrame(columns)


def complete(splits, labels=None, groups=None, content=None, seed=0, **shares):
    fractions = {"train": 0.6, "val": 0.2, "test": 0.2} | shares
    rows = frame(splits, labels, groups, content)
    return complete_splits(rows, fractions=fractions, seed=seed, dataset="d")["split"].tolist()


def split(rows, seed=0, fractions=FRACTIONS):
    labels, groups, pictures = (list(column) for column in zip(*rows, strict=True))
    content = [digest(picture) for picture in pictures]
    return complete([""] * len(rows), labels, groups, content, seed=seed, **fractions)


@settings(deadline=None, max_examples=150)
@given(rows(), st.integers(0, 3), st.data())
def test_adding_removing_and_reordering_samples_moves_nobody(rows, seed, data):
    found = split(rows, seed)
    assert len(found) == len(rows) and set(found) <= set(SPLITS)
    kept = data.draw(st.lists(st.sampled_from(range(len(rows))), unique=True), "kept, in any order")
    added = data.draw(st.lists(st.tuples(*[st.text("abc", max_size=3)] * 3)), "added")
    before = [found[row] for row in kept]
    after = split([*added, *(rows[row] for row in kept)], seed)[len(added) :] if kept else []
    assert after == before


@settings(deadline=None, max_examples=100)
@given(rows(), st.integers(0, 3))
def test_nothing_straddles(rows, seed):
    labels, groups, pictures = (list(column) for column in zip(*rows, strict=True))
    content = [digest(picture) for picture in pictures]
    dealt = frame(split(rows, seed), labels, groups, content)
    kept = dealt[[reason == "" for reason in repeats(dealt)]]
    check_splits(kept)
    # Of each picture something is kept, and all of it in the strongest of its splits.
    assert set(kept["content"]) == set(content)
    strongest = {
        picture: max(splits, key=SPLITS.index)
        for picture, splits in dealt.groupby("content")["split"].agg(set).items()
    }
    assert (kept["split"] == kept["content"].map(strongest)).all()


@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.2), (0.5, 0.25, 0.25), (0.8, 0.0, 0.2)])
def test_the_shares_are_met_by_chance(shares):
    fractions = dict(zip(SPLITS, shares, strict=True))
    found = Counter(split([("a", f"{i}", f"{i}") for i in range(20_000)], fractions=fractions))
    for name, share in fractions.items():
        assert abs(found[name] - 20_000 * share) <= 4 * np.sqrt(20_000 * share * (1 - share))


def test_the_split_is_where_the_hash_of_the_group_falls():
    # blake2b of "split\0<seed>\0<group>", the first 8 of its 16 bytes, as a share of 2**64.
    for group in ("ann", "bob", "eve"):
        drawn = hashlib.blake2b(f"split\0007\0{group}".encode(), digest_size=16).digest()
        number = int.from_bytes(drawn[:8], "big") / 2**64
        expected = "test" if number < 0.2 else "val" if number < 0.3 else "train"
        assert split([("a", group, "x")], seed=7) == [expected]


def test_a_larger_share_of_training_gives_no_training_sample_away():
    rows = [("a", f"{i}", f"{i}") for i in range(500)]
    less = split(rows, fractions={"train": 0.5, "val": 0.25, "test": 0.25})
    more = split(rows, fractions={"train": 0.8, "val": 0.1, "test": 0.1})
    assert all(b == "train" for a, b in zip(less, more, strict=True) if a == "train")


def test_a_class_without_a_training_sample_is_an_error():
    check_training(frame(["train", "test", "train"], ["a", "a", "b"]))
    with pytest.raises(GraftError, match=r"datasets\.d: the class 'b' has no training sample"):
        check_training(frame(["train", "test", "val"], ["a", "b", "b"]), dataset="d")


def test_a_class_that_misses_its_share_is_reported():
    def sentences(a, b):
        splits = [
            name
            for counts in (a, b)
            for name, n in zip(SPLITS, counts, strict=True)
            for _ in range(n)
        ]
        return uneven(frame(splits, ["a"] * sum(a) + ["b"] * sum(b)), FRACTIONS)

    # A tenth of 100 samples, or three of a small class, are within the tolerance.
    assert sentences((60, 20, 20), (2, 3, 1)) == []
    assert sentences((59, 21, 20), (2, 4, 0)) == [
        "train has 59 of the 100 samples of a (59 % instead of 70 %)",
        "val has 21 of the 100 samples of a (21 % instead of 10 %)",
        "val has 4 of the 6 samples of b (67 % instead of 10 %)",
    ]


def test_the_seed_draws_the_split():
    rows = [("a", f"{i}", f"{i}") for i in range(50)]
    assert split(rows, 0) == split(rows, 0) != split(rows, 1)


def test_straddling_is_an_error():
    splits = ["train", "test", "test"]
    with pytest.raises(GraftError, match=r"datasets\.d: the group 'p' is in both train and test"):
        check_splits(frame(splits, groups=["p", "p", "q"]), dataset="d")
    with pytest.raises(GraftError, match="picture with sha256 0abc"):
        check_splits(frame(splits, content=[b"\x0a\xbc", b"2", b"\x0a\xbc"]))
    check_splits(frame(splits, groups=["p", "q", "q"], content=[b"1", b"2", b"2"]))


def test_repeats_leave_the_weaker_of_two_published_splits():
    rows = {
        "train": [b"only", b"in val", b"in test", b"in both", b"only"],
        "val": [b"in val", b"in both", b"val and test"],
        "test": [b"in test", b"in both", b"val and test", b"val and test"],
    }
    splits = [name for name, content in rows.items() for _ in content]
    pictures = [picture for content in rows.values() for picture in content]
    followed, reasons = follow_published(frame(splits, content=pictures))
    assert followed == splits
    to_val, to_test = "duplicate_of_val", "duplicate_of_test"
    assert reasons == ["", to_val, to_test, to_test, "", "", to_test, to_test, "", "", "", ""]


def limited(sizes, limit, seed=0, split="train"):
    labels = [label for label, size in sizes.items() for _ in range(size)]
    limit = limit if isinstance(limit, dict) else {split: limit}
    keep = within_limit(frame([split] * len(labels), labels), limit=limit, seed=seed)
    return keep, dict(Counter(label for label, stays in zip(labels, keep, strict=True) if stays))


@pytest.mark.parametrize(
    ("sizes", "limit", "kept"),
    [
        ({"a": 900, "b": 100}, 100, {"a": 90, "b": 10}),
        ({"a": 900, "b": 100}, 10, {"a": 9, "b": 1}),
        ({"a": 997, "b": 2, "c": 1}, 10, {"a": 8, "b": 1, "c": 1}),
        ({"a": 5, "b": 5}, 5, {"a": 3, "b": 2}),
        ({"a": 5, "b": 5}, 2, {"a": 1, "b": 1}),
        ({"a": 5, "b": 5}, 10, {"a": 5, "b": 5}),
        ({"a": 5, "b": 5}, {}, {"a": 5, "b": 5}),
        ({"a": 5, "b": 5}, {"test": 1}, {"a": 5, "b": 5}),
    ],
)
def test_the_limit_keeps_classes_in_proportion(sizes, limit, kept):
    assert limited(sizes, limit)[1] == kept


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 200))
def test_the_limit_is_met_and_no_class_is_lost(sizes, limit):
    sizes = {f"class {i}": size for i, size in enumerate(sizes)}
    keep, kept = limited(sizes, limit, split="val")
    assert keep.sum() == min(limit, sum(sizes.values()))
    if limit >= len(sizes):
        assert set(kept) == set(sizes)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from("aaaabbc"), min_size=1, max_size=120), st.integers(0, 3), st.data())
def test_subsets_nest_and_hold_the_classes_in_proportion(labels, seed, data):
    ids = [f"{row:016x}" for row in range(len(labels))]
    order = nested_order(labels, ids, seed)
    assert sorted(order) == list(range(len(labels)))
    sizes, size = Counter(labels), data.draw(st.integers(1, len(labels)))
    subset = Counter(labels[row] for row in order[:size])
    if size >= len(sizes):
        assert set(subset) == set(sizes)
    for label, count in subset.items():
        # One seat that every class gets first, and one of rounding, for each class.
        assert abs(count - size * sizes[label] / len(labels)) <= len(sizes)
    # Other samples' order of listing changes nothing.
    mixed = data.draw(st.permutations(range(len(labels))))
    again = nested_order([labels[row] for row in mixed], [ids[row] for row in mixed], seed)
    assert [mixed[row] for row in again] == order.tolist()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=30),
    st.integers(0, 3),
)
def test_beginnings_hold_every_class_that_a_picture_may_have_beside_others(labels, seed):
    labels = np.array(labels)
    ids = [f"s{i}" for i in range(len(labels))]
    order = covering_order(labels, ids, seed)
    assert sorted(order) == list(range(len(labels)))
    most = int(labels.any(axis=0).sum())
    assert labels[order[:most]].any(axis=0).tolist() == labels.any(axis=0).tolist()
    backwards = covering_order(labels[::-1], ids[::-1], seed)
    assert [ids[i] for i in order] == [ids[::-1][i] for i in backwards]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(5, 60), st.integers(5, 60))
def test_a_smaller_limit_keeps_some_of_the_same_rows(sizes, one, other):
    sizes = {f"class {i}": size for i, size in enumerate(sizes)}
    small, large = (limited(sizes, limit)[0] for limit in sorted((one, other)))
    assert large[small].all()


def test_the_seed_draws_which_rows_stay():
    small = limited({"a": 60, "b": 40}, 10)[0]
    assert (limited({"a": 60, "b": 40}, 10, seed=1)[0] != small).any()


def test_a_training_limit_below_the_number_of_classes_is_an_error():
    with pytest.raises(GraftError, match=r"datasets\.\*\.limit\.train is 1, below the 2 classes"):
        limited({"a": 5, "b": 5}, {"train": 1})
    assert limited({"a": 5, "b": 4}, 1, split="test")[1] == {"a": 1}


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(*[st.integers(5, 60)] * 3),
    st.tuples(*[st.integers(1, 5)] * 3),
    st.randoms(use_true_random=False),
)
def test_shards_are_balanced_and_hold_every_row_once(sizes, shards, random):
    splits = [name for name, size in zip(SPLITS, sizes, strict=True) for _ in range(size)]
    rows = frame(splits)
    wanted = dict(zip(SPLITS, shards, strict=True))
    dealt = assign_shards(rows, shards=wanted, seed=3)
    counts = Counter(zip(splits, dealt.tolist(), strict=True))
    for name, size in zip(SPLITS, sizes, strict=True):
        held = [counts[name, shard] for shard in range(wanted[name])]
        assert sum(held) == size and max(held) - min(held) <= 1
    order = list(range(len(splits)))
    random.shuffle(order)
    again = assign_shards(rows.iloc[order], shards=wanted, seed=3)
    assert (again == dealt[order]).all()


def test_a_shard_is_a_random_sample_of_its_split():
    shards = {"train": 2, "val": 0, "test": 0}
    dealt = assign_shards(frame(["train"] * 2000), shards=shards, seed=0)
    mean = np.flatnonzero(dealt == 0).mean()
    assert abs(mean - 999.5) < 4 * 2000 / np.sqrt(12 * 1000)


@pytest.mark.parametrize(
    "shards", [{"train": 3, "val": 0, "test": 0}, {"train": 1, "val": 1, "test": 0}]
)
def test_a_split_needs_a_row_for_every_shard(shards):
    with pytest.raises(GraftError, match=r"datasets\.\*\.shards\.(train|val)"):
        assign_shards(frame(["train", "train"]), shards=shards, seed=0)


@pytest.mark.parametrize(
    ("published", "carved"),
    [
        ({"train": 800, "test": 7}, {"train": 0.75, "val": 0.25}),  # 0.6 to 0.2
        ({"train": 800, "val": 7}, {"train": 0.75, "test": 0.25}),
        ({"train": 1000}, {"train": 0.6, "val": 0.2, "test": 0.2}),
        ({"train": 80, "val": 1, "test": 7}, {"train": 1.0}),
        ({"": 1000}, {"train": 0.6, "val": 0.2, "test": 0.2}),
        # Few rows without a split do not stand in for a split that is not published.
        ({"": 10, "train": 800, "test": 7}, {"train": 0.75, "val": 0.25}),
    ],
)
def test_missing_splits_are_carved_out_of_train_and_no_others(published, carved):
    splits = [split for split, size in published.items() for _ in range(size)]
    found = complete(splits)
    for before, after in zip(splits, found, strict=True):
        assert before in ("", after) or (before == "train" and after not in published)
    large = max(published, key=published.get)
    counts = Counter(b for a, b in zip(splits, found, strict=True) if a == large)
    for name, share in carved.items():
        n = published[large]
        assert abs(counts[name] - n * share) <= 4 * np.sqrt(n * share * (1 - share))


def test_a_split_is_carved_out_by_group():
    groups = [f"person {row // 3}" for row in range(60)] + ["t 0", "t 1"]
    found = complete(["train"] * 60 + ["test"] * 2, groups=groups)
    assert len(set(zip(groups, found, strict=True))) == len(set(groups))
    assert set(found[:60]) == {"train", "val"}


def test_rows_without_a_split_go_with_published_ones_of_their_group_or_picture():
    rows = frame(
        ["test", "val", "train", "", "", "", "", ""],
        groups=["p", "q", "r", "p", "q", "s", "s", "t"],
        content=[b"1", b"2", b"3", b"4", b"5", b"3", b"6", b"7"],
    )
    found, reasons = follow_published(rows)
    # The last but one has nothing of a published row, but the person of a row that has.
    assert found == ["test", "val", "train", "test", "val", "train", "train", ""]
    assert not any(reasons)


def test_a_repeat_without_a_split_gives_way_to_published_ones():
    splits = ["test", "val", "train", "", "", "", ""]
    content = [b"1", b"2", b"3", b"1", b"2", b"3", b"4"]
    _, reasons = follow_published(frame(splits, groups=list("abcdefg"), content=content))
    assert reasons == ["", "", "", "duplicate_of_test", "duplicate_of_val", "", ""]


def test_whose_picture_is_dropped_goes_with_it_all_the_same():
    # Of p one picture is the published test's; of q one is, and another the published train's.
    rows = frame(
        ["train", "test", "test", "", "", "", "", "", ""],
        groups=["a", "b", "c", "p", "p", "q", "q", "q", "r"],
        content=[b"1", b"2", b"3", b"2", b"4", b"3", b"1", b"5", b"6"],
    )
    found, reasons = follow_published(rows)
    assert reasons[3:] == [
        *("duplicate_of_test", ""),
        *("duplicate_of_test", "between_splits", "between_splits"),
        "",
    ]
    assert (found[4], found[8]) == ("test", "")


def test_groups_that_straddle_published_splits_are_refused():
    splits, groups = ["train"] * 40 + ["test"], [f"{row}" for row in range(41)]
    # Listed as published, though its training row is one of those that val is carved out of.
    groups[40] = groups[complete(splits, groups=groups).index("val")]
    with pytest.raises(GraftError, match=f"the group '{groups[40]}' is in both train and test"):
        complete(splits, groups=groups)


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["", "", *SPLITS]),
        st.sampled_from("ab"),
        st.integers(0, 30),
        st.integers(0, 60),
    ),
    min_size=1,
    max_size=50,
)


@settings(deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_completed_splits_never_straddle_and_do_not_depend_on_the_order(rows, shuffler):
    def run(rows):
        splits, labels, groups, content = map(list, zip(*rows, strict=True))
        content = [str(picture).encode() for picture in content]
        listed = frame(splits, labels, [f"group {group}" for group in groups], content)
        followed, reasons = follow_published(listed)
        stay = np.flatnonzero([reason == "" for reason in reasons])
        listed = listed.assign(split=followed).iloc[stay]
        listed = complete_splits(listed, fractions=FRACTIONS, seed=0)
        kept = np.array([reason == "" for reason in repeats(listed)])
        return [rows[row] for row in stay[kept]], listed[kept]

    try:
        kept, found = run(rows)
    except GraftError as error:
        assert "is in both" in str(error)
        return
    check_splits(found)
    given_ = {row[0] for row in kept}
    for row, split in zip(kept, found["split"], strict=True):
        assert row[0] in ("", split) or (row[0] == "train" and split not in given_)
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    again, dealt = run(shuffled)
    assert Counter(zip(again, dealt["split"], strict=True)) == Counter(
        zip(kept, found["split"], strict=True)
    )
