"""Paired comparison of modes: golden values by hand, and what the pairing is for."""

import numpy as np
import pandas as pd
import pytest

from graft.core import files
from graft.core.errors import GraftError
from graft.evaluation import compare, metrics


def _table(right, *, true=None, groups=None):
    """Predictions that are right where `right` says so, on classes f and m."""
    right = np.asarray(right, bool)
    n = len(right)
    true = np.arange(n) % 2 if true is None else np.asarray(true)
    groups = np.arange(n) if groups is None else groups
    confidences = 0.1 + 0.8 * np.eye(2)[np.where(right, true, 1 - true)]
    names = [f"s{row:04d}" for row in range(n)]
    return metrics.predictions_frame(names, groups, true, confidences, ["f", "m"])


def test_golden_values_of_a_small_comparison(tmp_path):
    n = 200
    low = {s: _table(np.arange(n) % 10 < 5) for s in (0, 1)}  # 50 % right
    high = {0: _table(np.arange(n) % 10 < 9), 1: _table(np.arange(n) % 10 < 8)}  # 85 %
    found = compare.compare({"from_scratch": low, "fine_tuning": high}, resamples=500)

    assert (found["metric"], found["n_samples"], found["n_groups"]) == ("accuracy", n, n)
    assert found["seeds"] == [0, 1]
    assert found["majority_baseline"] == 0.5
    mode = found["modes"]["fine_tuning"]
    assert mode["seeds"] == {"0": 0.9, "1": 0.8}
    assert mode["mean"] == pytest.approx(0.85)
    assert mode["std"] == pytest.approx(0.1 / np.sqrt(2))
    assert mode["low"] < 0.85 < mode["high"]
    (pair,) = found["pairs"]
    assert (pair["a"], pair["b"]) == ("fine_tuning", "from_scratch")
    assert pair["difference"] == pytest.approx(0.35)
    assert 0 < pair["low"] < 0.35 < pair["high"]
    assert pair["verdict"] == (
        f"fine_tuning beats from_scratch by 35.0 points "
        f"[{100 * pair['low']:.1f}, {100 * pair['high']:.1f}]"
    )
    files.write_json(tmp_path / "comparison.json", found)


def test_every_pair_is_there_and_order_of_rows_and_seeds_does_not_matter():
    rng = np.random.default_rng(0)
    tables = {
        mode: {s: _table(rng.random(60) < skill) for s in (1, 0, 2)}
        for mode, skill in (("a", 0.5), ("b", 0.7), ("c", 0.9))
    }
    found = compare.compare(tables, resamples=200)
    assert [{pair["a"], pair["b"]} for pair in found["pairs"]] == [
        {"a", "b"},
        {"a", "c"},
        {"b", "c"},
    ]
    shuffled = {
        mode: {s: runs[s].sample(frac=1, random_state=s) for s in (2, 1, 0)}
        for mode, runs in tables.items()
    }
    assert compare.compare(shuffled, resamples=200) == found


def test_no_evidence_is_a_verdict():
    right = np.arange(100) % 2 == 0
    swapped = right.copy()
    swapped[:3] = True, True, False  # one more and one fewer
    found = compare.compare({"a": {0: _table(right)}, "b": {0: _table(swapped)}}, resamples=300)
    (pair,) = found["pairs"]
    assert pair["verdict"].startswith("no evidence of a difference between a and b (0.0 points [-")
    assert found["modes"]["a"]["std"] is None


def test_identical_runs_differ_by_nothing():
    table = _table(np.arange(50) % 3 > 0)
    (pair,) = compare.compare({"a": {0: table}, "b": {0: table}}, resamples=100)["pairs"]
    assert (pair["difference"], pair["low"], pair["high"]) == (0, 0, 0)
    assert pair["verdict"] == "no evidence of a difference between a and b (0.0 points [0.0, 0.0])"


def test_pairing_sees_a_small_gain_that_unpaired_intervals_hide():
    rng = np.random.default_rng(0)
    right = rng.random(500) < 0.7
    better = right | (rng.random(500) < 0.08)  # never worse on any row
    found = compare.compare({"a": {0: _table(right)}, "b": {0: _table(better)}}, resamples=500)
    assert found["modes"]["b"]["low"] < found["modes"]["a"]["high"]
    assert found["pairs"][0]["verdict"].startswith("b beats a by")


