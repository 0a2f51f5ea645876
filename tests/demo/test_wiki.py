"""The layout of WIKI: the drawn archive is structured as the real one, with the same defects."""

import collections
import hashlib
import io
import math
from datetime import date

import cv2
import numpy as np
import pytest
from conftest import KIT, needs_kit
from scipy.io import loadmat

from graft.demo.portrait import LANDMARKS
from graft.demo.wiki import DEFECTS, plan_wiki, render_wiki


def rows_of(archive) -> list[dict]:
    """The rows of wiki.mat, each with the bytes of its picture."""
    struct = loadmat(io.BytesIO(archive.files["wiki_crop/wiki.mat"]))["wiki"][0, 0]
    rows = []
    for index in range(struct["dob"].shape[1]):
        row = {field: struct[field][0, index] for field in struct.dtype.names}
        row |= {"full_path": row["full_path"][0], "name": row["name"][0]}
        row["data"] = archive.files[f"wiki_crop/{row['full_path']}"]
        rows.append(row)
    return rows


def decode(data: bytes) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None


def test_struct(wiki):
    for row in rows_of(wiki):
        folder, name = row["full_path"].split("/")
        number, born, year = name.removesuffix(".jpg").split("_")
        assert folder == number[-2:]
        assert int(year) == row["photo_taken"]
        if row["dob"] > 366:
            year, month, day = map(int, born.split("-"))
            assert date(year, month, day).toordinal() + 366 == row["dob"]
        assert row["gender"] in (0.0, 1.0) or math.isnan(row["gender"])


@needs_kit
@pytest.mark.real
def test_struct_is_nested_as_the_real_one(wiki):
    real = loadmat(KIT / "imdb-wiki/wiki.mat")["wiki"]
    drawn = loadmat(io.BytesIO(wiki.files["wiki_crop/wiki.mat"]))["wiki"]
    assert drawn.shape == real.shape
    assert drawn.dtype == real.dtype
    for field in real.dtype.names:
        ours, theirs = drawn[0, 0][field], real[0, 0][field]
        assert ours.dtype == theirs.dtype, field
        assert ours.shape[0] == theirs.shape[0] == 1, field
        if ours.dtype == object:
            inner = {(cell.ndim, cell.dtype.kind) for cell in ours[0]}
            assert inner <= {(cell.ndim, cell.dtype.kind) for cell in theirs[0]}, field
    cell, other = drawn[0, 0]["face_location"][0, 0], real[0, 0]["face_location"][0, 0]
    assert cell.shape == other.shape


def test_defects(wiki):
    planned = collections.Counter(row.defect for row in plan_wiki(40, seed=11, defects=True))
    # 40 people: one of each defect, and a second row for the person with two pictures.
    assert planned == {"": 41 - 10} | {d: 2 if d == "twice" else 1 for d in DEFECTS}
    rows = rows_of(wiki)
    assert len(rows) == 41
    assert sum(math.isnan(row["gender"]) for row in rows) == 1
    (no_face,) = [row for row in rows if row["face_score"] == -np.inf]
    assert no_face["face_location"].tolist() == [[1, 1, 96, 96]]
    (second,) = [row for row in rows if not math.isnan(row["second_face_score"])]
    assert second["face_score"] >= 1
    assert sum(0 < row["face_score"] < 1 for row in rows) == 1
    assert sum(row["dob"] <= 366 for row in rows) == 1
    assert sum(row["data"] == b"" for row in rows) == 1
    cut = [row for row in rows if row["data"] and not row["data"].endswith(b"\xff\xd9")]
    assert len(cut) == 1
    copies = collections.defaultdict(list)
    for row in rows:
        copies[hashlib.sha256(row["data"]).hexdigest()].append(row)
    (twins,) = [group for group in copies.values() if len(group) > 1]
    assert len({row["name"] for row in twins}) == 2
    assert len({row["gender"] for row in twins}) == 1
    people = collections.Counter(row["name"] for row in rows)
    assert sorted(people.values())[-2:] == [1, 2]


def test_impossible_ages_alternate():
    rows = plan_wiki(1000, seed=1, defects=True)
    spoilt = [row for row in rows if row.defect == "bad_age"]
    years = [row.taken - (row.dob - 366) / 365.25 for row in spoilt]
    assert len(spoilt) == 10
    assert sum(row.dob <= 366 for row in spoilt) == 1
    assert spoilt[0].full_path
    ages = [age - 1 for age in years if age < 1900]  # year 1 is day 1
    assert sum(age < 0 for age in ages) == 5
    assert sum(age > 100 for age in ages) == 4
    sound = [row.taken - (row.dob - 366) / 365.25 - 1 for row in rows if row.defect != "bad_age"]
    assert min(sound) > 14
    assert max(sound) < 86
    share = sum(1 for row in rows if row.defect) / len(rows)
    assert 0.06 < share < 0.10


def test_pictures_and_truth(wiki):
    rows = rows_of(wiki)
    paths = [f"wiki_crop/{row['full_path']}" for row in rows]
    assert paths == [line["member"] for line in wiki.truth]
    for row, line in zip(rows, wiki.truth, strict=True):
        if not math.isnan(row["gender"]):
            assert line["sex"] == ("male" if row["gender"] else "female")
        numbers = [line[f"{name}_{axis}"] for name in LANDMARKS for axis in "xy"]
        if row["face_score"] == -np.inf:
            assert numbers == [""] * 10
            continue
        points = np.array(numbers, float).reshape(5, 2)
        x1, y1, x2, y2 = row["face_location"][0] - 1
        assert ((points >= (x1, y1)) & (points <= (x2, y2))).all()
        assert row["face_location"].min() >= 1
        assert row["face_location"].max() <= 96
        if row["data"].endswith(b"\xff\xd9"):
            assert decode(row["data"]).shape == (96, 96, 3)


def test_without_defects(tmp_path, read_archive):
    path = tmp_path / "clean.tar"
    render_wiki(path, people=4, seed=1, size=64, defects=False)
    rows = rows_of(read_archive(path))
    assert len(rows) == 4
    for row in rows:
        assert decode(row["data"]) is not None
        assert row["face_score"] >= 1
        assert math.isnan(row["second_face_score"])
