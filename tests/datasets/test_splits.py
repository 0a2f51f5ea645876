"""Splits and shards: nothing straddles, shares are kept, and only a sample's identity counts."""

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
    complete_splits,
    follow_published,
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
@given(rows(), st.integers(0, 3), st.randoms(use_true_random=False))
def test_nothing_straddles_and_order_does_not_matter(rows, seed, random):
    try:
        found = split(rows, seed)
    except GraftError as error:
        # Only a class whose rows are all bound to another class's may end without training.
        assert "no training sample" in str(error)
        assert len({group for _, group, _ in rows}) < len(rows) or len(
            {picture for *_, picture in rows}
        ) < len(rows)
        return
    assert len(found) == len(rows) and set(found) <= set(SPLITS)
    for column in (1, 2):
        together = {}
        for row, name in zip(rows, found, strict=True):
            assert together.setdefault(row[column], name) == name
    order = list(range(len(rows)))
    random.shuffle(order)
    assert split([rows[i] for i in order], seed) == [found[i] for i in order]


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 120), min_size=1),
    st.sampled_from([(0.7, 0.1, 0.2), (0.5, 0.25, 0.25), (0.98, 0.01, 0.01), (0.8, 0.0, 0.2)]),
    st.integers(0, 5),
)
def test_single_samples_keep_each_class_to_its_share(sizes, shares, seed):
    rows = [(label, f"{label}{i}", f"{label}{i}") for label in sizes for i in range(sizes[label])]
    fractions = dict(zip(SPLITS, shares, strict=True))
    used = [name for name in SPLITS if fractions[name]]
    for label, counts in tally([r[0] for r in rows], split(rows, seed, fractions)).items():
        assert counts[0] >= 1
        if sizes[label] >= len(used):
            assert all(counts[SPLITS.index(name)] >= 1 for name in used)
        for count, share in zip(counts, shares, strict=True):
            exact = share * sizes[label]
            # Off by a rounding, and by what the guarantee of one in every split takes.
            assert abs(count - exact) < 2 + 1e-9 or count == 1
            assert share or not count


def test_ten_samples_of_each_class_split_exactly():
    rows = [(label, f"{label}{i}", f"{label}{i}") for label in "ab" for i in range(10)]
    assert tally([r[0] for r in rows], split(rows)) == {"a": (7, 1, 2), "b": (7, 1, 2)}


@pytest.mark.parametrize(("size", "counts"), [(1, {(1, 0, 0)}), (3, {(1, 1, 1)}), (4, {(2, 1, 1)})])
def test_small_classes_train_first_and_then_stand_in_every_split(size, counts):
    rows = [(f"{c}", f"{c}-{i}", f"{c}-{i}") for c in range(20) for i in range(size)]
    assert set(tally([r[0] for r in rows], split(rows)).values()) == counts


def test_the_second_samples_of_classes_of_two_go_where_most_is_lacking():
    rows = [(f"{c}", f"{c}-{i}", f"{c}-{i}") for c in range(100) for i in range(2)]
    found = split(rows)
    assert Counter(found) == {"train": 100, "val": 40, "test": 60}
    assert all(counts[0] == 1 for counts in tally([r[0] for r in rows], found).values())


def test_large_groups_stay_whole_and_do_not_overshoot():
    # 100 rows of one class; the shares are 70, 10 and 20. The group of 30 fits training only.
    sizes = {"thirty": 30, **{f"ten {i}": 10 for i in range(7)}}
    rows = [("a", group, f"{group}{i}") for group, size in sizes.items() for i in range(size)]
    found = split(rows)
    assert tally(["a"] * 100, found) == {"a": (70, 10, 20)}
    assert dict(zip([r[1] for r in rows], found, strict=True))["thirty"] == "train"


def test_every_split_gets_groups_of_every_size():
    sizes = [1, 2, 5, 10] * 50
    rows = [("a", f"{g}", f"{g}-{i}") for g, size in enumerate(sizes) for i in range(size)]
    found = split(rows)
    seen = {(name, sizes[int(group)]) for (_, group, _), name in zip(rows, found, strict=True)}
    assert seen == {(name, size) for name in SPLITS for size in (1, 2, 5, 10)}
    assert Counter(found) == {"train": 630, "val": 90, "test": 180}


