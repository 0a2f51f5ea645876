"""The plots stage: its warnings."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reporting_builders import RIGHT, result

from graft.reporting import plots
from graft.reporting.plots import FIGURES
from graft.reporting.results import Results, Samples


def test_runs_that_failed_or_saw_other_views_get_a_warning(tmp_path):
    plain = result(tmp_path / "a.csv", RIGHT, cut="avgpool", mode="feature_extraction")
    assert plots.warnings(plain, "accuracy") == []
    shifted = result(tmp_path / "b.csv", np.tile([0.9, 0.1], (4, 1)), augment={"shift": 0.1})
    both = Results(
        plain.fits | shifted.fits,
        plain.histories | shifted.histories,
        plain.metrics | shifted.metrics,
        plain.predictions | shifted.predictions,
        {},
    )
    failed, views = plots.warnings(both, "accuracy")
    assert failed == ("fine_tuning, seed 0, failed: constant predictions, all 'n'; lower train.lr.")
    assert "different views" in views


@pytest.mark.parametrize(
    ("one", "other", "named"),
    [
        ({}, {}, None),
        ({"shift": 0.1}, {}, None),  # of features, which are not moved
        ({"flip": True, "mixup": 0.2}, {"flip": True, "mixup": 0.2, "crop": None}, None),
        ({"mixup": 0.2}, {"mixup": 0.4}, "augment.mixup"),
        ({"flip": True}, {"color": 0.4, "crop": [0.5, 1]}, "augment.flip and augment.color and a"),
    ],
)
def test_augmentations_that_not_all_modes_have_alike_are_named(tmp_path, one, other, named):
    features = {"cut": "avgpool", "mode": "feature_extraction"}
    fits = result(tmp_path / "a.csv", RIGHT, augment=one, **features)
    pictures = result(tmp_path / "b.csv", RIGHT, augment=other)
    both = Results(
        fits.fits | pictures.fits,
        fits.histories | pictures.histories,
        fits.metrics | pictures.metrics,
        {},
        {},
    )
    sentences = plots.warnings(both, "accuracy")
    assert len(sentences) == (named is not None)
    assert named is None or f"not all had the same {named}" in sentences[0]


def test_a_collapsed_run_gets_a_warning_and_the_last_epoch_is_judged_by_accuracy(tmp_path):
    collapsed = result(tmp_path / "a.csv", np.tile([1.0, 0.0], (4, 1)), loss=[7.9, 8.1])
    (fit,) = collapsed.fits.values()
    fit |= {"select": "last", "stopped_early": False}
    _, warning = plots.warnings(collapsed, "accuracy")
    assert warning.startswith("fine_tuning, seed 0, has collapsed: its confidences are 0 or 1")
    collapsed.histories["fine_tuning", 0]["val_accuracy"] = [0.8, 0.9]
    assert (
        "its best val_accuracy (90.0 %) came in the last"
        in (plots.warnings(collapsed, "accuracy")[1])
    )


def test_a_run_whose_model_is_its_start_is_named(tmp_path):
    run = result(tmp_path / "a.csv", RIGHT, warm_up="feature_extraction")
    run.fits["fine_tuning", 0]["best_epoch"] = 0
    history = run.histories["fine_tuning", 0]
    history.loc[0, ["epoch", "train_loss", "train_accuracy", "learning_rate"]] = [0] + [np.nan] * 3
    assert plots.warnings(run, "accuracy") == [
        "fine_tuning, seed 0, did not improve on the head of feature_extraction that it started "
        "from: its model is that start."
    ]


def test_a_run_that_diverged_is_not_asked_for_more_epochs(tmp_path):
    run = result(tmp_path / "a.csv", RIGHT)
    run.fits["fine_tuning", 0]["stopped_early"] = False
    history = run.histories["fine_tuning", 0]
    history["val_loss"] = [1e31, np.nan]
    assert plots.warnings(run, "accuracy") == [
        "fine_tuning, seed 0, failed: diverged at epoch 2; lower train.lr."
    ]


def test_a_run_on_rebalanced_rows_is_judged_by_balanced_accuracy(tmp_path):
    # One row of four is the second class: the accuracy, 75 %, is that of the commonest class.
    confidences = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]])
    run = result(tmp_path / "a.csv", confidences, true=[0, 1, 0, 0])
    train = run.fits["fine_tuning", 0]["seal"]["recipe"]["settings"]["train"]
    (warning,) = plots.warnings(run, "accuracy")
    assert "failed: test accuracy 75.0 %, not above the 75.0 % of the commonest class" in warning
    assert plots.warnings(run, "balanced_accuracy") == []
    train["balance"] = "weighted"
    assert plots.warnings(run, "accuracy") == []


def probe(path, confidences, **options):
    """A logistic probe's results, with the history and the report that it writes."""
    run = result(path, confidences, mode="logistic_probe", cut="avgpool", **options)
    run.fits["logistic_probe", 0] |= {"best_epoch": 0, "stopped_early": False}
    row = {"epoch": [0], "val_accuracy": 0.9, "val_balanced_accuracy": 0.9, "val_loss": 0.3}
    empty = dict.fromkeys(("learning_rate", "train_loss", "train_accuracy"), np.nan)
    run.histories["logistic_probe", 0] = pd.DataFrame(row | empty)
    return run


