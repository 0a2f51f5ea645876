"""Figures of merit: golden values by hand, and scikit-learn on repeated or weighted rows."""

import math
import time

import numpy as np
import pytest
import scipy.special
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from probabilities import logs

from graft.core import files
from graft.core.errors import GraftError
from graft.evaluation import bootstrap, metrics
from graft.evaluation.predictions import (
    predictions_frame,
    read_predictions,
    unpack_predictions,
    write_predictions,
)


def measured(true, confidences, classes):
    return metrics.classification_metrics(np.asarray(true), logs(confidences), classes)


def intervals(true, confidences, groups, *, resamples=1000, seed=0, level=0.95):
    return metrics.bootstrap_intervals(
        true, logs(confidences), groups, resamples=resamples, seed=seed, level=level
    )


def _random(rng, n, classes, groups, *, ties=True):
    """A test set whose confidences are right more often than not, with equal ones in plenty."""
    true = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), true] += 1
    confidences = np.exp(logits)
    if ties:
        confidences = np.ceil(4 * confidences / confidences.max(axis=1, keepdims=True))
    confidences /= confidences.sum(axis=1, keepdims=True)
    return true, confidences, rng.integers(0, groups, n)


def test_golden_values_of_a_binary_test_set():
    # Positives (male) are rows 0, 1, 2 with confidences .9, .6, .3; negatives .6 and .2.
    male = np.array([0.9, 0.6, 0.3, 0.6, 0.2])
    true = np.array([1, 1, 1, 0, 0])
    found = measured(true, np.column_stack([1 - male, male]), ["female", "male"])

    assert found["confusion_matrix"] == [[1, 1], [1, 2]]
    assert found["n"] == 5
    assert found["classes"] == ["female", "male"]
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["majority_baseline"] == pytest.approx(3 / 5)
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["macro_precision"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["macro_recall"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    # Wins over (.6, .2): .9 two, .6 one and a half, .3 one.
    assert found["auroc"] == pytest.approx(4.5 / 6)
    # Thresholds .9 (1 of 1), .6 (2 of 3), .3 (3 of 4), each a third of the recall.
    assert found["average_precision"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert found["log_loss"] == pytest.approx(-math.log(0.9 * 0.6 * 0.3 * 0.4 * 0.8) / 5)


def test_golden_values_of_calibration():
    # Confidences .9 (right), .92 (wrong), .62 (right), .58 (wrong). Of the bins of 1/15, .9 and .92
    # are in (.867, .933], .62 in (.6, .667] and .58 in (.533, .6].
    top = np.array([0.9, 0.92, 0.62, 0.58])
    true = np.array([0, 1, 0, 1])
    found = measured(true, np.column_stack([top, 1 - top]), ["f", "m"])
    assert found["ece"] == pytest.approx((abs(1 - 0.9 - 0.92) + 0.38 + 0.58) / 4)
    squares = np.square([0.1, 0.92, 0.38, 0.58])
    assert found["brier"] == pytest.approx(2 * squares.mean())
    assert found["log_loss"] == pytest.approx(-math.log(0.9 * 0.08 * 0.62 * 0.42) / 4)
    # Three classes: (.5 - 1)^2 + .3^2 + .2^2 and .1^2 + (.1 - 1)^2 + .8^2.
    found = measured([0, 1], [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], list("abc"))
    assert found["brier"] == pytest.approx((0.38 + 1.46) / 2)
    assert found["ece"] == pytest.approx((0.5 + 0.8) / 2)
    # Certain and right, and certain and wrong: the ends of all three.
    sure = np.eye(3)[[0, 1]]
    right, wrong = measured([0, 1], sure, list("abc")), measured([1, 2], sure, list("abc"))
    assert (right["brier"], right["ece"]) == pytest.approx((0, 0), abs=1e-12)
    assert (wrong["brier"], wrong["ece"]) == pytest.approx((2, 1))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 3, 7]), st.integers(2, 60))
def test_brier_and_log_loss_are_scikit_learns(seed, classes, n):
    true, confidences, _ = _random(np.random.default_rng(seed), n, classes, 5)
    found = measured(true, confidences, [str(k) for k in range(classes)])
    labels = np.arange(classes)
    assert found["log_loss"] == pytest.approx(
        sklearn.metrics.log_loss(true, confidences, labels=labels)
    )
    assert found["brier"] == pytest.approx(
        sklearn.metrics.brier_score_loss(true, confidences, labels=labels, scale_by_half=False)
    )