def test_a_chain_of_groups_and_pictures_is_one_unit():
    # p1 and p2 share picture x, p2 and p3 share picture y: all three belong together.
    chain = [("a", "p1", "x"), ("a", "p2", "x"), ("a", "p2", "y"), ("a", "p3", "y")]
    for seed in range(10):
        found = split([*chain, *[("a", f"q{i}", f"q{i}") for i in range(6)]], seed)
        assert len(set(found[:4])) == 1


def test_a_unit_of_two_labels_goes_by_the_more_frequent():
    mixed = [("a", "both", "1"), ("a", "both", "2"), ("b", "both", "3")]
    found = split([*mixed, ("b", "only", "4")])
    assert found == ["train"] * 4


def test_a_class_without_a_training_sample_is_an_error():
    rows = [("a", "p", "1"), ("a", "p", "2"), ("b", "p", "3"), *[("a", "q", "4")] * 9]
    with pytest.raises(GraftError, match=r"datasets\.d: the class 'b' has no training sample"):
        split(rows)


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


def test_a_smaller_limit_keeps_some_of_the_same_rows():
    small, large = (limited({"a": 60, "b": 40}, limit)[0] for limit in (10, 50))
    assert large[small].all()
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
    ("published", "sizes"),
    [
        ({"train": 80, "test": 7}, {"train": 60, "val": 20, "test": 7}),  # a quarter of train
        ({"train": 80, "val": 7}, {"train": 60, "val": 7, "test": 20}),
        ({"train": 100}, {"train": 60, "val": 20, "test": 20}),
        ({"train": 80, "val": 1, "test": 7}, {"train": 80, "val": 1, "test": 7}),
        ({"": 100}, {"train": 60, "val": 20, "test": 20}),
        # Few rows without a split do not stand in for a split that is not published.
        ({"": 10, "train": 80, "test": 7}, {"train": 66, "val": 22, "test": 9}),
        ({"": 10, "train": 80, "val": 3, "test": 7}, {"train": 86, "val": 5, "test": 9}),
    ],
)
def test_missing_splits_are_carved_out_of_train_and_no_others(published, sizes):
    splits = [split for split, size in published.items() for _ in range(size)]
    found = complete(splits)
    assert Counter(found) == sizes
    for before, after in zip(splits, found, strict=True):
        assert before in ("", after) or (before == "train" and after not in published)


def test_a_split_is_carved_out_by_group_and_by_class():
    labels = ["a"] * 60 + ["b"] * 20 + ["a", "b"]
    groups = [f"person {row // 3}" for row in range(60)] + [f"b {row}" for row in range(22)]
    found = complete(["train"] * 80 + ["test"] * 2, labels, groups)
    of_group = {(group, split) for group, split in zip(groups, found, strict=True)}
    assert len(of_group) == len(set(groups))
    counts = Counter(zip(labels, found, strict=True))
    assert (counts["a", "val"], counts["b", "val"]) == (15, 5)


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


def test_a_class_that_is_not_published_for_training_is_refused():
    with pytest.raises(GraftError, match="the class 'b' has no training sample"):
        complete(["train", "val", "test"], ["a", "a", "b"])


def test_a_class_of_the_unpublished_rows_may_have_its_training_rows_among_the_published():
    # b's only unpublished row is bound to a larger group of a's, which may land anywhere.
    labels = ["b"] * 5 + ["a"] * 30 + ["a", "b"]
    groups = [f"g{row}" for row in range(35)] + ["both", "both"]
    published = [*["train"] * 3, "val", "test"]
    found = complete([*published, *[""] * 32], labels, groups)
    assert found[:5] == published and found[-1] == found[-2]


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
        groups = [f"group {group}" for group in groups]
        columns = [
            *follow_published(frame(splits, labels, groups, content)),
            labels,
            groups,
            content,
        ]
        stay = [row for row, reason in enumerate(columns.pop(1)) if not reason]
        columns = [[column[row] for row in stay] for column in columns]
        return [rows[row] for row in stay], complete(*columns)

    try:
        kept, found = run(rows)
    except GraftError as error:
        assert "is in both" in str(error) or "no training sample" in str(error)
        return
    given_ = {row[0] for row in kept}
    for row, split in zip(kept, found, strict=True):
        assert row[0] in ("", split) or (row[0] == "train" and split not in given_)
    for column in (2, 3):
        straddling = {(row[column], split) for row, split in zip(kept, found, strict=True)}
        assert len(straddling) == len({value for value, _ in straddling})
    if any(given_):
        shuffled = list(rows)
        shuffler.shuffle(shuffled)
        assert Counter(zip(*run(shuffled), strict=True)) == Counter(zip(kept, found, strict=True))
