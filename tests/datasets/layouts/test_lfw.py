"""LFW by sex and by identity."""

import pytest
from builders import jpeg, make_tar, read_layout, structure

from graft.core.errors import GraftError
from graft.datasets import build

SHARES = {"train": 0.4, "val": 0.25, "test": 0.35, "seed": 3}


@pytest.fixture
def lfw(tmp_path):
    names = {"Ann": 4, "Bea": 3, "Cid": 3, "Dan": 1, "Eve": 2, "Flo": 2, "Gus": 1, "Hal": 1}
    files = {
        f"lfw/{name}/{name}_{i + 1:04}.jpg": jpeg(10 * p + i)
        for p, (name, pictures) in enumerate(names.items())
        for i in range(pictures)
    }
    files["lfw/landmarks.csv"] = b"not a picture"
    female = ["Ann_0001", "Ann_0002", "Ann_0003", "Bea_0001", "Bea_0002", "Bea_0003"]
    female += ["Eve_0001", "Eve_0002", "Flo_0001"]
    male = ["Cid_0001", "Cid_0002", "Cid_0003", "Gus_0001", "Hal_0001"]
    male += ["Eve_0002", "Flo_0002", "Absent_0001"]  # Eve_0002 is in both, Flo is torn
    archives = {"lfw.tar": make_tar(tmp_path / "lfw.tar", files)}
    for sex, listed in (("female", female), ("male", male)):
        archives[f"{sex}_names.txt"] = tmp_path / f"{sex}_names.txt"
        archives[f"{sex}_names.txt"].write_text("".join(f"{name}.jpg\n" for name in listed) + "\n")
    return archives


def test_lfw_by_sex(lfw):
    frame, counts = structure("lfw", lfw, "sex", split=SHARES)
    row = frame.set_index("member").to_dict("index")
    short = {member.rpartition("/")[2][:-4]: values for member, values in row.items()}
    assert {name: r["drop_reason"] for name, r in short.items() if r["drop_reason"]} == {
        "Ann_0004": "no_label",
        "Dan_0001": "no_label",
        "Eve_0002": "ambiguous_label",
        "Flo_0001": "ambiguous_label",
        "Flo_0002": "ambiguous_label",
    }
    assert {n: r["label"] for n, r in short.items() if not r["drop_reason"]} == {
        **dict.fromkeys(["Ann_0001", "Ann_0002", "Ann_0003"], "female"),
        **dict.fromkeys(["Bea_0001", "Bea_0002", "Bea_0003", "Eve_0001"], "female"),
        **dict.fromkeys(["Cid_0001", "Cid_0002", "Cid_0003", "Gus_0001", "Hal_0001"], "male"),
    }
    assert all(r["group"] == name[:-5] for name, r in short.items())
    assert counts["published"] == 17 and counts["kept"] == 12
    assert counts["dropped"] == {"ambiguous_label": 3, "no_label": 2}


def test_lfw_by_identity(lfw):
    shares = {"train": 0.6, "val": 0.15, "test": 0.25, "seed": 0}
    frame, counts = structure("lfw", lfw, "identity", split=shares)
    assert counts["dropped"] == {"too_few_pictures": 3}
    stays = frame[frame["drop_reason"] == ""]
    assert build.classes(counts["splits"]) == ["Ann", "Bea", "Cid", "Eve", "Flo"]
    assert stays["group"].is_unique
    assert stays.groupby("label")["split"].nunique().max() > 1, "pictures are split, not people"
    options = {"min_pictures": 3, "box": [1, 2, 3, 4.5]}
    frame, counts = structure("lfw", lfw, "identity", split=shares, **options)
    assert set(frame["box"]) == {"1 2 3 4.5"}
    assert counts["dropped"] == {"too_few_pictures": 7} and counts["kept"] == 10


def test_pictures_that_are_no_jpegs_are_rows_with_a_reason(tmp_path):
    names = ("x/A/A_0001.JPG", "x/A/A_0002.jpeg", "x/A/A_0003.png", "x/notes.txt")
    path = make_tar(tmp_path / "x.tar", dict.fromkeys(names, b"x"))
    rows = read_layout("lfw", {"x.tar": path}, "identity")
    assert [(row.member[-3:], row.drop_reason) for row in rows] == [
        ("JPG", ""),
        ("peg", ""),
        ("png", "not_jpeg"),
    ]


def test_bad_lfw_is_one_sentence(lfw, tmp_path):
    with pytest.raises(GraftError, match=r"for the label sex, male_names\.txt"):
        read_layout("lfw", {key: lfw[key] for key in lfw if not key.startswith("male")}, "sex")
    with pytest.raises(GraftError, match="reads one tar archive"):
        read_layout("lfw", {key: lfw[key] for key in lfw if key.endswith(".txt")}, "sex")
    lfw["male_names.txt"].write_bytes(b"\xff\xfe")
    with pytest.raises(GraftError, match=r"male_names\.txt: the file cannot be read .*utf-8"):
        read_layout("lfw", lfw, "sex")
    odd = {"lfw.tar": make_tar(tmp_path / "odd.tar", {"lfw/Ann/Bea_0001.jpg": jpeg(0)})}
    with pytest.raises(GraftError, match=r"'lfw/Ann/Bea_0001\.jpg' is not named"):
        read_layout("lfw", odd, "identity")
