"""Sampling: the rows of an epoch are balanced as asked, and the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.training.sampling import epoch_length, epoch_rows

LABELS = np.array([1] * 7 + [0] * 3 + [3] * 2)  # class 2 does not occur
BALANCES = ("none", "downsample", "upsample", "weighted")


def drawn(balance, *, labels=LABELS, seed=5, epoch=0):
    return epoch_rows(labels, balance, seed=seed, rng=np.random.default_rng([seed, 0, epoch]))


def per_class(rows, labels=LABELS):
    return np.bincount(labels[rows], minlength=labels.max() + 1).tolist()


def test_without_balance_every_row_comes_once():
    rows = drawn("none")
    assert sorted(rows) == list(range(12)) and rows.tolist() != list(range(12))


def test_downsampling_keeps_one_subset_for_all_epochs_of_a_seed():
    rows = [drawn("downsample", epoch=epoch) for epoch in range(5)]
    assert per_class(rows[0]) == [2, 2, 0, 2]
    assert all(set(one) == set(rows[0]) for one in rows), "the subset follows from the seed alone"
    assert len({tuple(one) for one in rows}) > 1, "its order does not"
    assert len(set(rows[0])) == 6, "no row twice"
    assert {frozenset(drawn("downsample", seed=seed)) for seed in range(9)} != {frozenset(rows[0])}


def test_upsampling_shows_every_row_and_draws_the_odd_ones_anew():
    rows = [drawn("upsample", epoch=epoch) for epoch in range(5)]
    for one in rows:
        assert per_class(one) == [7, 7, 0, 7]
        times = np.bincount(one, minlength=12)
        assert (times[:7] == 1).all()  # the largest class: 7 rows of 7
        assert sorted(times[7:10]) == [2, 2, 3]  # 3 rows make 7
        assert sorted(times[10:]) == [3, 4]  # 2 rows make 7
    assert len({tuple(np.bincount(one)) for one in rows}) > 1


def test_weighted_draws_find_all_classes_equally_likely():
    labels = np.repeat([0, 1, 2], [8_900, 1_000, 100])
    rows = drawn("weighted", labels=labels)
    assert len(rows) == len(labels)
    # Three standard deviations of a class's share among 10,000 draws are 1.4 points.
    np.testing.assert_allclose(np.array(per_class(rows, labels)) / len(rows), 1 / 3, atol=0.015)
    rare = np.bincount(rows, minlength=len(labels))[-100:]
    assert rare.min() > 10 and rare.max() < 60, "33 draws of each row are expected"
    assert not (rows[:5_000] < 8_900).all(), "the classes are mixed"


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=40).map(np.array),
    balance=st.sampled_from(BALANCES),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 3),
)
def test_the_length_is_as_declared_and_equal_seeds_give_equal_rows(labels, balance, seed, epoch):
    rows = drawn(balance, labels=labels, seed=seed, epoch=epoch)
    assert len(rows) == epoch_length(labels, balance)
    assert rows.min() >= 0 and rows.max() < len(labels)
    assert rows.tolist() == drawn(balance, labels=labels, seed=seed, epoch=epoch).tolist()
    counts = np.bincount(labels[rows])
    if balance in ("downsample", "upsample"):
        assert len(set(counts[counts > 0])) == 1 and set(labels[rows]) == set(labels)


@pytest.mark.parametrize("balance", BALANCES)
def test_equal_classes_have_nothing_to_balance(balance):
    labels = np.arange(40) % 4
    rows = drawn(balance, labels=labels)
    assert len(rows) == epoch_length(labels, balance) == 40
    if balance != "weighted":
        assert sorted(rows) == list(range(40))