def test_groups_and_seeds_both_widen_the_interval():
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(50) < 0.7, 10)
    better = right | np.repeat(rng.random(50) < 0.2, 10)
    people = np.repeat(np.arange(50), 10)

    def width(groups, drops):
        modes = {
            "a": {s: _table(right, groups=groups) for s in range(len(drops))},
            "b": {
                s: _table(better & (np.arange(500) % 100 >= drop), groups=groups)
                for s, drop in enumerate(drops)
            },
        }
        (pair,) = compare.compare(modes, resamples=1000)["pairs"]
        return pair["high"] - pair["low"]

    assert width(people, [0]) > 2 * width(np.arange(500), [0])
    assert width(np.arange(500), [0, 15, 30]) > 2 * width(np.arange(500), [15, 15, 15])


def test_seeds_are_paired_where_both_modes_ran_them():
    # Both modes have the same good and bad seeds: their difference does not vary at all.
    seeds = {s: np.arange(100) % 10 < s for s in (4, 6, 8)}
    worse = {s: right & (np.arange(100) % 10 != 0) for s, right in seeds.items()}
    groups = np.arange(100) // 10  # every group is alike, so only seeds could vary
    modes = {
        "a": {s: _table(right, groups=groups) for s, right in seeds.items()},
        "b": {s: _table(right, groups=groups) for s, right in worse.items()},
    }
    found = compare.compare(modes, resamples=300)
    (pair,) = found["pairs"]
    assert (pair["low"], pair["high"]) == (pytest.approx(0.1), pytest.approx(0.1))
    assert found["modes"]["a"]["high"] - found["modes"]["a"]["low"] > 0.2


def test_modes_may_have_run_different_seeds():
    modes = {
        "a": {0: _table(np.arange(60) % 2 > 0)},
        "b": {s: _table(np.arange(60) % 5 > 0) for s in (0, 1)},
    }
    found = compare.compare(modes, resamples=200)
    assert found["seeds"] == [0, 1]
    assert found["pairs"][0]["difference"] == pytest.approx(0.3)
    assert found["pairs"][0]["low"] > 0


def test_balanced_accuracy_weighs_the_classes_alike():
    # 80 of class 0 (90 % right) and 20 of class 1 (30 % right), in 20 groups of 5.
    true = np.repeat([0, 1], [80, 20])
    right = np.concatenate([np.arange(80) % 10 < 9, np.arange(20) % 10 < 3])
    always = _table(true == 0, true=true, groups=np.arange(100) % 20)
    some = _table(right, true=true, groups=np.arange(100) % 20)
    modes = {"some": {0: some}, "always": {0: always}}
    found = compare.compare(modes, metric="balanced_accuracy", resamples=400)
    assert found["modes"]["some"]["mean"] == pytest.approx(0.6)
    assert found["majority_baseline"] == 0.5
    assert found["pairs"][0]["difference"] == pytest.approx(0.1)
    assert "points of balanced accuracy" in found["pairs"][0]["verdict"]
    plain = compare.compare(modes, resamples=400)
    assert plain["majority_baseline"] == 0.8
    assert plain["pairs"][0]["a"] == "always"


def test_balanced_accuracy_of_resamples_is_the_weighted_one():
    rng = np.random.default_rng(2)
    true, right, groups = rng.integers(0, 3, 80), rng.random(80) < 0.6, rng.integers(0, 12, 80)
    tally = compare._Tally(right[None], true, groups)
    weights = rng.integers(0, 3, (12, 30)).astype(np.int32)
    confidences = np.eye(3)[np.where(right, true, (true + 1) % 3)]
    expected = metrics.weighted_metrics(true, confidences, weights[groups])["balanced_accuracy"]
    np.testing.assert_allclose(tally.metric(weights)[0], expected)


def test_one_group_gives_no_interval(tmp_path):
    modes = {m: {0: _table([True, False], groups=["x", "x"])} for m in ("a", "b")}
    found = compare.compare(modes)
    assert found["pairs"][0]["low"] is None
    assert found["pairs"][0]["verdict"].startswith("no interval for a against b")
    files.write_json(tmp_path / "comparison.json", found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f[:-2], "2 are missing and 0 are extra, such as s0004"),
        (lambda f: f.replace("s0003", "zz"), "1 are missing and 1 are extra, such as s0003"),
        (lambda f: f.assign(group="x"), "sample s0000 another group"),
        (lambda f: f.assign(true="m"), "sample s0000 another true"),
        (
            lambda f: f.rename(columns={"confidence_m": "confidence_x"}).replace("m", "x"),
            "other classes",
        ),
    ],
)
def test_runs_on_other_rows_are_refused_by_name(change, words):
    table = _table([True] * 6)
    modes = {"a": {0: table, 1: table}, "b": {0: table, 1: change(table)}}
    with pytest.raises(GraftError, match=f"mode 'b', seed 1.*mode 'a', seed 0.*{words}|{words}"):
        compare.compare(modes)


