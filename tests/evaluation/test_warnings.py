"""Warnings on runs that have not converged or have collapsed."""

import numpy as np
import pandas as pd
import pytest
from probabilities import logs

from graft.core.errors import GraftError
from graft.evaluation import metrics
from graft.evaluation.warnings import collapse_warning, convergence_warning


def _history(values, column="val_accuracy"):
    epochs = np.arange(len(values)) + 1
    return pd.DataFrame({"epoch": epochs, "train_loss": 0.5, column: values})


def test_a_run_that_was_cut_off_says_so():
    rising = _history(np.linspace(0.5, 0.8, 10))
    warning = convergence_warning(rising, stopped_early=False)
    assert warning.startswith("had not converged: its best val_accuracy (80.0 %) came in the last")
    assert convergence_warning(rising, stopped_early=True) is None

    falling = _history(np.linspace(2, 1, 10), "val_loss")
    warning = convergence_warning(falling, stopped_early=False, metric="loss")
    assert "best val_loss (1)" in warning
    rising_loss = _history(np.linspace(1, 2, 10), "val_loss")
    assert convergence_warning(rising_loss, stopped_early=False, metric="loss") is None


def test_a_plateau_has_converged_and_a_slope_has_not():
    plateau = 0.8 + 0.01 * np.sin(np.arange(30) * 2.5)
    plateau[12] = 0.83
    assert convergence_warning(_history(plateau), stopped_early=False) is None
    flat = _history(np.full(10, 0.8))
    assert convergence_warning(flat, stopped_early=False) is None
    slope = np.linspace(0.5, 0.8, 30)
    slope[-2:] = slope[-2:][::-1]  # the best epoch is the last but one
    warning = convergence_warning(_history(slope), stopped_early=False)
    assert warning.startswith("was still improving in val_accuracy when its 30 epochs were over")


def test_a_run_that_diverged_is_not_asked_for_more_epochs():
    history = _history([0.5, 0.6]).assign(val_loss=[1e31, np.nan])
    assert convergence_warning(history, stopped_early=False) is None
    assert convergence_warning(history.assign(val_loss=1.0), stopped_early=False)


def test_the_epoch_before_training_is_none_of_those_that_were_used():
    history = _history([0.5, 0.6, 0.7]).assign(epoch=[0, 1, 2], train_loss=[np.nan, 1, 1])
    assert "in the last of its 2 epochs" in convergence_warning(history, stopped_early=False)


def test_a_metric_that_was_not_recorded_is_refused():
    with pytest.raises(GraftError, match="lacks the column val_auroc"):
        convergence_warning(_history([1.0]), stopped_early=True, metric="auroc")


def _measured(confidences, true, classes=None):
    classes = classes or [f"c{k}" for k in range(np.shape(confidences)[1])]
    return metrics.classification_metrics(true, logs(confidences), classes)


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


def _collapsed(measured, history, metric="accuracy"):
    return collapse_warning(measured, history, metric=metric)


def test_a_saturated_softmax_is_recognised_by_loss_and_confidences():
    # The well-known end of a rate too high: 90 % wrong at the float's least probability.
    stuck = _training(np.full(10, 0.9 * 16.118), 0.1)
    sentence = _collapsed(_measured(COLLAPSED, TEN), stuck)
    assert sentence.startswith("has collapsed: its confidences are 0 or 1 even where it is wrong")
    assert "log loss 32.4, where guessing gives 2.3" in sentence  # 0.9 of -ln 2.2e-16
    assert "its training loss was 14.5 or more in its last 3 epochs" in sentence
    assert sentence.endswith(
        "change train.lr (most often down), start from other weights or normalise the input"
    )


def test_confidences_of_0_and_1_are_reported_of_a_run_above_the_majority_too():
    found = _measured(np.eye(10)[np.where(np.arange(100) % 4, 0, TEN)], TEN)
    assert found["majority_baseline"] < found["accuracy"] < 0.5
    sentence = _collapsed(found, _training(FALLING, 0.3))
    assert sentence.startswith("has collapsed: its confidences are 0 or 1 even where it is wrong")


# A little better than always answering the first class, without being sure of anything.
SLIGHT = _measured(np.full((100, 10), 0.09) + 0.1 * np.eye(10)[np.where(TEN < 2, TEN, 0)], TEN)


@pytest.mark.parametrize(
    ("losses", "rate", "sentence"),
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
def test_training_losses_that_are_no_use(losses, rate, sentence):
    warning = _collapsed(SLIGHT, _training(losses, 0.11, rate))
    assert warning is None if sentence is None else sentence in warning


def test_healthy_overconfident_and_overfitted_runs_are_left_alone():
    good = _measured(UNSURE, TEN)
    assert good["accuracy"] == pytest.approx(0.82)
    assert _collapsed(good, _training(FALLING, 0.9)) is None
    # Dropout may keep the training loss high, and a fitted one may stand still at nothing.
    assert _collapsed(good, _training(np.full(10, 2.5), 0.3)) is None
    assert _collapsed(good, _training(np.zeros(10), 1.0)) is None
    assert _collapsed(SLIGHT, _training(np.zeros(10), 1.0)) is None
    sure = _measured(np.eye(10)[UNSURE.argmax(1)], TEN)
    assert sure["log_loss"] > np.log(10)
    assert _collapsed(sure, _training(FALLING, 0.9)) is None


def test_two_classes_have_little_room_below_guessing():
    true = np.arange(200) % 2
    right = np.arange(200) % 20 < 11  # 55 %
    weak = np.where((true == 1) == right, 0.55, 0.45)
    found = _measured(np.stack([1 - weak, weak], 1), true)
    assert found["accuracy"] == pytest.approx(0.55, abs=0.05) and found["log_loss"] < np.log(2)
    assert _collapsed(found, _training(np.linspace(0.692, 0.689, 9), 0.53)) is None
    sentence = _collapsed(found, _training(np.full(9, 0.6932), 0.5))
    assert "0.693 or more in its last 3 epochs, where guessing gives 0.693;" in sentence


def test_a_run_that_is_good_by_its_metric_has_not_collapsed():
    # 300 and 3 rows, trained on rebalanced rows: 12 of the common class are wrong, none of the
    # rare one, so 96 % are right where always answering the common class gives 99 %.
    true = np.repeat([0, 1], [300, 3])
    answers = np.where(np.arange(303) < 12, 1, true)
    found = _measured(0.02 + 0.96 * np.eye(2)[answers], true)
    assert found["accuracy"] < found["majority_baseline"] and found["balanced_accuracy"] == 0.98
    for metric in ("accuracy", "balanced_accuracy"):
        assert _collapsed(found, _training(np.zeros(10), 1.0), metric) is None


def test_test_rows_of_one_class_give_no_sentence():
    found = _measured(np.tile([1.0, 0.0], (4, 1)), np.ones(4, int))
    assert _collapsed(found, _training(np.full(10, 2.31), 0.1)) is None
