"""Paired comparison of modes: golden values by hand, and what the pairing is for."""

import numpy as np
import pytest
from probabilities import logs

from graft.core import files
from graft.core.errors import GraftError
from graft.evaluation import compare, metrics
from graft.evaluation.failure import Failure
from graft.evaluation.predictions import predictions_frame


def compared(predictions, *, metric="accuracy", resamples=10_000, seed=0, level=0.95, **options):
    figures = {"resamples": resamples, "seed": seed, "level": level}
    return compare.compare(predictions, metric=metric, **figures, **options)


def _table(right, *, true=None, groups=None):
    """Predictions that are right where `right` says so, on classes f and m."""
    right = np.asarray(right, bool)
    n = len(right)
    true = np.arange(n) % 2 if true is None else np.asarray(true)
    groups = np.arange(n) if groups is None else groups
    confidences = 0.1 + 0.8 * np.eye(2)[np.where(right, true, 1 - true)]
    names = [f"s{row:04d}" for row in range(n)]
    return predictions_frame(names, groups, true, np.log(confidences), ["f", "m"])


def test_golden_values_of_a_small_comparison(tmp_path):
    n = 200
    low = {s: _table(np.arange(n) % 10 < 5) for s in (0, 1)}  # 50 % right
    high = {0: _table(np.arange(n) % 10 < 9), 1: _table(np.arange(n) % 10 < 8)}  # 85 %
    found = compared({"from_scratch": low, "fine_tuning": high}, resamples=500)

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
    found = compared(tables, resamples=200)
    assert [{pair["a"], pair["b"]} for pair in found["pairs"]] == [
        {"a", "b"},
        {"a", "c"},
        {"b", "c"},
    ]
    shuffled = {
        mode: {s: runs[s].sample(frac=1, random_state=s) for s in (2, 1, 0)}
        for mode, runs in tables.items()
    }
    assert compared(shuffled, resamples=200) == found


def test_no_evidence_is_a_verdict():
    right = np.arange(100) % 2 == 0
    swapped = right.copy()
    swapped[:3] = True, True, False  # one more and one fewer
    found = compared({"a": {0: _table(right)}, "b": {0: _table(swapped)}}, resamples=300)
    (pair,) = found["pairs"]
    assert pair["verdict"].startswith("no evidence of a difference between a and b (0.0 points [-")
    assert found["modes"]["a"]["std"] is None


def test_runs_that_do_not_depend_on_the_seed_have_no_spread_over_seeds():
    right = np.arange(50) % 3 > 0
    other = np.arange(50) % 3 < 2  # as often right, on other rows
    runs = {
        "probe": {s: _table(right) for s in range(3)},
        "b": {0: _table(right), 1: _table(other)},
    }
    modes = compared(runs, resamples=200)["modes"]
    assert modes["probe"]["std"] is None and len(modes["probe"]["seeds"]) == 3
    assert modes["b"]["std"] is not None


def test_identical_runs_differ_by_nothing():
    table = _table(np.arange(50) % 3 > 0)
    (pair,) = compared({"a": {0: table}, "b": {0: table}}, resamples=100)["pairs"]
    assert (pair["difference"], pair["low"], pair["high"]) == (0, 0, 0)
    assert pair["verdict"] == "no evidence of a difference between a and b (0.0 points [0.0, 0.0])"


def test_pairing_sees_a_small_gain_that_unpaired_intervals_hide():
    rng = np.random.default_rng(0)
    right = rng.random(500) < 0.7
    better = right | (rng.random(500) < 0.08)  # never worse on any row
    found = compared({"a": {0: _table(right)}, "b": {0: _table(better)}}, resamples=500)
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
        (pair,) = compared(modes, resamples=1000)["pairs"]
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
    found = compared(modes, resamples=300)
    (pair,) = found["pairs"]
    assert (pair["low"], pair["high"]) == (pytest.approx(0.1), pytest.approx(0.1))
    assert found["modes"]["a"]["high"] - found["modes"]["a"]["low"] > 0.2


def test_modes_may_have_run_different_seeds():
    modes = {
        "a": {0: _table(np.arange(60) % 2 > 0)},
        "b": {s: _table(np.arange(60) % 5 > 0) for s in (0, 1)},
    }
    found = compared(modes, resamples=200)
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
    found = compared(modes, metric="balanced_accuracy", resamples=400)
    assert found["modes"]["some"]["mean"] == pytest.approx(0.6)
    assert found["majority_baseline"] == 0.5
    assert found["pairs"][0]["difference"] == pytest.approx(0.1)
    assert "points of balanced accuracy" in found["pairs"][0]["verdict"]
    plain = compared(modes, resamples=400)
    assert plain["majority_baseline"] == 0.8
    assert plain["pairs"][0]["a"] == "always"