def test_several_classes_are_ranked_one_against_the_rest():
    # Class c never occurs, so a and b alone have an AUROC; both are separated perfectly.
    confidences = np.array([[0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6]])
    found = measured([0, 0, 1, 1], confidences, list("abc"))
    assert found["accuracy"] == 3 / 4 and found["untested"] == ["c"]
    assert found["balanced_accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    # c was predicted, so it counts, with a precision and a recall of 0.
    assert found["macro_precision"] == pytest.approx((1 + 1 + 0) / 3)
    assert found["macro_recall"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    # b: scores .7 and .3 against .3 and .1 of a: one tie.
    assert found["auroc"] == pytest.approx((1 + 3.5 / 4) / 2)


def test_what_cannot_be_computed_is_null_and_the_rest_is_strict_json(tmp_path):
    confidences = np.array([[0.4, 0.6], [1.0, 0.0]], np.float32)
    found = measured([1, 1], confidences, ["f", "m"])
    assert found["auroc"] is None
    assert found["average_precision"] is None
    assert found["balanced_accuracy"] == 1 / 2
    assert math.isfinite(found["log_loss"])
    found["intervals"] = intervals([1, 1], confidences, ["a", "b"])
    assert found["intervals"]["auroc"] is None
    assert found["intervals"]["accuracy"] == [0, 1]
    files.write_json(tmp_path / "metrics.json", found | {"seeds": metrics.over_seeds([found])})


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("scale", [1, 30])
def test_rows_are_ranked_by_their_logits_where_the_softmax_is_saturated(tmp_path, classes, scale):
    rng = np.random.default_rng(classes)
    true = rng.integers(0, classes, 500)
    logits = rng.normal(size=(500, classes))
    logits[np.arange(500), true] += 1
    logits = (scale * logits).astype(np.float32)
    single = scipy.special.softmax(logits, axis=1)
    assert scale == 1 or np.mean((single == 0) | (single == 1)) > 0.1
    others = np.stack(
        [scipy.special.logsumexp(np.delete(logits, k, 1).astype(float), 1) for k in range(classes)]
    )
    margins = logits - others.T
    names = [str(k) for k in range(classes)]
    rows = [f"s{row}" for row in range(500)]
    frame = predictions_frame(rows, rows, true, logits, names)
    write_predictions(tmp_path / "p.csv", frame)
    read = unpack_predictions(read_predictions(tmp_path / "p.csv"))
    np.testing.assert_array_equal(read.log_probabilities, frame.filter(like="logp_").to_numpy())
    np.testing.assert_allclose(metrics.margins(read.log_probabilities), margins, rtol=1e-9)
    found = metrics.classification_metrics(true, read.log_probabilities, names)
    ranked = [1] if classes == 2 else range(classes)
    for name, score in (
        ("auroc", sklearn.metrics.roc_auc_score),
        ("average_precision", sklearn.metrics.average_precision_score),
    ):
        # To the last digits: one pair of rows in another order is 1 in 62,500 at least.
        wanted = np.mean([score(true == k, margins[:, k]) for k in ranked])
        assert found[name] == pytest.approx(wanted, abs=1e-12)
        rounded = np.mean([score(true == k, single[:, k]) for k in ranked])
        assert scale == 1 or abs(found[name] - rounded) > 1e-4
    wanted = -scipy.special.log_softmax(logits.astype(float), axis=1)[np.arange(500), true].mean()
    assert found["log_loss"] == pytest.approx(wanted)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 3, 7]), st.integers(2, 60))
