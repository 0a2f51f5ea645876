"""The structure stage's library: from published archives to the rows of table.csv."""

import csv
import datetime
import hashlib
import io
import tarfile

import cv2
import numpy as np
import pandas as pd
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.core.errors import GraftError
from graft.datasets import samples, table
from graft.datasets.layouts import imdb_wiki
from graft.datasets.table import (
    COLUMNS,
    Candidate,
    build,
    check_sample,
    kept,
    read,
    sample_id,
    write,
)
from graft.download.archives import Archive

SPLIT = {"train": 0.5, "val": 0.25, "test": 0.25, "seed": 1}
NAN, INF = float("nan"), float("inf")


def jpeg(value):
    """A tiny JPEG, different for every value in 0..255."""
    ok, data = cv2.imencode(".jpg", np.full((8, 8, 3), value, np.uint8))
    assert ok
    return data.tobytes()


def make_tar(path, files):
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def datenum(year, month, day):
    """MATLAB's day number: 1 January of the year 1 is day 367."""
    return datetime.date(year, month, day).toordinal() + 366


def mat(database, people, **changes):
    """The bytes of a MATLAB file in the layout of IMDB-WIKI; see the rows in `wiki`."""
    cells = np.empty((4, 1, len(people)), dtype=object)
    for i, person in enumerate(people):
        cells[0, 0, i] = person["path"]
        cells[1, 0, i] = person["name"]
        cells[2, 0, i] = np.array([person["box"]], dtype=np.float64)
    column = {
        key: np.array([[person[key] for person in people]], dtype=np.float64)
        for key in ("dob", "taken", "sex", "score", "second")
    }
    fields = {
        "dob": column["dob"].astype(np.int32),
        "photo_taken": column["taken"].astype(np.uint16),
        "full_path": cells[0],
        "gender": column["sex"],
        "name": cells[1],
        "face_location": cells[2],
        "face_score": column["score"],
        "second_face_score": column["second"],
    }
    fields |= changes
    file = io.BytesIO()
    record = {key: value for key, value in fields.items() if value is not None}
    scipy.io.savemat(file, {database: record}, do_compression=True)
    return file.getvalue()


def person(path, name, **changes):
    good = {
        "path": path,
        "name": name,
        "dob": datenum(1980, 5, 5),
        "taken": 2009,
        "sex": 1.0,
        "score": 4.0,
        "second": NAN,
        "box": [100, 60, 199, 159],
    }
    return good | changes


PUBLISHED = [
    *[person(f"00/{i}.jpg", f"Man {i}") for i in range(8)],
    *[person(f"01/{i}.jpg", f"Woman {i}", sex=0.0) for i in range(8)],
    person("02/copy.jpg", "Man 0 again"),  # the very picture of Man 0
    person("02/twice.jpg", "Woman 0", sex=0.0),  # another picture of Woman 0
    person("02/noname.jpg", ""),
    person("03/noface.jpg", "Anne", score=-INF, box=[1, 1, 300, 200]),
    person("03/unsure.jpg", "Anne", score=0.99),
    person("03/infinite.jpg", "Anne", score=INF),
    person("03/second.jpg", "Anne", second=0.8),
    person("03/unborn.jpg", "Anne", dob=datenum(2010, 1, 1)),
    person("03/ancient.jpg", "Anne", dob=datenum(1908, 6, 30)),
    person("03/yearzero.jpg", "Anne", dob=0),
    person("03/day366.jpg", "Anne", dob=366),
    person("03/unknown.jpg", "Anne", sex=NAN),
    person("03/lost.jpg", "Anne"),
    person("03/empty.jpg", "Anne"),
    # Several defects: the first in the order of the checks is the reason.
    person("03/several.jpg", "Anne", score=0.5, second=2.0, dob=0, sex=NAN),
]
DROPPED = {
    "03/noface.jpg": "low_face_score",
    "03/unsure.jpg": "low_face_score",
    "03/infinite.jpg": "low_face_score",
    "03/second.jpg": "second_face",
    "03/unborn.jpg": "bad_age",
    "03/ancient.jpg": "bad_age",
    "03/yearzero.jpg": "bad_age",
    "03/day366.jpg": "bad_age",
    "03/unknown.jpg": "no_label",
    "03/lost.jpg": "missing_file",
    "03/empty.jpg": "unreadable",
    "03/several.jpg": "low_face_score",
}


