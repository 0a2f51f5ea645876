"""Splits and shards: nothing straddles, shares are kept, and only a sample's identity counts."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.core.errors import GraftError
from graft.datasets.splits import (
    SPLITS,
    assign_shards,
    check_splits,
    follow_published,
    split_by_group,
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


def split(rows, seed=0, fractions=FRACTIONS):
    labels, groups, pictures = (list(column) for column in zip(*rows, strict=True))
    content = [digest(picture) for picture in pictures]
    return list(split_by_group(labels, groups, content, fractions=fractions, seed=seed))


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
        split_by_group(
            [r[0] for r in rows],
            [r[1] for r in rows],
            [digest(r[2]) for r in rows],
            fractions=FRACTIONS,
            seed=0,
            dataset="d",
        )


def test_the_seed_draws_the_split():
    rows = [("a", f"{i}", f"{i}") for i in range(50)]
    assert split(rows, 0) == split(rows, 0) != split(rows, 1)


@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.1), (1.2, -0.1, -0.1)])
def test_fractions_must_be_fractions_of_the_whole(shares):
    with pytest.raises(GraftError, match=r"datasets\.\*\.split"):
        split([("a", "b", "c")], fractions=dict(zip(SPLITS, shares, strict=True)))


def test_straddling_is_an_error():
    splits = ["train", "test", "test"]
    with pytest.raises(
        GraftError, match=r"datasets\.d: the group 'p' stands in both train and test"
    ):
        check_splits(splits, ["p", "p", "q"], [b"1", b"2", b"3"], dataset="d")
    with pytest.raises(GraftError, match="picture with sha256 0abc"):
        check_splits(splits, ["p", "q", "r"], [b"\x0a\xbc", b"2", b"\x0a\xbc"])
    check_splits(splits, ["p", "q", "q"], [b"1", b"2", b"2"])


def test_repeats_leave_the_weaker_of_two_published_splits():
    rows = {
        "train": [b"only", b"in val", b"in test", b"in both", b"only"],
        "val": [b"in val", b"in both", b"val and test"],
        "test": [b"in test", b"in both", b"val and test", b"val and test"],
    }
    splits = [name for name, content in rows.items() for _ in content]
    pictures = [picture for content in rows.values() for picture in content]
    followed, reasons = follow_published(splits, [f"{i}" for i in range(len(splits))], pictures)
    assert followed == splits
    to_val, to_test = "duplicate_of_val", "duplicate_of_test"
    assert reasons == ["", to_val, to_test, to_test, "", "", to_test, to_test, "", "", "", ""]


def limited(sizes, limit, seed=0, split="train"):
    labels = [label for label, size in sizes.items() for _ in range(size)]
    ids = [f"{i:016x}" for i in range(len(labels))]
    keep = within_limit(labels, [split] * len(labels), ids, limit=limit, seed=seed)
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
        ({"a": 5, "b": 5}, None, {"a": 5, "b": 5}),
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
    ids = [f"{i:016x}" for i in range(len(splits))]
    wanted = dict(zip(SPLITS, shards, strict=True))
    dealt = assign_shards(splits, ids, wanted, seed=3)
    counts = Counter(zip(splits, dealt.tolist(), strict=True))
    for name, size in zip(SPLITS, sizes, strict=True):
        held = [counts[name, shard] for shard in range(wanted[name])]
        assert sum(held) == size and max(held) - min(held) <= 1
    order = list(range(len(ids)))
    random.shuffle(order)
    again = assign_shards([splits[i] for i in order], [ids[i] for i in order], wanted, seed=3)
    assert (again == dealt[order]).all()


def test_a_shard_is_a_random_sample_of_its_split():
    ids = [f"{i:016x}" for i in range(2000)]
    dealt = assign_shards(["train"] * 2000, ids, {"train": 2, "val": 0, "test": 0}, seed=0)
    mean = np.flatnonzero(dealt == 0).mean()
    assert abs(mean - 999.5) < 4 * 2000 / np.sqrt(12 * 1000)


@pytest.mark.parametrize("shards", [{"train": 3, "val": 0, "test": 0}, {}])
def test_a_split_needs_a_row_for_every_shard(shards):
    with pytest.raises(GraftError, match=r"datasets\.\*\.shards\.(train|val)"):
        assign_shards(["train", "train"], ["0", "1"], shards, seed=0)