def test_weighted_metrics_are_scikit_learns_on_repeated_rows(seed, classes, n):
    rng = np.random.default_rng(seed)
    true, confidences, _ = _random(rng, n, classes, 5)
    weights = rng.integers(0, 3, (n, 4)).astype(np.int32)
    weights[rng.integers(n)] = 1  # no column is empty
    found = metrics.weighted_metrics(true, logs(confidences), weights)
    for column, weight in enumerate(weights.T):
        rows = np.repeat(np.arange(n), weight)
        expected = measured(true[rows], confidences[rows], [str(k) for k in range(classes)])
        for name in metrics.METRICS:
            wanted = math.nan if expected[name] is None else expected[name]
            assert found[name][column] == pytest.approx(wanted, nan_ok=True), name


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 80), st.integers(1, 12))
def test_weighted_ranking_is_scikit_learns_with_sample_weight(seed, n, distinct):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, distinct, n) / distinct
    positive = rng.random(n) < 0.4
    positive[:2] = True, False
    weights = rng.random((n, 3)) + 0.01
    auroc, average_precision = metrics.weighted_ranking(scores, positive, weights)
    for column, weight in enumerate(weights.T):
        assert auroc[column] == pytest.approx(
            sklearn.metrics.roc_auc_score(positive, scores, sample_weight=weight)
        )
        assert average_precision[column] == pytest.approx(
            sklearn.metrics.average_precision_score(positive, scores, sample_weight=weight)
        )


def test_intervals_do_not_depend_on_the_chunks(monkeypatch):
    data = _random(np.random.default_rng(3), 120, 3, 40)
    whole = intervals(*data, resamples=100, seed=5)
    monkeypatch.setattr(bootstrap, "_CHUNK_ELEMENTS", 120 * 9)
    assert bootstrap.chunk_sizes(100, 120) == [9] * 11 + [1]
    assert intervals(*data, resamples=100, seed=5) == whole
    assert intervals(*data, resamples=100, seed=6) != whole


def test_intervals_cover_the_truth_when_people_differ():
    # A person's pictures are right with a probability of the person's own, 0.7 on average.
    rng = np.random.default_rng(0)
    people, pictures, held = 60, 5, 0
    for _ in range(200):
        skill = rng.beta(1.4, 0.6, people)
        right = rng.random((people, pictures)) < skill[:, None]
        true = rng.integers(0, 2, right.size)
        confidences = np.eye(2)[np.where(right.ravel(), true, 1 - true)]
        low, high = intervals(
            true, confidences, np.repeat(np.arange(people), pictures), resamples=300
        )["accuracy"]
        held += low <= 0.7 <= high
    assert 0.90 <= held / 200 <= 0.985


def test_rows_of_one_person_are_worth_less_than_independent_rows():
    # Ten copies of each of 40 rows: as 40 people, or (wrongly) as 400.
    true, confidences, _ = _random(np.random.default_rng(1), 40, 2, 40)
    true, confidences = np.repeat(true, 10), np.repeat(confidences, 10, axis=0)
    people = intervals(true, confidences, np.repeat(np.arange(40), 10))
    rows = intervals(true, confidences, np.arange(400))
    for name in metrics.METRICS:
        assert np.ptp(people[name]) > 2 * np.ptp(rows[name]), name


def test_one_group_has_no_interval():
    true, confidences, _ = _random(np.random.default_rng(1), 40, 2, 1)
    found = intervals(true, confidences, np.zeros(40))
    assert found == dict.fromkeys(metrics.METRICS)


def test_a_thousand_resamples_are_quick():
    rng = np.random.default_rng(0)
    for classes, limit in ((2, 3), (100, 20)):
        data = _random(rng, 2000, classes, 800, ties=False)
        start = time.process_time()
        intervals(*data, resamples=1000)
        assert time.process_time() - start < limit


def test_mean_and_deviation_over_seeds():
    runs = [{"accuracy": 0.8, "auroc": None}, {"accuracy": 0.9, "auroc": 0.7}]
    found = metrics.over_seeds(runs)
    assert found["accuracy"] == {
        "mean": pytest.approx(0.85),
        "std": pytest.approx(0.1 / math.sqrt(2)),
    }
    assert found["auroc"] == {"mean": 0.7, "std": None}
    assert set(found) == {"accuracy", "auroc"}
    none = [{"auroc": None}] * 2
    assert metrics.over_seeds(none) == {"auroc": {"mean": None, "std": None}}


