"""The mistakes that the plots stage leaves for the report."""

import base64
import json

import cv2
import numpy as np
import pytest
from reporting_builders import RIGHT, pack_of_test_rows, result

from graft.core import hdf5
from graft.evaluation import multilabel
from graft.evaluation.predictions import write_predictions
from graft.images import packs
from graft.images.packs import LEFT_OUT
from graft.reporting import mistakes
from graft.reporting.results import Results, Samples


def written(path, *runs, pack):
    """What is written of the runs of several modes on the rows of one pack."""
    fits, predictions = {}, {}
    for run in runs:
        fits |= run.fits
        predictions |= run.predictions
    samples = Samples({}, {}, 4, [], [pack])
    mistakes.write(Results(fits, {}, {}, predictions, {}, gathered=samples), path)
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_picture_is_listed_once_with_the_answer_of_every_mode_that_is_wrong(tmp_path):
    answers = RIGHT.copy()
    answers[2] = [0.3, 0.7]
    one = result(tmp_path / "a.csv", answers, mode="from_scratch")
    answers = answers.copy()
    answers[[1, 2]] = [[0.95, 0.05], [0.1, 0.9]]
    other = result(tmp_path / "b.csv", answers, mode="fine_tuning")
    pack = pack_of_test_rows(tmp_path / "test-00.h5")
    found = written(tmp_path / "m.json", one, other, pack=pack)
    assert found["wrong"] == {"from_scratch": 1, "fine_tuning": 2}
    assert [(p["sample_id"], p["true"]) for p in found["pictures"]] == [("b", "p"), ("c", "n")]
    assert found["pictures"][1]["answers"] == [
        {"mode": "from_scratch", "predicted": "p", "confidence": 0.7},
        {"mode": "fine_tuning", "predicted": "p", "confidence": 0.9},
    ]
    before = (tmp_path / "m.json").read_bytes()
    written(tmp_path / "m.json", one, other, pack=pack)
    assert (tmp_path / "m.json").read_bytes() == before


def test_there_are_no_more_pictures_than_places_and_the_surest_come_first(tmp_path, monkeypatch):
    monkeypatch.setattr(mistakes, "MOST", 2)
    run = result(tmp_path / "a.csv", RIGHT[::-1])
    found = written(tmp_path / "m.json", run, pack=pack_of_test_rows(tmp_path / "test-00.h5"))
    assert [p["answers"][0]["confidence"] for p in found["pictures"]] == [0.9, 0.8]
    assert found["wrong"] == {"fine_tuning": 4}


@pytest.mark.parametrize("channels", [1, 3])
def test_the_pictures_are_those_of_the_pack_in_colour_or_grey(tmp_path, channels):
    pixels = np.zeros((4, 128, 128, channels), np.uint8)
    pixels[3, :, 64:] = 200  # the right half of the picture of sample d
    pack = tmp_path / "test-00.h5"
    with hdf5.create(pack, {}) as file:
        hdf5.write(file, "images", pixels)
        packs.write_labels(file, [0, 1, 0, 1], list("abcd"), list("wxyz"), ["n", "p"])
    answers = RIGHT.copy()
    answers[3] = [0.6, 0.4]
    found = written(tmp_path / "m.json", result(tmp_path / "a.csv", answers), pack=pack)
    (picture,) = found["pictures"]
    data = np.frombuffer(base64.b64decode(picture["jpeg"]), np.uint8)
    shown = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert shown.shape == (96, 96, 3)
    assert shown[:, :40].max() < 10 and abs(int(shown[:, 56:].min()) - 200) < 10


def test_nothing_wrong_is_nothing_listed(tmp_path):
    run = result(tmp_path / "a.csv", RIGHT)
    pack = pack_of_test_rows(tmp_path / "test-00.h5")
    assert written(tmp_path / "m.json", run, pack=pack) == {
        "wrong": {"fine_tuning": 0},
        "pictures": [],
    }


def test_of_several_classes_a_picture_is_wrong_if_one_is_and_all_are_named(tmp_path):
    true = np.array([[1, 0], [0, 1], [0, LEFT_OUT], [0, 0]], np.uint8)
    scores = np.array([[2.0, 0.5], [-1, 2], [-3, 9], [-1, -1]])
    ids = list("abcd")
    frame = multilabel.predictions_frame(ids, ids, true, scores, ["bus", "car"])
    write_predictions(tmp_path / "p.csv", frame)
    measured = {"per_class": {}, "thresholds": [0.0, 0.0]}
    run = ("fine_tuning", 0)
    results = Results({run: {}}, {}, {run: measured}, {run: tmp_path / "p.csv"}, {})
    found = mistakes.wrong_answers(results)
    columns = ["sample_id", "true", "predicted"]
    assert found[columns].to_numpy().tolist() == [["a", "bus", "bus, car"]]
    assert found["confidence"].item() == pytest.approx(1 / (1 + np.exp(-0.5)))