@pytest.fixture
def wiki(tmp_path):
    files = {f"wiki_crop/{row['path']}": jpeg(5 * i) for i, row in enumerate(PUBLISHED)}
    files["wiki_crop/02/copy.jpg"] = files["wiki_crop/00/0.jpg"]
    files["wiki_crop/03/empty.jpg"] = b""
    del files["wiki_crop/03/lost.jpg"]
    files["wiki_crop/unlisted.jpg"] = jpeg(255)
    files["wiki_crop/wiki.mat"] = mat("wiki", PUBLISHED)
    return {"wiki_crop.tar": make_tar(tmp_path / "wiki_crop.tar", files)}


def structure(archives, layout="imdb_wiki", label="sex", options=None, **settings):
    settings = {"split": SPLIT, "shards": {"train": 2}, "dataset": "d"} | settings
    found = samples.rows(layout, archives, label=label, options=options, dataset="d")
    return build(found, archives, **settings)


def test_imdb_wiki_keeps_and_drops_what_it_should(wiki):
    frame, counts = structure(wiki)
    assert list(frame.columns) == list(COLUMNS)
    reasons = dict(zip(frame["member"], frame["drop_reason"], strict=True))
    assert reasons == {
        f"wiki_crop/{row['path']}": DROPPED.get(row["path"], "") for row in PUBLISHED
    }
    assert counts["published"] == 31 and counts["kept"] == 19 and counts["duplicates"] == 1
    assert counts["dropped"] == {
        "bad_age": 4,
        "low_face_score": 4,
        "missing_file": 1,
        "no_label": 1,
        "second_face": 1,
        "unreadable": 1,
    }
    assert counts["published"] == counts["kept"] + sum(counts["dropped"].values())
    assert sum(n for labels in counts["splits"].values() for n in labels.values()) == 19
    # 10 rows are male and 9 female; two of each class must stay together.
    assert counts["splits"]["train"] == {"female": 5, "male": 5}


def test_rows_carry_labels_groups_boxes_and_where_the_bytes_are(wiki):
    frame, _ = structure(wiki)
    row = frame.set_index("member").to_dict("index")
    first = row["wiki_crop/00/0.jpg"]
    assert first["label"] == "male" and first["group"] == "Man 0"
    assert row["wiki_crop/01/0.jpg"]["label"] == "female"
    assert row["wiki_crop/02/noname.jpg"]["group"] == "02/noname.jpg"
    # The face is 100 pixels wide; the crop begins 40 pixels left of it.
    assert first["box"] == "40 40 139 139"
    assert row["wiki_crop/03/noface.jpg"]["box"] == ""
    with tarfile.open(wiki["wiki_crop.tar"]) as tar, Archive(wiki["wiki_crop.tar"]) as archive:
        for member, values in row.items():
            if values["drop_reason"] == "missing_file":
                assert (values["offset"], values["size"]) == (-1, 0)
                expected = hashlib.sha256(member.encode())
            else:
                data = tar.extractfile(member).read()
                assert archive.read(values["offset"], values["size"]) == data
                expected = hashlib.sha256(member.encode() + b"\0" + data)
                check_sample(values["sample_id"], member, data)
            assert values["sample_id"] == expected.hexdigest()[:16]


def test_people_and_copies_do_not_straddle(wiki):
    for seed in range(8):
        frame, _ = structure(wiki, split=SPLIT | {"seed": seed})
        where = dict(zip(frame["member"], frame["split"], strict=True))
        assert where["wiki_crop/00/0.jpg"] == where["wiki_crop/02/copy.jpg"] != ""
        assert where["wiki_crop/01/0.jpg"] == where["wiki_crop/02/twice.jpg"] != ""