def test_predictions_survive_the_csv(tmp_path):
    # Names that a careless reader would turn into numbers or into missing values.
    classes = ["01", "None", "1,0"]
    true = np.array([1, 0, 2])
    confidences = np.array([[0.1, 0.7, 0.2], [0.2, 0.5, 0.3], [1 / 3, 1 / 3, 1 / 3]])
    logits = np.log(confidences) + [[300], [0], [-20]]  # of which the softmax knows nothing
    frame = predictions_frame(["007", "b", "NA"], ["1", "1", "nan"], true, logits, classes)
    assert list(frame.columns) == [
        *("sample_id", "group", "true", "predicted"),
        *("confidence_01", "confidence_None", "confidence_1,0"),
        *("logp_01", "logp_None", "logp_1,0"),
    ]
    frame.to_csv(tmp_path / "predictions.csv", index=False)
    found = unpack_predictions(read_predictions(tmp_path / "predictions.csv"))
    assert found.classes == classes
    assert found.sample_id.tolist() == ["007", "b", "NA"]
    assert found.group.tolist() == ["1", "1", "nan"]
    assert found.true.tolist() == [1, 0, 2]
    np.testing.assert_allclose(found.confidences, confidences, rtol=1e-12)
    columns = [f"logp_{name}" for name in classes]
    np.testing.assert_array_equal(found.log_probabilities, frame[columns].to_numpy())


def test_class_indices_are_understood_too():
    frame = predictions_frame(["a", "b"], ["a", "b"], np.array([1, 0]), np.eye(2), ["f", "m"])
    frame["true"], frame["predicted"] = [1, 0], [0, 1]
    assert unpack_predictions(frame).true.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop(columns="group"), "lacks the column.* group"),
        (lambda f: f.drop(columns="confidence_m"), "two classes"),
        (lambda f: f.assign(true="x"), "column true: 'x' is not one of the classes f, m"),
        (lambda f: f.assign(true=7), "column true: '7' is not one of"),
        (lambda f: f.assign(sample_id="same"), "stands on two rows"),
        (lambda f: f.assign(predicted="f"), "sample a is predicted 'f'"),
        (lambda f: f.assign(group=""), "no group"),
        (lambda f: f.drop(columns="logp_m"), "lacks the column.* logp_m"),
        (lambda f: f.assign(confidence_m=0.9), "sample a has a confidence that is not that of"),
        (lambda f: f.assign(confidence_m=np.nan), "not that of its logp_ column"),
        (lambda f: f.assign(logp_m=-0.1), "each row's probabilities sum to 1"),
        (lambda f: f.assign(logp_m=np.nan), "diverged"),
        (lambda f: f.assign(logp_m="much"), "not a number"),
        (lambda f: f.assign(confidence_m="much"), "not a number"),
        (lambda f: f[:0], "at least one test row"),
    ],
)
def test_a_bad_table_is_refused_in_one_sentence(change, words):
    logits = 5 * (1 - np.eye(2))
    frame = predictions_frame(["a", "b"], ["a", "b"], np.array([1, 0]), logits, ["f", "m"])
    unpack_predictions(frame)
    with pytest.raises(GraftError, match=f"^runs/p.csv.*{words}"):
        unpack_predictions(change(frame), "runs/p.csv")


def test_bad_arrays_are_refused():
    good = np.log(np.full((2, 2), 0.5))
    with pytest.raises(GraftError, match="3 groups for 2 rows"):
        intervals([0, 1], np.exp(good), [1, 2, 3])
    with pytest.raises(GraftError, match="2 log-probabilities per row for 3 classes"):
        metrics.classification_metrics([0, 1], good, list("abc"))
    with pytest.raises(GraftError, match="labels run from 0 to 2"):
        metrics.classification_metrics([0, 2], good, list("ab"))
    with pytest.raises(GraftError, match="must not be positive"):
        metrics.classification_metrics([0, 1], [[1.0, -20.0], [0.0, -20.0]], list("ab"))
    with pytest.raises(GraftError, match="not a number; the model has probably diverged"):
        predictions_frame(["a"], ["a"], [0], [[np.inf, 0]], ["f", "m"])
    with pytest.raises(GraftError, match="class indices"):
        metrics.classification_metrics([0.0, 1.0], good, list("ab"))
    with pytest.raises(GraftError, match="cannot be read"):
        read_predictions("no/such/predictions.csv")