def test_a_probe_is_not_asked_for_epochs_or_another_rate(tmp_path):
    assert plots.warnings(probe(tmp_path / "a.csv", RIGHT), "accuracy") == []
    constant = probe(tmp_path / "b.csv", np.tile([1 - 1e-12, 1e-12], (4, 1)))
    assert plots.warnings(constant, "accuracy") == [
        "logistic_probe, seed 0, failed: constant predictions, all 'n'; take another source."
    ]
    for name in ("learning_curves", "learning_rates"):
        assert FIGURES[name](constant).texts[0].get_text().startswith("No mode")


@pytest.mark.parametrize(
    ("pair", "warned"),
    [
        ({"low": 0.01, "high": 0.0512}, True),
        ({"low": -0.01, "high": 0.05}, False),
        ({"low": None, "high": None}, False),
        ({"low": 0.01, "high": 0.05, "a": "feature_extraction", "b": "logistic_probe"}, False),
        ({"low": 0.01, "high": 0.05, "b": "fine_tuning"}, False),
    ],
)
def test_a_head_below_the_logistic_regression_on_its_features_is_named(tmp_path, pair, warned):
    pair = {"a": "logistic_probe", "b": "feature_extraction", "difference": 0.03, **pair}
    run = replace(probe(tmp_path / "a.csv", RIGHT), comparison={"pairs": [pair]})
    sentence = (
        "feature_extraction is below logistic_probe by 3.0 points of balanced accuracy [1.0, 5.1]: "
        "its head is not trained as well as it could be; give it more epochs or another lr."
    )
    assert plots.warnings(run, "balanced_accuracy") == ([sentence] if warned else [])


def test_a_run_that_ended_a_little_below_its_start_is_named_and_has_not_failed(tmp_path):
    run = result(tmp_path / "a.csv", RIGHT, warm_up="feature_extraction")
    run.fits["fine_tuning", 0] |= {"select": "last", "best_epoch": 1}
    history = run.histories["fine_tuning", 0]
    history[["epoch", "val_accuracy", "train_loss"]] = [[0, 0.91, np.nan], [1, 0.9, 0.5]]
    (warning,) = plots.warnings(run, "accuracy")
    assert warning == (
        "fine_tuning, seed 0, ended a little below its start: validation accuracy 90.0 % at epoch "
        "1, 91.0 % before training; with 100 validation rows this may be chance."
    )
    assert run.failures("accuracy") == {}
    run.fits["fine_tuning", 0]["samples"]["val"] = 10_000
    (warning,) = plots.warnings(run, "accuracy")
    assert "failed: validation accuracy 90.0 % at epoch 1, worse than the 91.0 %" in warning


def test_notes_on_how_samples_were_read_come_first(tmp_path):
    notes = ["x.tar: 3 of its 9 names are those of pictures but for the case."]
    structure = {"notes": notes, "uneven": ["test has 0 of the 9 samples of a"]}
    noted = replace(
        result(tmp_path / "a.csv", RIGHT),
        comparison={"n_samples": 4, "modes": {}},
        gathered=Samples(structure, {}, 0, [], []),
    )
    first, *_, last = noted.caveats()
    assert first == notes[0] and last.startswith("The split is uneven: test has 0")