def test_kept_rows_come_by_part_and_shuffled_then_the_dropped_as_published(wiki):
    frame, _ = structure(wiki)
    stays = frame[frame["drop_reason"] == ""]
    parts = list(zip(stays["split"], stays["shard"], strict=True))
    assert list(dict.fromkeys(parts)) == [("train", 0), ("train", 1), ("val", 0), ("test", 0)]
    assert parts == sorted(
        parts, key=lambda part: (["train", "val", "test"].index(part[0]), part[1])
    )
    assert list(stays["member"]) != sorted(stays["member"])
    gone = frame[len(stays) :]
    assert list(gone["member"]) == [f"wiki_crop/{path}" for path in DROPPED]
    assert set(gone["split"]) == {""} and set(gone["shard"]) == {-1}
    part = kept(frame, "train", 1)
    assert list(part["member"]) == [
        member for member, at in zip(stays["member"], parts, strict=True) if at == ("train", 1)
    ]
    assert list(part.index) == list(range(len(part)))
    assert len(kept(frame, "train", 2)) == 0


def test_two_runs_write_the_same_bytes(wiki, tmp_path):
    for name in ("one.csv", "two.csv"):
        write(tmp_path / name, structure(wiki)[0])
    text = (tmp_path / "one.csv").read_bytes()
    assert text == (tmp_path / "two.csv").read_bytes()
    assert text.startswith(b"sample_id,split,shard,label,group,archive,member,offset,size,box,drop")
    assert text.endswith(b"\n") and b"\r" not in text
    assert text.count(b"\n") == len(PUBLISHED) + 1
    pd.testing.assert_frame_equal(read(tmp_path / "one.csv"), structure(wiki)[0])


def test_the_order_of_the_archive_does_not_change_the_split(wiki, tmp_path):
    with tarfile.open(wiki["wiki_crop.tar"]) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
    turned = make_tar(tmp_path / "turned.tar", dict(reversed(files.items())))
    columns = [name for name in COLUMNS if name != "offset"]
    one, _ = structure(wiki)
    two, _ = structure({"wiki_crop.tar": turned})
    pd.testing.assert_frame_equal(one[columns], two[columns])
    assert not one["offset"].equals(two["offset"])


def test_the_thresholds_are_options(wiki):
    def dropped(**options):
        return structure(wiki, options=options)[1]["dropped"]

    assert dropped(min_face_score=0.9)["low_face_score"] == 3
    assert "second_face" not in dropped(max_second_face_score=0.8)
    assert dropped(max_age=101)["bad_age"] == 3
    assert dropped(min_age=-1)["bad_age"] == 3
    found = samples.rows("imdb_wiki", wiki, label="sex", options={"crop_margin": None})
    assert next(found).box == "99 59 198 158"


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [1, 1, NAN, 9], [1, 2, 3]])
def test_a_location_that_is_no_box_leaves_the_box_empty(tmp_path, box):
    (tmp_path / "wiki.mat").write_bytes(mat("wiki", [person("a.jpg", "Ann", box=box)]))
    (row,) = samples.rows("imdb_wiki", {"wiki.mat": tmp_path / "wiki.mat"}, label="sex")
    assert row.box == "" and not row.drop_reason


def test_age_is_that_in_the_middle_of_the_year():
    born = [(1980, 6, 30), (1980, 7, 1), (2009, 1, 1), (2009, 7, 1)]
    dob = np.array([datenum(*day) for day in born] + [0.0, -5.0, NAN, 1e18])
    taken = np.full(len(dob), 2009.0)
    found = imdb_wiki.age(dob, taken)
    assert found[:4].tolist() == [29, 28, 0, -1]
    assert found[4:6].tolist() == [2008, 2008]
    assert np.isnan(found[6]) and found[7] < 0
    assert np.isnan(imdb_wiki.age(np.array([datenum(1980, 1, 1)]), np.array([NAN]))).all()


