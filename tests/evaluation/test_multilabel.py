"""Average precision in both definitions, thresholds, and the metrics of several classes."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from graft.core.errors import GraftError
from graft.evaluation import average_precision, compare, evaluate, failure, multilabel
from graft.images.packs import LEFT_OUT

ROWS = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30).filter(
    lambda rows: 0 < sum(positive for _, positive in rows) < len(rows)
)
OPTIONS = {"resamples": 50, "seed": 0, "level": 0.95}


def once(values):
    return np.ones((len(values), 1), np.int64)


def voc2007(scores, positive):
    """The devkit's VOCap of 2007 on a table of thresholds: max precision at recall >= t."""
    points = []
    for threshold in sorted(set(scores)):
        chosen = scores >= threshold
        hits = int((positive & chosen).sum())
        points.append((hits / positive.sum(), hits / chosen.sum()))
    best = [max(p for r, p in points if r >= t / 10 - 1e-12) for t in range(11)]
    return float(np.mean(best))


def test_golden_values_of_both_definitions():
    # Ranked: + - + - -. Precision at the positives: 1 and 2/3.
    scores, positive = np.array([5.0, 4, 3, 2, 1]), np.array([1, 0, 1, 0, 0], bool)
    assert average_precision.area(scores, positive, once(scores)) == pytest.approx([5 / 6])
    # Recalls 0 to 0.5 at precision 1 (six of them), 0.6 to 1 at 2/3 (five).
    assert average_precision.eleven_point(scores, positive, once(scores)) == pytest.approx(
        [(6 + 5 * 2 / 3) / 11]
    )


def test_a_recall_of_three_tenths_is_one_of_a_point_three():
    scores = np.arange(20.0, 0, -1)
    positive = np.array([1, 1, 1] + [0] * 10 + [1] * 7, bool)
    found = average_precision.eleven_point(scores, positive, once(scores))[0]
    assert found == pytest.approx((4 * 1 + 7 * 0.5) / 11)


@given(ROWS)
def test_the_area_is_scikit_learn_s_and_eleven_points_are_the_devkit_s(rows):
    scores, positive = np.array([r[0] for r in rows], float), np.array([r[1] for r in rows])
    ours = average_precision.area(scores, positive, once(scores))[0]
    assert ours == pytest.approx(sklearn.metrics.average_precision_score(positive, scores))
    eleven = average_precision.eleven_point(scores, positive, once(scores))[0]
    assert eleven == pytest.approx(voc2007(scores, positive))


@pytest.mark.parametrize("kind", list(average_precision.KINDS))
def test_weights_are_repetitions_of_rows(kind):
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 8, 40).astype(float), rng.random(40) < 0.3
    weights = rng.integers(0, 3, (40, 20))
    found = average_precision.KINDS[kind](scores, positive, weights)
    for column, value in zip(weights.T, found, strict=True):
        again = np.repeat(scores, column), np.repeat(positive, column)
        expected = average_precision.KINDS[kind](*again, once(again[0]))[0]
        assert value == pytest.approx(expected, nan_ok=True)


def table(scores, true, ids=None):
    ids = ids or [f"s{i}" for i in range(len(true))]
    return multilabel.predictions_frame(ids, ids, np.array(true, np.uint8), scores, ["b", "a"])


