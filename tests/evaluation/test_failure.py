"""Failed runs: made-up cases, each with the reason that is given."""

import numpy as np
import pandas as pd
import pytest

from graft.core.errors import GraftError
from graft.evaluation.failure import Failure, baseline, diverged_at, failure
from graft.evaluation.metrics import classification_metrics


def _measured(true, predicted, count=2):
    confidences = 0.1 / (count - 1) + (0.9 - 0.1 / (count - 1)) * np.eye(count)[predicted]
    names = ["f", "m", "x"][:count]
    return classification_metrics(np.asarray(true), np.log(confidences), names)


def _history(**columns):
    epochs = len(next(iter(columns.values()), [1, 2, 3]))
    table = {"epoch": np.arange(epochs) + 1, "train_loss": 0.5, "val_loss": 0.5}
    return pd.DataFrame(table | {"val_accuracy": 0.9} | columns)


def _failed(metrics, history=None, **options):
    options = {"metric": "accuracy", "select": "accuracy", "best_epoch": 1, **options}
    return failure(metrics, _history() if history is None else history, **options)


GOOD = _measured([0, 1, 1, 1], [0, 1, 1, 1])


def test_a_run_that_has_learned_has_not_failed():
    assert _failed(GOOD) is None
    assert _failed(GOOD, metric="balanced_accuracy") is None


def test_constant_predictions_are_a_failure_by_every_metric():
    constant = _measured([0, 1, 1, 1], [1, 1, 1, 1])
    expected = Failure("constant predictions, all 'm'", "lower train.lr")
    assert _failed(constant) == _failed(constant, metric="balanced_accuracy") == expected


def test_a_probe_has_no_rate_to_change():
    history = _history(epoch=[0], train_loss=[np.nan], val_accuracy=[0.8])
    for predicted in ([1, 1, 1, 1], [0, 1, 1, 0]):
        measured = _measured([0, 1, 1, 1], predicted)
        found = _failed(measured, history, best_epoch=0, probe=True)
        assert found.advice == "take another source"
    assert _failed(GOOD, history, best_epoch=0, probe=True) is None


@pytest.mark.parametrize(
    ("metric", "predicted", "reason"),
    [
        # Right on 3 of 4: no better than always answering m, but 5/6 of balanced accuracy.
        ("accuracy", [0, 1, 1, 0], "test accuracy 75.0 %, not above the 75.0 % of always"),
        ("balanced_accuracy", [0, 1, 1, 0], None),
        ("balanced_accuracy", [1, 0, 1, 1], "test balanced accuracy 33.3 %, not above the 50.0 %"),
    ],
)
def test_a_run_is_judged_by_its_metric_against_that_metrics_baseline(metric, predicted, reason):
    found = _failed(_measured([0, 1, 1, 1], predicted), metric=metric)
    assert found is None if reason is None else found.reason.startswith(reason)


def test_accuracy_does_not_judge_a_run_on_rebalanced_rows():
    measured = _measured([0, 1, 1, 1], [0, 1, 1, 0])
    assert _failed(measured) is not None
    assert _failed(measured, rebalanced=True) is None
    worse = _failed(_measured([0, 1, 1, 1], [1, 0, 1, 1]), rebalanced=True)
    assert worse.reason.startswith("test balanced accuracy 33.3 %")


def test_baselines():
    assert baseline("accuracy", [1, 3, 0]) == 0.75
    assert baseline("balanced_accuracy", [1, 3, 0]) == 0.5
    # A third of 1, 0 and 0 is a third to the last digit but one: equal, not above.
    recall = _measured([0, 1, 2, 2], [0, 0, 0, 1], 3)
    assert "33.3 %, not above the 33.3 %" in _failed(recall, metric="balanced_accuracy").reason
    with pytest.raises(GraftError, match="'auroc' has no baseline"):
        baseline("auroc", [1, 1])


def test_test_rows_of_one_class_judge_nothing():
    assert _failed(_measured([1, 1], [1, 1])) is None
    assert _failed(_measured([1, 1], [0, 0])) is None


@pytest.mark.parametrize(
    ("columns", "epoch"),
    [
        ({"val_loss": [1e31, np.nan, np.nan]}, 2),
        ({"val_loss": [0.5, 0.4, np.inf]}, 3),
        ({"train_loss": [np.nan, 0.5, 0.5]}, 1),
        ({"val_loss": [1e31, 1e20, 0.5]}, None),
        # Before the first update there is no training loss.
        ({"epoch": [0, 1, 2], "train_loss": [np.nan, 0.5, 0.5]}, None),
        ({"epoch": [0, 1, 2], "val_loss": [np.nan, 0.5, 0.5]}, 0),
    ],
)
def test_a_loss_that_is_not_finite_is_a_failure_however_good_the_model(columns, epoch):
    history = _history(**columns)
    assert diverged_at(history) == epoch
    expected = epoch is not None and Failure(f"diverged at epoch {epoch}", "lower train.lr")
    assert (_failed(GOOD, history) or False) == expected


def test_a_run_that_is_worse_than_its_start_failed():
    started = _history(epoch=[0, 1, 2], val_accuracy=[0.8, 0.7, 0.8], val_loss=[1.0, 1.2, 0.9])
    assert _failed(GOOD, started, best_epoch=2) is None
    assert _failed(GOOD, started, best_epoch=0) is None
    assert _failed(GOOD, started, best_epoch=1).reason == (
        "validation accuracy 70.0 % at epoch 1, worse than the 80.0 % before training"
    )
    assert _failed(GOOD, started, best_epoch=2, select="loss") is None
    assert _failed(GOOD, started, best_epoch=1, select="loss").reason == (
        "validation loss 1.2 at epoch 1, worse than the 1 before training"
    )
    assert _failed(GOOD, _history(val_accuracy=[0.8, 0.7]), best_epoch=2) is None
