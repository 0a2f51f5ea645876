"""Drawn portraits: what the pictures show, and that the archives are as the real ones."""

import collections
import csv
import gzip
import hashlib
import io
import math
import os
import subprocess
import sys
import tarfile
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import loadmat
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_score

from graft.core.errors import GraftError
from graft.demo import portraits
from graft.demo.lfw import render_lfw
from graft.demo.people import LANDMARKS, SEX_SEPARATION, draw_identity, draw_shot, sex_log_odds
from graft.demo.portrait_archives import ENDINGS, FIRST, LAST, initials, invented_names
from graft.demo.portraits import render
from graft.demo.wiki import DEFECTS, plan_wiki, render_wiki

REAL_WIKI = Path(__file__).resolve().parents[3] / "shared/data/imdb-wiki/wiki.mat"
CARRIERS = [*SEX_SEPARATION, "beard"]
WIKI_PEOPLE = 40


@pytest.fixture(scope="module")
def wiki(tmp_path_factory):
    path = tmp_path_factory.mktemp("wiki") / "wiki_crop.tar"
    counts = render_wiki(path, people=WIKI_PEOPLE, seed=11, size=96)
    return path, counts


@pytest.fixture(scope="module")
def lfw(tmp_path_factory):
    path = tmp_path_factory.mktemp("lfw") / "portraits_identity.tgz"
    render_lfw(path, people=3, pictures=2, seed=12, size=64)
    return path


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}


def wiki_rows(files: dict[str, bytes]) -> list[dict]:
    struct = loadmat(io.BytesIO(files["wiki_crop/wiki.mat"]))["wiki"][0, 0]
    rows = []
    for index in range(struct["dob"].shape[1]):
        row = {field: struct[field][0, index] for field in struct.dtype.names}
        row |= {"full_path": row["full_path"][0], "name": row["name"][0]}
        row["data"] = files[f"wiki_crop/{row['full_path']}"]
        rows.append(row)
    return rows


def decode(data: bytes) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None


def truth(files: dict[str, bytes], root: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(files[f"{root}/landmarks.csv"].decode())))


# -- the people


def test_bayes_rate_is_about_95_percent():
    people = [draw_identity(21, person) for person in range(6000)]
    male = np.array([who.sex == "male" for who in people])
    odds = np.array([sex_log_odds(who) for who in people])
    assert 0.48 < male.mean() < 0.52
    assert 0.93 < ((odds > 0) == male).mean() < 0.975
    # An estimate that knows nothing of the densities agrees.
    attributes = np.array([[getattr(who, name) for name in CARRIERS] for who in people])
    scores = cross_val_score(LinearDiscriminantAnalysis(), attributes, male, cv=4)
    assert 0.93 < scores.mean() < 0.975
    # No single attribute tells.
    for column, name in zip(attributes.T, CARRIERS, strict=True):
        scores = cross_val_score(LinearDiscriminantAnalysis(), column[:, None], male, cv=4)
        assert 0.6 < scores.mean() < 0.85, name


def test_log_odds_by_hand():
    who = replace(draw_identity(1, 0), hair_length=1.0, jaw=0.0, brow=0.5, lips=0.0, beard=0.0)
    expected = -1.4 * 1.0 + 1.6 * 0.5 + math.log((1 - 0.4) / (1 - 0.01))
    assert sex_log_odds(who) == pytest.approx(expected)
    bearded = sex_log_odds(replace(who, beard=0.5))
    assert bearded == pytest.approx(-0.6 + math.log(0.4 / 0.01))


def test_sex_changes_its_carriers_and_nothing_else():
    for person in range(50):
        man = asdict(draw_identity(3, person, "male"))
        woman = asdict(draw_identity(3, person, "female"))
        for name in man:
            if name not in (*CARRIERS, "sex"):
                assert man[name] == woman[name]
        for name, separation in SEX_SEPARATION.items():
            assert man[name] - woman[name] == pytest.approx(separation)


def test_seeds_people_and_pictures_differ():
    assert draw_identity(1, 0) == draw_identity(1, 0)
    people = {draw_identity(seed, person) for seed in (1, 2) for person in range(20)}
    shots = {draw_shot(1, person, picture) for person in (0, 1) for picture in (0, 1)}
    assert len(people) == 40
    assert len(shots) == 4


def test_names_are_unique():
    first, last = FIRST.split(), LAST.split()
    pairs = len(first) * len(last) * len(ENDINGS.split())
    names = invented_names(2 * pairs + 5, seed=1)
    assert len(set(names)) == len(names)
    assert initials(1) == "A"
    assert initials(28) == "AB"


# -- the pictures