def test_ages_fall_into_the_spans_that_begin_at_the_given_ages(tmp_path):
    years = {0: "00-19", 19: "00-19", 20: "20-29", 29: "20-29", 30: "30-70", 70: "30-70", 71: ""}
    people = [
        person(f"{age}.jpg", f"Name {age}", dob=datenum(2009 - age, 1, 1), sex=NAN) for age in years
    ]
    (tmp_path / "wiki.mat").write_bytes(mat("wiki", people))
    options = {"age_groups": [20, 30], "max_age": 70}
    archives = {"wiki.mat": tmp_path / "wiki.mat"}
    found = list(samples.rows("imdb_wiki", archives, label="age_group", options=options))
    assert [row.label for row in found] == list(years.values())
    assert [row.drop_reason for row in found] == [""] * 6 + ["bad_age"]
    for wrong in ([30, 20], [0, 20], [71]):
        with pytest.raises(GraftError, match=r"age_groups .* must rise"):
            options["age_groups"] = wrong
            list(samples.rows("imdb_wiki", archives, label="age_group", options=options))


def test_imdb_groups_by_celebrity(tmp_path):
    people = [person(f"{i:02}/a.jpg", "Same Name") for i in range(6)]
    ids = np.array([[7, 7, 8, 9, 10, NAN]])
    files = {f"imdb_crop/{row['path']}": jpeg(20 * i) for i, row in enumerate(people)}
    files["imdb_crop/imdb.mat"] = mat("imdb", people, celeb_id=ids)
    archives = {"imdb.tar": make_tar(tmp_path / "imdb.tar", files)}
    found = list(samples.rows("imdb_wiki", archives, label="sex"))
    assert [row.group for row in found] == ["7", "7", "8", "9", "10", "05/a.jpg"]
    assert found[0].member == "imdb_crop/00/a.jpg" and found[0].archive == "imdb.tar"


def test_the_metadata_may_lie_beside_the_archive_or_alone(wiki, tmp_path):
    (tmp_path / "wiki.mat").write_bytes(mat("wiki", PUBLISHED))
    loose = {"wiki.mat": tmp_path / "wiki.mat"}
    inside = list(samples.rows("imdb_wiki", wiki, label="sex"))
    assert list(samples.rows("imdb_wiki", loose, label="sex")) == inside
    assert list(samples.rows("imdb_wiki", wiki | loose, label="sex")) == inside


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"MATLAB, not", r"wiki\.mat: not a readable MATLAB v5 file"),
        (b"", r"wiki\.mat: not a readable MATLAB v5 file"),
        (mat("other", PUBLISHED), "holds no struct named imdb or wiki"),
        (mat("wiki", PUBLISHED, gender=None), "the struct wiki lacks gender"),
        (mat("imdb", PUBLISHED), "the struct imdb lacks celeb_id"),
        (mat("wiki", PUBLISHED, gender=np.ones((1, 3))), "differ in length"),
        (
            mat("wiki", PUBLISHED, gender=np.full((1, len(PUBLISHED)), "male", dtype=object)),
            "a field of wiki does not hold numbers",
        ),
        (
            mat("wiki", PUBLISHED, face_location=np.full((1, len(PUBLISHED)), "x", dtype=object)),
            "a field of wiki does not hold numbers",
        ),
        (mat("wiki", [person("../../up.jpg", "A")]), r"'wiki_crop/\.\./\.\./up.jpg' climbs"),
        (mat("wiki", [person("a.jpg", "A")] * 2), "'wiki_crop/a.jpg' is published twice"),
    ],
)
def test_bad_metadata_is_one_sentence(tmp_path, data, message):
    files = {"wiki_crop/a.jpg": jpeg(0), "wiki_crop/wiki.mat": data}
    archives = {"wiki_crop.tar": make_tar(tmp_path / "wiki_crop.tar", files)}
    with pytest.raises(GraftError, match=message):
        structure(archives)


