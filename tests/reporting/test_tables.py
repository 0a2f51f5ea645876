"""Reports: what they say of runs that found nothing to show, or saw unequal views."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from graft.core import hdf5
from graft.core.errors import GraftError
from graft.evaluation import metrics
from graft.evaluation.predictions import predictions_frame, write_predictions
from graft.images import packs
from graft.reporting import plots, results
from graft.reporting.figures import mistakes
from graft.reporting.results import Results, Samples

RIGHT = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])


def finding(path, confidences, *, cut="image", shift=0.0, mode="fine_tuning", loss=0.5):
    """One mode's findings on four test rows."""
    frame = predictions_frame(list("abcd"), list("wxyz"), [0, 1, 0, 1], confidences, ["n", "p"])
    write_predictions(path, frame)
    history = pd.DataFrame({"epoch": [1, 2], "val_accuracy": [0.9, 0.8], "val_loss": [1, 1]})
    history = history.assign(learning_rate=0.01, train_accuracy=0.5, train_loss=loss)
    settings = {"train": {"epochs": 2, "augment": {"shift": shift}}}
    fit = {
        "cut": cut,
        "select": "accuracy",
        "stopped_early": True,
        "tuning": [{}],
        "warm_up": None,
        "seal": {"recipe": {"settings": settings}},
    }
    measured = metrics.classification_metrics([0, 1, 0, 1], confidences, ["n", "p"])
    run = (mode, 0)
    return Results({run: fit}, {run: history}, {run: measured}, {run: path}, {})


@pytest.fixture
def pack(tmp_path):
    path = tmp_path / "test-00.h5"
    with hdf5.create(path, {}) as file:
        hdf5.write(file, "images", np.zeros((4, 8, 8, 3), np.uint8))
        packs.write_labels(file, [0, 1, 0, 1], list("abcd"), list("wxyz"), ["n", "p"])
    return path


def with_packs(found, pack):
    return replace(found, gathered=Samples({}, {}, {}, [], [pack]))


def texts(figure):
    found = [text.get_text() for text in figure.texts]
    return found + [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_most_confident_mistakes_are_shown_and_their_absence_is_told(tmp_path, pack):
    right = finding(tmp_path / "right.csv", RIGHT)
    assert texts(mistakes.draw(with_packs(right, pack))) == ["No mistakes on the test rows."]
    wrong = finding(tmp_path / "wrong.csv", RIGHT[::-1])
    told = [text.split("\n") for text in texts(mistakes.draw(with_packs(wrong, pack)))]
    assert [lines[1:] for lines in told if len(lines) > 1] == [
        ["p as n", "90 %"],
        ["n as p", "80 %"],
        ["n as p", "70 %"],
        ["p as n", "60 %"],
    ]


def test_runs_that_learnt_nothing_or_saw_other_views_are_told(tmp_path):
    plain = finding(tmp_path / "a.csv", RIGHT, cut="avgpool", mode="feature_extraction")
    assert plots.warnings(plain) == []
    shifted = finding(tmp_path / "b.csv", np.tile([0.9, 0.1], (4, 1)), shift=0.1)
    both = Results(
        *(
            {**getattr(plain, name), **getattr(shifted, name)}
            for name in ("fits", "histories", "metrics", "predictions")
        ),
        {},
    )
    told = plots.warnings(both)
    assert len(told) == 2 and "learned nothing" in told[0] and "different views" in told[1]
    assert both.budget().startswith("Every mode chose on validation among 1 candidate(s)")


def test_a_collapsed_run_is_told_and_one_that_keeps_its_last_epoch_goes_by_accuracy(tmp_path):
    found = finding(tmp_path / "a.csv", np.tile([1.0, 0.0], (4, 1)), loss=[7.9, 8.1])
    (fit,) = found.fits.values()
    fit |= {"select": "last", "stopped_early": False}
    (told,) = plots.warnings(found)
    assert told.startswith("fine_tuning, seed 0, has collapsed: its accuracy (50.0 %) is not")
    found.histories["fine_tuning", 0]["val_accuracy"] = [0.8, 0.9]
    assert "its best val_accuracy (90.0 %) came in the last" in plots.warnings(found)[0]


STRUCTURE = {"published": 6, "kept": 5, "dropped": {"bad_age": 1}, "splits": {"test": {"n": 5}}}
FACES = {"test-00": {"rows": 5, "kept": 4, "dropped": {"no_face": 1}}}


@pytest.mark.parametrize(
    ("faces", "packed", "predicted", "lost"),
    [
        (FACES, 4, 4, None),
        ({"test-00": {**FACES["test-00"], "kept": 3}}, 4, 4, "kept and dropped crops"),
        (FACES, 3, 3, "packed pictures"),
        (FACES, 4, 3, "predictions"),
    ],
)
def test_a_lost_sample_is_noticed_wherever_it_is_lost(faces, packed, predicted, lost):
    def check():
        results.check(STRUCTURE, faces, {"test-00": {"rows": packed}}, {"m 0": predicted}, "x")

    if lost is None:
        check()
    else:
        with pytest.raises(GraftError, match=lost):
            check()