def test_picture_is_deterministic_and_landmarks_are_inside():
    for person in range(12):
        who, shot = draw_identity(7, person), draw_shot(7, person, 0)
        portrait = render(who, shot, 96)
        assert portrait.image.dtype == np.uint8
        assert portrait.image.shape == (96, 96, 3)
        assert portrait.image.std() > 8
        assert (portrait.landmarks > 0).all()
        assert (portrait.landmarks < 95).all()
        left, top, right, bottom = portrait.box
        x, y = portrait.landmarks.T
        assert (x > left).all()
        assert (x < right).all()
        assert (y > top).all()
        assert (y < bottom).all()
        again = render(who, shot, 96)
        np.testing.assert_array_equal(again.image, portrait.image)


def test_extreme_shots_keep_landmarks_inside():
    shot = draw_shot(1, 0, 0)
    who = draw_identity(1, 0)
    for sign in (-1, 1):
        for corner in ((0.06, 0.05), (-0.06, 0.05), (0.06, -0.05), (-0.06, -0.05)):
            hard = replace(shot, roll=0.45 * sign, yaw=0.30, pitch=-0.18 * sign, scale=0.26)
            hard = replace(hard, x=corner[0], y=corner[1], mouth_open=1.0)
            landmarks = render(who, hard, 64).landmarks
            assert (landmarks > 1).all()
            assert (landmarks < 62).all()


def test_pupils_are_where_the_landmarks_say():
    plain = {
        "blur": 0.0,
        "noise": 0.0,
        "gaze_x": 0.0,
        "gaze_y": 0.0,
        "exposure": 1.0,
        "glasses": "none",
    }
    for person in range(6):
        who = replace(draw_identity(5, person), iris=(70.0, 50.0, 30.0))
        shot = replace(draw_shot(5, person, 0), **plain, light=(0.0, 0.0, 1.0))
        image, landmarks, _ = render(who, shot, 320)
        eyes = landmarks[:2]
        distance = np.linalg.norm(eyes[1] - eyes[0])
        y, x = np.mgrid[:320, :320]
        for eye in eyes:
            near = np.hypot(x - eye[0], y - eye[1]) < 0.075 * distance
            dark = np.where(near, 255.0 - image.mean(axis=2), 0) ** 4
            centre = np.array([(dark * x).sum(), (dark * y).sum()]) / dark.sum()
            assert np.linalg.norm(centre - eye) < 0.03 * distance


def test_pose_moves_landmarks_as_a_similarity():
    who, shot = draw_identity(2, 1), draw_shot(2, 1, 0)
    plain = replace(shot, roll=0.0, x=0.0, y=0.0, scale=0.2)
    turned = replace(plain, roll=0.3, x=0.03, y=-0.02, scale=0.24)
    before = render(who, plain, 100).landmarks
    after = render(who, turned, 100).landmarks
    grow = 0.24 / 0.2 * np.array([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]])
    expected = (before - 49.5) @ grow.T + 49.5 + (3, -2)
    np.testing.assert_allclose(after, expected, atol=1e-9)


def test_no_person_leaves_the_background():
    shot = draw_shot(1, 0, 0)
    empty = render(None, shot, 64)
    assert np.isnan(empty.landmarks).all()
    assert np.isnan(empty.box).all()
    full = render(draw_identity(1, 0), shot, 64)
    assert (empty.image != full.image).mean() > 0.3


def test_mtcnn_finds_the_faces_and_their_landmarks():
    """The slowest test here: an independent detector, trained on photographs, on 100 pictures."""
    torch = pytest.importorskip("torch")
    mtcnn = pytest.importorskip("facenet_pytorch").MTCNN
    drawn = [render(draw_identity(31, person), draw_shot(31, person, 0)) for person in range(100)]
    with torch.inference_mode():
        detector = mtcnn(keep_all=True, min_face_size=40, device="cpu")
        _, _, found = detector.detect(np.stack([p.image for p in drawn]), landmarks=True)
    errors = []
    for portrait, faces in zip(drawn, found, strict=True):
        if faces is None:
            continue
        away = np.linalg.norm(np.stack(faces).astype(float) - portrait.landmarks, axis=2)
        eyes = np.linalg.norm(portrait.landmarks[1] - portrait.landmarks[0])
        errors.append(away[away.mean(axis=1).argmin()] / eyes)
    errors = np.array(errors)
    near = errors.mean(axis=1) < 0.25  # a box elsewhere is not the face
    assert near.sum() >= math.ceil(0.98 * len(drawn))
    assert np.median(errors) < 0.05
    assert np.median(errors, axis=0).max() < 0.08  # and no landmark is systematically off


# -- the archives


def test_wiki_archive_is_plain_tar_with_fixed_headers(wiki):
    path, _ = wiki
    with tarfile.open(path, "r:") as archive:
        for entry in archive:
            assert (entry.mtime, entry.uid, entry.gid, entry.uname) == (0, 0, 0, "")
        names = archive.getnames()
    assert names[-2:] == ["wiki_crop/wiki.mat", "wiki_crop/landmarks.csv"]
    assert len(set(names)) == len(names)