def test_bad_arguments_are_refused():
    with pytest.raises(GraftError, match="choose one of accuracy, balanced_accuracy"):
        compare.compare({"a": {0: _table([True])}}, metric="auroc")
    with pytest.raises(GraftError, match="no predictions"):
        compare.compare({"a": {}})


def _history(values, column="val_accuracy"):
    return pd.DataFrame({"epoch": np.arange(len(values)) + 1, column: values})


def test_a_run_that_was_cut_off_says_so():
    rising = _history(np.linspace(0.5, 0.8, 10))
    warning = compare.convergence_warning(rising, stopped_early=False)
    assert warning.startswith("had not converged: its best val_accuracy (80.0 %) came in the last")
    assert compare.convergence_warning(rising, stopped_early=True) is None

    falling = _history(np.linspace(2, 1, 10), "val_loss")
    warning = compare.convergence_warning(falling, stopped_early=False, metric="loss")
    assert "best val_loss (1)" in warning
    rising_loss = _history(np.linspace(1, 2, 10), "val_loss")
    assert compare.convergence_warning(rising_loss, stopped_early=False, metric="loss") is None


def test_a_plateau_has_converged_and_a_slope_has_not():
    plateau = 0.8 + 0.01 * np.sin(np.arange(30) * 2.5)
    plateau[12] = 0.83
    assert compare.convergence_warning(_history(plateau), stopped_early=False) is None
    flat = _history(np.full(10, 0.8))
    assert compare.convergence_warning(flat, stopped_early=False) is None
    slope = np.linspace(0.5, 0.8, 30)
    slope[-2:] = slope[-2:][::-1]  # the best epoch is the last but one
    warning = compare.convergence_warning(_history(slope), stopped_early=False)
    assert warning.startswith("was still improving in val_accuracy when its 30 epochs were over")


def test_a_diverged_run_says_so_and_a_missing_metric_is_refused():
    warning = compare.convergence_warning(_history([np.nan] * 3), stopped_early=True)
    assert warning.startswith("diverged")
    with pytest.raises(GraftError, match="lacks the column val_auroc"):
        compare.convergence_warning(_history([1.0]), stopped_early=True, metric="auroc")


def _measured(confidences, true, classes=None):
    classes = classes or [f"c{k}" for k in range(np.shape(confidences)[1])]
    return metrics.classification_metrics(true, confidences, classes)


def _training(losses, accuracies, rate=0.01):
    epochs = len(losses)
    return pd.DataFrame(
        {
            "epoch": np.arange(epochs) + 1,
            "learning_rate": np.broadcast_to(rate, epochs),
            "train_loss": losses,
            "train_accuracy": np.broadcast_to(accuracies, epochs),
        }
    )


# Ten classes of ten test rows each; always the first one, or mostly right ones.
TEN = np.repeat(np.arange(10), 10)
COLLAPSED = np.tile(np.eye(10)[0], (100, 1))
UNSURE = np.full((100, 10), 0.03) + 0.7 * np.eye(10)[np.where(np.arange(100) % 5, TEN, 0)]
"""Right on four rows of five, and never surer than 73 %."""
FALLING = np.geomspace(2.3, 0.4, 10)


def test_a_run_that_is_no_better_than_the_commonest_class_says_so():
    true = [0, 1, 1, 1]

    def warning(predicted):
        confidences = 0.8 * np.eye(2)[predicted] + 0.1
        falling = _training(np.linspace(0.69, 0.5, 10), 0.75)
        return compare.collapse_warning(_measured(confidences, true, ["f", "m"]), falling)

    assert warning([0, 1, 1, 1]) is None
    assert warning([1, 1, 1, 1]).startswith(
        "learned nothing that shows: its accuracy (75.0 %) is not above that of always answering "
        "the commonest class (75.0 %), it answers 'm' every time; try another train.lr"
    )
    assert "(50.0 %) is not above" in warning([0, 0, 1, 0])
    assert "every time" not in warning([0, 0, 1, 0])


