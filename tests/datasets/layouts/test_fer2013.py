"""FER2013: emotions and published splits."""

import pytest
from builders import fer2013_table, read_layout, structure

from graft.core.errors import GraftError
from graft.datasets import build
from graft.datasets.splits import SPLITS


def test_fer2013_has_seven_emotions_and_published_splits(tmp_path):
    emotions = [*range(7), *range(7), *range(7), 7, "", "happy"]
    usages = ["Training"] * 7 + ["PublicTest"] * 7 + ["PrivateTest"] * 7 + ["Training"] * 3
    archives = fer2013_table(tmp_path, emotions, usages)
    frame, counts = structure("fer2013", archives, "emotion")
    names = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert counts["dropped"] == {"no_label": 3} and counts["published"] == 24
    assert counts["splits"] == {split: dict.fromkeys(sorted(names), 1) for split in SPLITS}
    rows = frame.sort_values("member")
    assert rows["label"].tolist() == names * 3 + [""] * 3
    assert rows["split"].tolist() == ["train"] * 7 + ["val"] * 7 + ["test"] * 7 + [""] * 3
    assert build.classes(counts["splits"]) == sorted(names)
    kept = rows[rows["drop_reason"] == ""]
    assert kept["group"].is_unique


def test_fer2013_compares_pixels_and_not_how_they_are_written(tmp_path):
    pixels = ["0 1 2 3", "00 1  2 3", "4 4 4 4", "4 4 4 4 ", "5 5 5 5", "0 1 2 3", "6 6 6 6"]
    pixels.append("7 7 7 7")
    usages = ["Training"] * 3 + ["PublicTest"] * 2 + ["PrivateTest"] + ["Training"] * 2
    archives = fer2013_table(tmp_path, [3] * 7 + [4], usages, pixels)
    frame, counts = structure("fer2013", archives, "emotion")
    reasons = frame.set_index("member")["drop_reason"]
    assert reasons.sort_index().tolist() == [
        "duplicate_of_test",
        "duplicate_of_test",
        "duplicate_of_val",
        *[""] * 5,
    ]
    assert counts["dropped"] == {"duplicate_of_test": 2, "duplicate_of_val": 1}
    assert counts["duplicates"] == 3


def test_bad_fer2013_is_one_sentence(tmp_path):
    archives = fer2013_table(tmp_path, [0], ["Validation"])
    with pytest.raises(GraftError, match="line 2 has the Usage 'Validation', which is none of Tr"):
        read_layout("fer2013", archives, "emotion")
    (path,) = archives.values()
    for names in ([], ["fer2013.csv", "icml_face_data.csv"], ["faces.csv"]):
        with pytest.raises(GraftError, match=r"one file, fer2013\.csv or icml_face_data\.csv"):
            read_layout("fer2013", dict.fromkeys(names, path), "emotion")
    archives = fer2013_table(tmp_path, [0] * 3, ["Training"] * 3, ["1 2 3 4", "1 2 3", "1 2 3 4"])
    with pytest.raises(GraftError, match="line 3 has 3 pixels, not 4 as in the first row"):
        structure("fer2013", archives, "emotion")
    usages = ["Training", "PublicTest", "PrivateTest", "Training"]
    archives = fer2013_table(tmp_path, [0, 6, 0, 0], usages)
    with pytest.raises(GraftError, match=r"datasets\.d: the class 'neutral' has no training sampl"):
        structure("fer2013", archives, "emotion")