def test_what_only_shows_difficult_objects_is_left_out_or_a_positive():
    scores = np.array([[3.0, 0], [2, 0], [1, 1], [0, 2]])
    true = [[LEFT_OUT, 0], [1, 0], [0, 1], [0, 0]]
    measured = multilabel.measure(table(scores, true), thresholds=[1.5, 0.5], **OPTIONS)
    # b: 2 + 1 - 0 -: right. With the difficult one it is + + - -. a: - + are ranked 2, 1.
    assert measured["per_class"]["b"]["ap"] == 1
    assert measured["per_class"]["a"]["ap"] == 0.5
    assert measured["mean_ap"] == 0.75 and measured["mean_ap_all"] == 0.75
    assert measured["per_class"]["b"]["left_out"] == 1
    assert measured["majority_baseline"] == pytest.approx((1 / 3 + 1 / 4) / 2)
    # b: 1 right, none wrong; a: 1 of 2 predicted.
    assert measured["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert measured["micro_f1"] == pytest.approx(4 / 5)


@given(ROWS)
def test_a_threshold_has_the_highest_f1(rows):
    scores, true = np.array([[r[0]] for r in rows], float), np.array([[r[1]] for r in rows], int)
    (threshold,) = multilabel.fit_thresholds(true, scores)
    reached = sklearn.metrics.f1_score(true[:, 0], scores[:, 0] > threshold)
    best = max(
        sklearn.metrics.f1_score(true[:, 0], scores[:, 0] > t) for t in np.arange(-0.5, 6, 0.5)
    )
    assert reached == pytest.approx(best)


def test_predictions_survive_the_csv_and_a_row_of_no_class_is_a_negative(tmp_path):
    from graft.evaluation.predictions import read_predictions, write_predictions

    frame = table(np.array([[0.1, 1 / 3], [2, -1]]), [[0, 0], [1, LEFT_OUT]])
    write_predictions(tmp_path / "p.csv", frame)
    rows = multilabel.unpack_predictions(read_predictions(tmp_path / "p.csv"))
    assert rows.true.tolist() == [[0, 0], [1, LEFT_OUT]] and rows.scores[0, 1] == 1 / 3
    lines = evaluate.inference_lines(read_predictions(tmp_path / "p.csv"))
    assert lines.splitlines()[0] == "[0.100000, 0.333333], [0, 0]"


def test_what_is_not_such_a_table_is_refused():
    frame = table(np.zeros((2, 2)), [[0, 1], [1, 0]])
    with pytest.raises(GraftError, match="'c' is not one of the classes"):
        multilabel.unpack_predictions(frame.assign(true="c"))
    with pytest.raises(GraftError, match="not a number; the model has probably diverged"):
        multilabel.unpack_predictions(frame.assign(score_a=np.inf))


def test_modes_are_compared_by_mean_average_precision_on_the_same_resamples():
    rng = np.random.default_rng(1)
    true = (rng.random((80, 2)) < 0.4).astype(np.uint8)
    good, bad = (true + noise * rng.normal(size=true.shape) for noise in (0.3, 3))
    runs = {"fine_tuning": {0: table(good, true)}, "from_scratch": {0: table(bad, true)}}
    found = compare.compare(runs, metric="mean_ap", **OPTIONS)
    expected = np.mean(
        [sklearn.metrics.average_precision_score(true[:, i], good[:, i]) for i in range(2)]
    )
    assert found["modes"]["fine_tuning"]["mean"] == pytest.approx(expected)
    (pair,) = found["pairs"]
    assert pair["verdict"].startswith("fine_tuning beats from_scratch by")
    assert "points of mAP" in pair["verdict"]
    assert found["majority_baseline"] == pytest.approx(true.mean(axis=0).mean())
    same = compare.compare(
        {"a": runs["fine_tuning"], "b": runs["fine_tuning"]}, metric="mean_ap_11", **OPTIONS
    )
    assert same["pairs"][0]["low"] == same["pairs"][0]["high"] == 0


def test_a_run_that_ranks_no_better_than_chance_has_failed():
    import pandas as pd

    true = [[0, 1], [1, 0], [0, 0], [0, 0]]
    measured = multilabel.measure(table(np.zeros((4, 2)), true), thresholds=[0, 0], **OPTIONS)
    history = pd.DataFrame({"epoch": [1], "train_loss": [1.0], "val_accuracy": [0.5]})
    options = {"metric": "mean_ap", "select": "mean_ap", "best_epoch": 1, "val_rows": 9}
    failed = failure.failure(measured, history, **options)
    assert failed.reason == "test mAP 25.0 %, not above the 25.0 % of a random ranking"


def test_classes_without_a_positive_are_named():
    true = [[0, 1], [0, 1], [0, 0]]
    measured = multilabel.measure(table(np.zeros((3, 2)), true), thresholds=[0, 0], **OPTIONS)
    assert measured["untested"] == [measured["classes"][0]]
    runs = {"a": {0: table(np.zeros((3, 2)), true)}}
    compared = compare.compare(runs, metric="mean_ap", **OPTIONS)
    assert (compared["n_classes"], compared["untested"]) == (2, measured["untested"])