def test_truncated_metadata_is_one_sentence(tmp_path):
    whole = mat("wiki", PUBLISHED)
    for length in range(0, len(whole) - 1, len(whole) // 40):
        (tmp_path / "wiki.mat").write_bytes(whole[:length])
        with pytest.raises(GraftError, match=r"wiki\.mat"):
            list(samples.rows("imdb_wiki", {"wiki.mat": tmp_path / "wiki.mat"}, label="sex"))


def test_imdb_wiki_needs_its_archive(tmp_path):
    with pytest.raises(GraftError, match="reads one tar archive"):
        structure({})
    empty = {"wiki_crop.tar": make_tar(tmp_path / "wiki_crop.tar", {"a.jpg": b""})}
    with pytest.raises(GraftError, match=r"holds neither imdb_crop/imdb\.mat nor wiki_crop/wiki"):
        structure(empty)
    with pytest.raises(GraftError, match=r"wiki\.mat: cannot be read"):
        structure({"wiki.mat": tmp_path / "absent" / "wiki.mat"})


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
    frame, counts = structure(lfw, "lfw", split=SPLIT | {"train": 0.4, "test": 0.35}, shards={})
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
    frame, counts = structure(lfw, "lfw", "identity", shards={})
    assert counts["dropped"] == {"too_few_pictures": 3}
    stays = frame[frame["drop_reason"] == ""]
    assert table.classes(frame) == ["Ann", "Bea", "Cid", "Eve", "Flo"]
    assert list(stays["group"]) == list(stays["member"])
    for name in ("Ann", "Bea", "Cid"):
        assert set(stays[stays["label"] == name]["split"]) == {"train", "val", "test"}
    for name in ("Eve", "Flo"):
        assert "train" in set(stays[stays["label"] == name]["split"])
    options = {"min_pictures": 3, "box": [1, 2, 3, 4.5]}
    frame, counts = structure(lfw, "lfw", "identity", options=options, shards={})
    assert set(frame["box"]) == {"1 2 3 4.5"}
    assert counts["dropped"] == {"too_few_pictures": 7} and counts["kept"] == 10


def test_pictures_that_are_no_jpegs_are_rows_with_a_reason(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("x/A/A_0001.JPG", "x/A/A_0002.jpeg", "x/A/A_0003.png", "x/notes.txt"):
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    rows = list(samples.rows("lfw", {"x.tar": tmp_path / "x.tar"}, label="identity"))
    assert [(row.member[-3:], row.drop_reason) for row in rows] == [
        ("JPG", ""),
        ("peg", ""),
        ("png", "not_jpeg"),
    ]


def test_bad_lfw_is_one_sentence(lfw, tmp_path):
    with pytest.raises(GraftError, match=r"reads male_names\.txt for the label sex"):
        structure({key: path for key, path in lfw.items() if not key.startswith("male")}, "lfw")
    with pytest.raises(GraftError, match="reads one tar archive"):
        structure({key: path for key, path in lfw.items() if key.endswith(".txt")}, "lfw")
    lfw["male_names.txt"].write_bytes(b"\xff\xfe")
    with pytest.raises(GraftError, match=r"male_names\.txt: cannot be read as UTF-8"):
        structure(lfw, "lfw")
    odd = {"lfw.tar": make_tar(tmp_path / "odd.tar", {"lfw/Ann/Bea_0001.jpg": jpeg(0)})}
    with pytest.raises(GraftError, match=r"'lfw/Ann/Bea_0001\.jpg' is not named"):
        structure(odd, "lfw", "identity")


@pytest.mark.parametrize(
    ("layout", "label", "options", "message"),
    [
        ("lwf", "sex", {}, r"datasets\.d\.layout says 'lwf', .* did you mean lfw\?"),
        ("lfw", "age", {}, r"datasets\.d\.label says 'age', .* known: identity, sex\."),
        ("imdb_wiki", "sex", {"min_agee": 1}, r"datasets\.d\.options .* did you mean min_age\?"),
    ],
)
def test_unknown_words_in_the_config_are_named(lfw, layout, label, options, message):
    with pytest.raises(GraftError, match=message):
        structure(lfw, layout, label, options)


def test_every_layout_refuses_a_label_it_does_not_offer(lfw):
    for layout in samples.LAYOUTS.values():
        with pytest.raises(GraftError, match="'colour'"):
            list(layout.rows(lfw, label="colour"))


def plain(tmp_path, labels, **changes):
    """An archive and candidates of the given labels, each picture its own group."""
    names = [f"{i:03}.jpg" for i in range(len(labels))]
    path = make_tar(tmp_path / "p.tar", {name: name.encode() for name in names})
    rows = [
        Candidate("p.tar", name, label=label, group=name)
        for name, label in zip(names, labels, strict=True)
    ]
    return rows, {"p.tar": path}


def test_the_limit_drops_rows_with_a_reason(tmp_path):
    rows, archives = plain(tmp_path, ["a"] * 60 + ["b"] * 20)
    _, counts = build(rows, archives, split=SPLIT, shards={}, limit={"train": 8})
    assert counts["dropped"] == {"over_limit": 32}
    assert counts["splits"]["train"] == {"a": 6, "b": 2}
    assert counts["splits"]["val"] == {"a": 15, "b": 5}


def test_published_splits_are_kept_and_freed_of_repeats(tmp_path):
    rows, archives = plain(tmp_path, [*"aaaaaab"])
    make_tar(
        archives["p.tar"],
        {
            row.member: data
            for row, data in zip(rows, [b"1", b"2", b"3", b"2", b"4", b"1", b"5"], strict=True)
        },
    )
    published = ["train", "train", "train", "val", "val", "test", "train"]
    for row, name in zip(rows, published, strict=True):
        row.split = name
    frame, counts = build(rows, archives, split=SPLIT, shards={})
    reason = dict(zip(frame["member"], frame["drop_reason"], strict=True))
    assert reason["000.jpg"] == "duplicate_of_test" and reason["001.jpg"] == "duplicate_of_val"
    assert {split: sum(labels.values()) for split, labels in counts["splits"].items()} == {
        "train": 2,
        "val": 2,
        "test": 1,
    }
    assert counts["duplicates"] == 2
    rows[2].group = rows[4].group
    with pytest.raises(GraftError, match=r"the group '004\.jpg' stands in both train and val"):
        build(rows, archives, split=SPLIT, shards={})
    rows[2].split = "training"
    with pytest.raises(GraftError, match="its published split 'training' is none of"):
        build(rows, archives, split=SPLIT, shards={})


def test_published_splits_need_every_class_in_training(tmp_path):
    rows, archives = plain(tmp_path, ["a", "a", "a", "b"])
    for row, name in zip(rows, ["train", "val", "test", "test"], strict=True):
        row.split = name
    with pytest.raises(GraftError, match=r"datasets\.d: the class 'b' has no training sample"):
        build(rows, archives, split=SPLIT, shards={}, dataset="d")


def test_what_cannot_be_built_is_one_sentence(tmp_path):
    rows, archives = plain(tmp_path, ["a"] * 8)
    settings = {"split": SPLIT, "shards": {}, "dataset": "d"}
    with pytest.raises(GraftError, match=r"datasets\.d: no sample is left \(none is published\)"):
        build([], archives, **settings)
    with pytest.raises(GraftError, match=r"no sample is left \(1 missing_file\)"):
        build([Candidate("p.tar", "lost.jpg", "a", "g")], archives, **settings)
    with pytest.raises(GraftError, match=r"which datasets\.d\.files does not list"):
        build([Candidate("q.tar", "000.jpg", "a", "g")], archives, **settings)
    with pytest.raises(GraftError, match=r"000\.jpg: has neither a drop reason nor both"):
        build([Candidate("p.tar", "000.jpg", "a", "")], archives, **settings)
    with pytest.raises(GraftError, match=r"datasets\.d\.shards\.val"):
        build(rows, archives, **settings | {"shards": {"val": 9}})
    same = [Candidate(name, "000.jpg", "a", "g") for name in ("p.tar", "copy.tar")]
    with pytest.raises(GraftError, match=r"two archives of datasets\.d hold this very picture"):
        build(same, archives | {"copy.tar": archives["p.tar"]}, **settings)
    with tarfile.open(archives["p.tar"], "a") as tar:
        tar.addfile(tarfile.TarInfo("000.jpg"))
    with pytest.raises(GraftError, match=r"p\.tar: holds the member '000\.jpg' twice"):
        build(rows, archives, **settings)


def test_one_class_alone_is_refused(tmp_path):
    rows, archives = plain(tmp_path, ["a"] * 8 + ["b"])
    rows[-1].drop_reason = "other_class"
    with pytest.raises(GraftError, match=r"datasets\.d: all samples .* are of the class 'a'"):
        build(rows, archives, split=SPLIT, shards={}, dataset="d")


def test_a_picture_that_has_changed_is_noticed():
    expected = sample_id("a.jpg", b"data")
    check_sample(expected, "a.jpg", b"data")
    for member, data in (("a.jpg", b"Data"), ("b.jpg", b"data"), ("a.jpg", b"")):
        with pytest.raises(GraftError, match=rf"{member}: the bytes .* sample {expected}"):
            check_sample(expected, member, data)


def test_boxes_are_written_alike_everywhere():
    assert table.format_box(1, 2.5, 100.126, 1e6 + 0.004) == "1 2.5 100.13 1000000"
    assert table.format_box(-0.001, 0, np.float32(3), 4) == "0 0 3 4"


def example(**columns):
    row = dict.fromkeys(COLUMNS, "") | {
        "sample_id": "0" * 16,
        "split": "train",
        "shard": 0,
        "offset": 512,
        "size": 3,
    }
    return pd.DataFrame([row | columns])


@settings(deadline=None, max_examples=60)
@given(
    label=st.text(max_size=8) | st.sampled_from(["007", "NA", "nan", "1e5", "True", " x ", '"']),
    group=st.text(alphabet='a",\r\n\t é\0', max_size=8),
    member=st.text(max_size=8),
)
def test_any_text_survives_the_file(tmp_path_factory, label, group, member):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    frame = example(label=label, group=group, member=member)
    write(path, frame)
    again = read(path)
    assert again.loc[0, ["label", "group", "member"]].tolist() == [label, group, member]
    assert again.to_dict("records") == frame.to_dict("records")
    write(path.with_name("again.csv"), again)
    assert path.read_bytes() == path.with_name("again.csv").read_bytes()
    with open(path, encoding="utf-8", newline="") as file:
        assert [row[3] for row in csv.reader(file)] == ["label", label]


def test_types_are_strict(tmp_path):
    write(tmp_path / "a.csv", example(label="007", group="NA", member="1"))
    frame = read(tmp_path / "a.csv")
    assert {name for name in COLUMNS if frame[name].dtype == "int64"} == {"shard", "offset", "size"}
    assert all(frame[name].dtype == "str" for name in COLUMNS if name not in table.INTEGERS)
    assert not frame.isna().any().any()
    gone = example(split="", shard=-1, drop_reason="no_label", offset=-1, size=0)
    write(tmp_path / "b.csv", gone)
    assert (tmp_path / "b.csv").read_text().splitlines()[1] == "0" * 16 + ",,,,,,,-1,0,,no_label"
    assert read(tmp_path / "b.csv").loc[0, "shard"] == -1
    write(tmp_path / "none.csv", gone[:0])
    assert read(tmp_path / "none.csv").dtypes.equals(frame.dtypes)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("id,train,0,a,g,x.tar,m,0,1,", "line 2 has 10 cells"),
        ("id,train,0,a,g,x.tar,m,zero,1,,", "invalid literal"),
        ("id,training,0,a,g,x.tar,m,0,1,,", "line 2 is neither kept nor dropped"),
        ("id,train,,a,g,x.tar,m,0,1,,", "line 2 is neither kept nor dropped"),
        ("id,train,-1,a,g,x.tar,m,0,1,,", "line 2 is neither kept nor dropped"),
        ("id,train,0,a,g,x.tar,m,0,1,,no_face", "line 2 is neither kept nor dropped"),
        ('id,train,0,a,g,x.tar,"m,0,1,,', "unexpected end of data"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, line, message):
    path = tmp_path / "data_file.csv"
    path.write_text(",".join(COLUMNS) + "\n" + line + "\n")
    with pytest.raises(GraftError, match=rf"data_file\.csv: not a data file .*{message}"):
        read(path)


def test_a_wrong_header_or_no_file_is_one_sentence(tmp_path):
    path = tmp_path / "data_file.csv"
    with pytest.raises(GraftError, match=r"data_file\.csv: cannot be read"):
        read(path)
    for text in ("", "a,b\n"):
        path.write_text(text)
        with pytest.raises(GraftError, match="its header is not sample_id"):
            read(path)
