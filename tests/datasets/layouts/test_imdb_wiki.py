"""IMDB-WIKI: what is kept and dropped, and where the bytes are."""

import datetime
import hashlib
import io
import tarfile
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import scipy.io
from builders import jpeg, make_tar, part_of, read_layout, structure

from graft.core.errors import GraftError
from graft.datasets.layouts import imdb_wiki
from graft.datasets.table import COLUMNS, check_sample, read, write
from graft.download.archives import Archive

NAN, INF = float("nan"), float("inf")


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


def by_sex(archives, seed=2, **options):
    shares = {"train": 0.5, "val": 0.25, "test": 0.25, "seed": seed}
    return structure("imdb_wiki", archives, "sex", split=shares, shards={"train": 2}, **options)


def test_imdb_wiki_keeps_and_drops_what_it_should(wiki):
    frame, counts = by_sex(wiki)
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


def test_rows_carry_labels_groups_boxes_and_where_the_bytes_are(wiki):
    frame, _ = by_sex(wiki)
    row = frame.set_index("member").to_dict("index")
    first = row["wiki_crop/00/0.jpg"]
    assert first["label"] == "male" and first["group"] == "Man 0"
    assert row["wiki_crop/01/0.jpg"]["label"] == "female"
    # Without a name a picture is its own group, by its content.
    alone = hashlib.sha256(jpeg(5 * 18)).hexdigest()[:16]
    assert row["wiki_crop/02/noname.jpg"]["group"] == alone
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
        frame, _ = by_sex(wiki, seed=seed)
        row = frame.set_index("member")
        one, copy = row.loc["wiki_crop/00/0.jpg"], row.loc["wiki_crop/02/copy.jpg"]
        if "" in (one["split"], copy["split"]):  # of two people, whose splits differ
            (dropped,) = {one["drop_reason"], copy["drop_reason"]} - {""}
            assert dropped == f"duplicate_of_{one['split'] or copy['split']}"
        else:
            assert one["split"] == copy["split"]
        split = row["split"]
        assert split["wiki_crop/01/0.jpg"] == split["wiki_crop/02/twice.jpg"] != ""


def test_kept_rows_come_by_part_and_shuffled_then_the_dropped_as_published(wiki):
    frame, _ = by_sex(wiki)
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
    part = part_of(frame, "train", 1)
    assert list(part["member"]) == [
        member for member, at in zip(stays["member"], parts, strict=True) if at == ("train", 1)
    ]
    assert list(part.index) == list(range(len(part)))
    assert len(part_of(frame, "train", 2)) == 0


def test_two_runs_write_the_same_bytes(wiki, tmp_path):
    for name in ("one.csv", "two.csv"):
        write(tmp_path / name, by_sex(wiki)[0])
    text = (tmp_path / "one.csv").read_bytes()
    assert text == (tmp_path / "two.csv").read_bytes()
    assert text.startswith(b"sample_id,split,shard,label,group,archive,member,offset,size,box,drop")
    assert text.endswith(b"\n") and b"\r" not in text
    assert text.count(b"\n") == len(PUBLISHED) + 1
    pd.testing.assert_frame_equal(read(tmp_path / "one.csv"), by_sex(wiki)[0])


def test_the_order_of_the_archive_does_not_change_the_split(wiki, tmp_path):
    with tarfile.open(wiki["wiki_crop.tar"]) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
    turned = make_tar(tmp_path / "turned.tar", dict(reversed(files.items())))
    columns = [name for name in COLUMNS if name != "offset"]
    one, _ = by_sex(wiki)
    two, _ = by_sex({"wiki_crop.tar": turned})
    pd.testing.assert_frame_equal(one[columns], two[columns])
    assert not one["offset"].equals(two["offset"])


def test_the_thresholds_are_options(wiki):
    def dropped(**options):
        return by_sex(wiki, **options)[1]["dropped"]

    assert dropped(min_face_score=0.9)["low_face_score"] == 3
    assert "second_face" not in dropped(max_second_face_score=0.8)
    assert dropped(max_age=101)["bad_age"] == 3
    old = read_layout("imdb_wiki", wiki, "sex", min_age=30)
    assert Counter(row.drop_reason for row in old)["bad_age"] == 26
    assert read_layout("imdb_wiki", wiki, "sex", crop_margin=None)[0].box == "99 59 198 158"


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [1, 1, NAN, 9], [1, 2, 3]])
def test_a_location_that_is_no_box_leaves_the_box_empty(tmp_path, box):
    (tmp_path / "wiki.mat").write_bytes(mat("wiki", [person("a.jpg", "Ann", box=box)]))
    (row,) = read_layout("imdb_wiki", {"wiki.mat": tmp_path / "wiki.mat"}, "sex")
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
    options = {"age_groups": (20, 30), "max_age": 70}
    archives = {"wiki.mat": tmp_path / "wiki.mat"}
    found = read_layout("imdb_wiki", archives, "age_group", **options)
    assert [row.label for row in found] == list(years.values())
    assert [row.drop_reason for row in found] == [""] * 6 + ["bad_age"]
    for wrong in ([30, 20], [20, 20], [71]):
        with pytest.raises(GraftError, match=r"options\.age_groups is .* Let it rise"):
            options["age_groups"] = wrong
            read_layout("imdb_wiki", archives, "age_group", **options)