def test_a_saturated_softmax_is_told_by_loss_and_confidences():
    # The well-known end of a rate too high: 90 % wrong at the float's least probability.
    stuck = _training(np.full(10, 0.9 * 16.118), 0.1)
    told = compare.collapse_warning(_measured(COLLAPSED, TEN), stuck)
    assert told.startswith("has collapsed: its accuracy (10.0 %)")
    assert "it answers 'c0' every time, and its confidences are 0 or 1" in told
    assert "log loss 32.4, where guessing gives 2.3" in told  # 0.9 of -ln 2.2e-16
    assert "its training loss was 14.5 or more in its last 3 epochs" in told
    assert told.endswith(
        "change train.lr (most often down), start from other weights or normalise the input"
    )


def test_confidences_of_0_and_1_are_told_of_a_run_above_the_majority_too():
    found = _measured(np.eye(10)[np.where(np.arange(100) % 4, 0, TEN)], TEN)
    assert found["majority_baseline"] < found["accuracy"] < 0.5
    told = compare.collapse_warning(found, _training(FALLING, 0.3))
    assert told.startswith("has collapsed: its confidences are 0 or 1 even where it is wrong")


# A little better than always answering the first class, without being sure of anything.
SLIGHT = _measured(np.full((100, 10), 0.09) + 0.1 * np.eye(10)[np.where(TEN < 2, TEN, 0)], TEN)


@pytest.mark.parametrize(
    ("losses", "rate", "told"),
    [
        (np.full(10, 2.31), 0.01, "2.31 or more in its last 3 epochs, where guessing gives 2.3;"),
        (np.linspace(60, 3, 30), 0.01, "3 or more in its last 6 epochs"),
        (np.full(10, 2.2), 0.01, "stood still at 2.2 for 3 epochs"),
        (np.full(10, 2.2), np.geomspace(1, 1e-9, 10), "stood still at 2.2 for 3 epochs"),
        (2.2 + 1e-7 * np.arange(10), 0.01, "stood still at 2.2 for 3 epochs"),
        (2.2 - 1e-3 * np.arange(10), 0.01, None),  # slow, but it moves
        ([*np.linspace(2.3, 2.2, 5), *[2.2] * 5], [1, 1, 1, 1, 1, *[1e-4] * 5], None),  # at rest
        ([3.0, 2.9, 2.8, 2.4, 2.3, 2.2], 0.01, None),  # above, but not at the end
        ([9.0, 8.0], 0.01, None),  # too short to tell
        ([2.5, np.nan, np.nan], 0.01, None),
    ],
)
def test_training_losses_that_are_no_use(losses, rate, told):
    warning = compare.collapse_warning(SLIGHT, _training(losses, 0.11, rate))
    assert warning is None if told is None else told in warning


def test_healthy_overconfident_and_overfitted_runs_are_left_alone():
    good = _measured(UNSURE, TEN)
    assert good["accuracy"] == pytest.approx(0.82)
    assert compare.collapse_warning(good, _training(FALLING, 0.9)) is None
    # Dropout may keep the training loss high, and a fitted one may stand still at nothing.
    assert compare.collapse_warning(good, _training(np.full(10, 2.5), 0.3)) is None
    assert compare.collapse_warning(good, _training(np.zeros(10), 1.0)) is None
    assert compare.collapse_warning(SLIGHT, _training(np.zeros(10), 1.0)) is None
    sure = _measured(np.eye(10)[UNSURE.argmax(1)], TEN)
    assert sure["log_loss"] > np.log(10)
    assert compare.collapse_warning(sure, _training(FALLING, 0.9)) is None


def test_two_classes_have_little_room_below_guessing():
    true = np.arange(200) % 2
    right = np.arange(200) % 20 < 11  # 55 %
    weak = np.where((true == 1) == right, 0.55, 0.45)
    found = _measured(np.stack([1 - weak, weak], 1), true)
    assert found["accuracy"] == pytest.approx(0.55, abs=0.05) and found["log_loss"] < np.log(2)
    assert compare.collapse_warning(found, _training(np.linspace(0.692, 0.689, 9), 0.53)) is None
    told = compare.collapse_warning(found, _training(np.full(9, 0.6932), 0.5))
    assert "0.693 or more in its last 3 epochs, where guessing gives 0.693;" in told