def test_balanced_accuracy_of_resamples_is_the_weighted_one():
    rng = np.random.default_rng(2)
    true, right, groups = rng.integers(0, 3, 80), rng.random(80) < 0.6, rng.integers(0, 12, 80)
    tally = compare._Tally(right[None], true, groups)
    weights = rng.integers(0, 3, (12, 30)).astype(np.int32)
    confidences = np.eye(3)[np.where(right, true, (true + 1) % 3)]
    expected = metrics.weighted_metrics(true, logs(confidences), weights[groups])[
        "balanced_accuracy"
    ]
    np.testing.assert_allclose(tally.metric(weights)[0], expected)


def test_one_group_gives_no_interval(tmp_path):
    modes = {m: {0: _table([True, False], groups=["x", "x"])} for m in ("a", "b")}
    found = compared(modes)
    assert found["pairs"][0]["low"] is None
    assert found["pairs"][0]["verdict"].startswith("no interval for a against b")
    files.write_json(tmp_path / "comparison.json", found)


def test_a_failed_run_is_no_evidence(tmp_path):
    n = 100
    good = {s: _table(np.arange(n) % 10 < 9) for s in (0, 1)}
    flat = {s: _table(np.arange(n) % 2 > 0) for s in (0, 1)}
    modes = {"fine_tuning": flat, "from_scratch": good, "freeze_block2": good}
    constant = Failure("constant predictions, all 'm'", "lower train.lr")
    found = compared(
        modes,
        resamples=100,
        failures={"fine_tuning": {0: constant, 1: constant}, "from_scratch": {}},
    )
    verdicts = {frozenset((p["a"], p["b"])): p["verdict"] for p in found["pairs"]}
    assert verdicts[frozenset(("fine_tuning", "from_scratch"))] == (
        "no verdict: 2 of 2 runs of fine_tuning did not train (constant predictions, all 'm'); "
        "lower train.lr"
    )
    assert verdicts[frozenset(("from_scratch", "freeze_block2"))].startswith("no evidence")
    assert found["failed"] == {"fine_tuning": dict.fromkeys("01", constant.reason)}
    plain = compared(modes, resamples=100)
    assert plain["failed"] == {} and plain["modes"] == found["modes"]
    files.write_json(tmp_path / "comparison.json", found)

    diverged = Failure("diverged at epoch 2", "lower train.lr")
    at_chance = Failure("test accuracy 50.0 %", "raise train.epochs")
    found = compared(
        {"a": {0: good[0]}, "b": flat},
        resamples=100,
        failures={"a": {0: diverged}, "b": {1: diverged, 0: at_chance}},
    )
    assert found["pairs"][0]["verdict"] == (
        "no verdict: a did not train (diverged at epoch 2) and 2 of 2 runs of b did not train "
        "(seed 0: test accuracy 50.0 %; seed 1: diverged at epoch 2); lower train.lr or raise "
        "train.epochs"
    )
    assert compare.pairs_table(found)["verdict"].tolist() == [found["pairs"][0]["verdict"]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f[:-2], "2 are missing and 0 are extra, such as s0004"),
        (lambda f: f.replace("s0003", "zz"), "1 are missing and 1 are extra, such as s0003"),
        (lambda f: f.assign(group="x"), "sample s0000 another group"),
        (lambda f: f.assign(true="m"), "sample s0000 another true"),
        (
            lambda f: f.rename(columns=lambda c: c.replace("_m", "_x")).replace("m", "x"),
            "other classes",
        ),
    ],
)
def test_runs_on_other_rows_are_refused_by_name(change, words):
    table = _table([True] * 6)
    modes = {"a": {0: table, 1: table}, "b": {0: table, 1: change(table)}}
    with pytest.raises(GraftError, match=f"mode 'b', seed 1.*mode 'a', seed 0.*{words}|{words}"):
        compared(modes)


def test_bad_arguments_are_refused():
    with pytest.raises(GraftError, match="choose one of accuracy, balanced_accuracy"):
        compared({"a": {0: _table([True])}}, metric="auroc")
    with pytest.raises(GraftError, match="no predictions"):
        compared({"a": {}})


def test_classes_without_a_test_row_are_named():
    both = compared({"a": {0: _table([1, 1, 0, 1])}}, resamples=100)
    assert (both["n_classes"], both["untested"]) == (2, [])
    one = compared({"a": {0: _table([1, 1, 0, 1], true=[1, 1, 1, 1])}}, resamples=100)
    assert (one["n_classes"], one["untested"]) == (2, ["f"])