def test_wiki_struct(wiki):
    files = members(wiki[0])
    for row in wiki_rows(files):
        folder, name = row["full_path"].split("/")
        number, born, year = name.removesuffix(".jpg").split("_")
        assert folder == number[-2:]
        assert int(year) == row["photo_taken"]
        if row["dob"] > 366:
            year, month, day = map(int, born.split("-"))
            assert date(year, month, day).toordinal() + 366 == row["dob"]
        assert row["gender"] in (0.0, 1.0) or math.isnan(row["gender"])


@pytest.mark.skipif(not REAL_WIKI.exists(), reason="needs the real wiki.mat")
def test_wiki_struct_is_nested_as_the_real_one(wiki):
    real = loadmat(REAL_WIKI)["wiki"]
    drawn = loadmat(io.BytesIO(members(wiki[0])["wiki_crop/wiki.mat"]))["wiki"]
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


def test_wiki_defects(wiki):
    path, counts = wiki
    files = members(path)
    rows = wiki_rows(files)
    # 40 people: one of each defect, and a second row for the person who is there twice.
    assert counts == {defect: 2 if defect == "twice" else 1 for defect in DEFECTS}
    assert len(rows) == WIKI_PEOPLE + 1
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


def test_wiki_impossible_ages_take_turns():
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


def test_wiki_pictures_and_truth(wiki):
    files = members(wiki[0])
    rows = wiki_rows(files)
    table = truth(files, "wiki_crop")
    assert [f"wiki_crop/{row['full_path']}" for row in rows] == [line["member"] for line in table]
    for row, line in zip(rows, table, strict=True):
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


def test_wiki_without_defects(tmp_path):
    path = tmp_path / "clean.tar"
    assert render_wiki(path, people=4, seed=1, size=64, defects=False) == {}
    rows = wiki_rows(members(path))
    assert len(rows) == 4
    for row in rows:
        assert decode(row["data"]) is not None
        assert row["face_score"] >= 1
        assert math.isnan(row["second_face_score"])


def test_lfw_layout(lfw):
    files = members(lfw)
    pictures = [name for name in files if name.endswith(".jpg")]
    assert len(pictures) == 6
    assert list(files)[-1] == "portraits_identity/landmarks.csv"
    for name in pictures:
        root, person, file = name.split("/")
        assert root == "portraits_identity"
        assert file in (f"{person}_0001.jpg", f"{person}_0002.jpg")
        assert name.isascii()
        assert decode(files[name]).shape == (64, 64, 3)
    table = truth(files, "portraits_identity")
    assert [line["member"] for line in table] == pictures
    assert len({(line["member"].split("/")[1], line["sex"]) for line in table}) == 3


def test_archives_are_the_same_bytes_each_time(wiki, lfw, tmp_path):
    """Also in another process with other thread counts."""
    code = (
        "import sys; from graft.demo import lfw, wiki;"
        "wiki.render_wiki(sys.argv[1], people=40, seed=11, size=96);"
        "lfw.render_lfw(sys.argv[2], people=3, pictures=2, seed=12, size=64)"
    )
    again = [tmp_path / "again.tar", tmp_path / "again.tgz"]
    library = Path(portraits.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(library), "OMP_NUM_THREADS": "1"}
    environment["OPENBLAS_NUM_THREADS"] = "1"
    subprocess.run(
        [sys.executable, "-c", code, *map(str, again)],
        check=True,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    assert again[0].read_bytes() == wiki[0].read_bytes()
    assert again[1].read_bytes() == lfw.read_bytes()
    assert gzip.decompress(lfw.read_bytes()) == gzip.decompress(again[1].read_bytes())


def test_seeds_give_other_people(lfw, tmp_path):
    path = tmp_path / "other.tgz"
    render_lfw(path, people=3, pictures=2, seed=13, size=64)
    assert not set(members(lfw).values()) & set(members(path).values())


@pytest.mark.parametrize("wrong", [{"people": 0}, {"pictures": 0}, {"size": 63}, {"seed": -1}])
def test_bad_numbers_are_refused_by_name(tmp_path, wrong):
    path = tmp_path / "x.tgz"
    numbers = {"people": 1, "pictures": 1, "size": 64, "seed": 1} | wrong
    with pytest.raises(GraftError, match=next(iter(wrong))):
        render_lfw(path, **numbers)
    if "pictures" not in wrong:
        numbers.pop("pictures")
        with pytest.raises(GraftError, match=next(iter(wrong))):
            render_wiki(path, **numbers)
    assert not list(tmp_path.iterdir())
