"""Failed runs: made-up cases, each with the reason that is given."""

import numpy as np
import pandas as pd
import pytest

from graft.core.errors import GraftError
from graft.evaluation.failure import Failure, baseline, diverged_at, failure
from graft.evaluation.metrics import classification_metrics
from graft.evaluation.warnings import start_warning


def _measured(true, predicted, count=2):
    confidences = 0.1 / (count - 1) + (0.9 - 0.1 / (count - 1)) * np.eye(count)[predicted]
    names = ["f", "m", "x"][:count]
    return classification_metrics(np.asarray(true), np.log(confidences), names)


def _history(**columns):
    epochs = len(next(iter(columns.values()), [1, 2, 3]))
    table = {"epoch": np.arange(epochs) + 1, "train_loss": 0.5, "val_loss": 0.5}
    return pd.DataFrame(table | {"val_accuracy": 0.9} | columns)


def _failed(metrics, history=None, **options):
    options = {
        "metric": "accuracy",
        "select": "accuracy",
        "best_epoch": 1,
        "val_rows": 100,
        **options,
    }
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
        ("accuracy", [0, 1, 1, 0], "test accuracy 75.0 %, not above the 75.0 % of the commonest"),
        ("balanced_accuracy", [0, 1, 1, 0], None),
        (
            "balanced_accuracy",
            [1, 0, 1, 1],
            "test balanced accuracy 33.3 %, not above the 50.0 % of guessing",
        ),
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


def _started(value, start=0.8):
    return _history(epoch=[0, 1, 2], val_accuracy=[start, value, 0.9], val_loss=[1.0, 1.2, 0.9])


@pytest.mark.parametrize(
    ("rows", "start", "value", "failed"),
    [
        # Two standard errors of a mean of 75 % are 8.7 points with 100 rows, 17.3 with 25.
        (100, 0.8, 0.7, True),
        (25, 0.8, 0.7, False),
        (100, 0.79, 0.71, False),
        # A row less of 20 where all were right: 2 sqrt(0.975 0.025 / 20) is 7.0 points.
        (20, 1.0, 0.95, False),
        (20, 1.0, 0.9, True),
    ],
)
def test_a_run_that_fell_below_its_start_by_more_than_noise_failed(rows, start, value, failed):
    history, options = _started(value, start), {"best_epoch": 1, "val_rows": rows}
    found = _failed(GOOD, history, **options)
    shown = f"validation accuracy {100 * value:.1f} % at epoch 1, "
    worse = f"worse than the {100 * start:.1f} % before training"
    assert found == (Failure(shown + worse, "lower train.lr") if failed else None)
    warned = start_warning(history, select="accuracy", **options)
    assert (warned is None) == failed
    if warned:
        assert shown in warned and f"with {rows} validation rows this may be chance" in warned


def test_only_the_last_epoch_can_be_below_its_start():
    options = {"best_epoch": 2, "val_rows": 100}
    assert _failed(GOOD, _started(0.5), **options) is None
    assert _failed(GOOD, _started(0.5), **{**options, "best_epoch": 0}) is None
    # Chosen by another metric it is no worse in that; without epoch 0 there is no start.
    for select in ("loss", "balanced_accuracy"):
        assert _failed(GOOD, _started(0.5), **{**options, "best_epoch": 1}, select=select) is None
    assert _failed(GOOD, _history(val_accuracy=[0.8, 0.5]), **options) is None
    for options in ({"best_epoch": 2}, {"best_epoch": 0}, {"best_epoch": 1, "select": "loss"}):
        warned = {"select": "accuracy", "val_rows": 100} | options
        assert start_warning(_started(0.75), **warned) is None