def test_imdb_groups_by_celebrity(tmp_path):
    people = [person(f"{i:02}/a.jpg", "Same Name") for i in range(6)]
    ids = np.array([[7, 7, 8, 9, 10, NAN]])
    files = {f"imdb_crop/{row['path']}": jpeg(20 * i) for i, row in enumerate(people)}
    files["imdb_crop/imdb.mat"] = mat("imdb", people, celeb_id=ids)
    archives = {"imdb.tar": make_tar(tmp_path / "imdb.tar", files)}
    found = read_layout("imdb_wiki", archives, "sex")
    assert [row.group for row in found] == ["7", "7", "8", "9", "10", ""]
    assert found[0].member == "imdb_crop/00/a.jpg" and found[0].archive == "imdb.tar"


def test_the_metadata_may_lie_beside_the_archive_or_alone(wiki, tmp_path):
    (tmp_path / "wiki.mat").write_bytes(mat("wiki", PUBLISHED))
    loose = {"wiki.mat": tmp_path / "wiki.mat"}
    inside = read_layout("imdb_wiki", wiki, "sex")
    assert read_layout("imdb_wiki", loose, "sex") == inside
    assert read_layout("imdb_wiki", wiki | loose, "sex") == inside


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"MATLAB, not", r"wiki_crop\.tar: the file cannot be read \(MATLAB v5: "),
        (b"", r"wiki_crop\.tar: the file cannot be read \(MATLAB v5: "),
        (mat("other", PUBLISHED), "holds no struct named imdb or wiki"),
        (mat("wiki", PUBLISHED, gender=None), "the struct wiki lacks gender"),
        (mat("imdb", PUBLISHED), "the struct imdb lacks celeb_id"),
        (mat("wiki", PUBLISHED, gender=np.ones((1, 3))), "differ in length"),
        (
            mat("wiki", PUBLISHED, gender=np.full((1, len(PUBLISHED)), "male", dtype=object)),
            "the field gender does not hold numbers",
        ),
        (
            mat("wiki", PUBLISHED, face_location=np.full((1, len(PUBLISHED)), "x", dtype=object)),
            "the field face_location does not hold numbers",
        ),
        (mat("wiki", [person("../../up.jpg", "A")]), r"'wiki_crop/\.\./\.\./up.jpg' leads out of"),
        (mat("wiki", [person("a.jpg", "A")] * 2), "'wiki_crop/a.jpg' is published twice"),
    ],
)
def test_bad_metadata_is_one_sentence(tmp_path, data, message):
    files = {"wiki_crop/a.jpg": jpeg(0), "wiki_crop/wiki.mat": data}
    archives = {"wiki_crop.tar": make_tar(tmp_path / "wiki_crop.tar", files)}
    with pytest.raises(GraftError, match=message):
        by_sex(archives)


def test_truncated_metadata_is_one_sentence(tmp_path):
    whole = mat("wiki", PUBLISHED)
    for length in range(0, len(whole) - 1, len(whole) // 40):
        (tmp_path / "wiki.mat").write_bytes(whole[:length])
        with pytest.raises(GraftError, match=r"wiki\.mat"):
            read_layout("imdb_wiki", {"wiki.mat": tmp_path / "wiki.mat"}, "sex")


def test_imdb_wiki_needs_its_archive(tmp_path):
    with pytest.raises(GraftError, match="reads one tar archive"):
        by_sex({})
    empty = {"wiki_crop.tar": make_tar(tmp_path / "wiki_crop.tar", {"a.jpg": b""})}
    with pytest.raises(GraftError, match=r"holds neither imdb_crop/imdb\.mat nor wiki_crop/wiki"):
        by_sex(empty)
    with pytest.raises(GraftError, match=r"wiki\.mat: the file cannot be read"):
        by_sex({"wiki.mat": tmp_path / "absent" / "wiki.mat"})
