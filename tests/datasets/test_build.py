"""From candidates to rows: limits, published splits, and what cannot be built."""

import io
import json
import tarfile
import unicodedata

import numpy as np
import pytest
from builders import build_rows, make_tar, mnist_pair

from graft.core.errors import GraftError
from graft.datasets.table import Candidate
from graft.download.archives import Archive

SHARES = {"train": 0.5, "val": 0.25, "test": 0.25}


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
    _, without = build_rows(rows, archives, split=SHARES)
    _, counts = build_rows(rows, archives, split=SHARES, limit={"train": 8})
    over = sum(without["splits"]["train"].values()) - 8
    assert counts["dropped"] == {"over_limit": over} and over > 0
    assert counts["splits"]["train"] == {"a": 6, "b": 2}
    assert counts["splits"]["val"] == without["splits"]["val"]


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
    rows = [row._replace(split=name) for row, name in zip(rows, published, strict=True)]
    frame, counts = build_rows(rows, archives, split=SHARES)
    reason = dict(zip(frame["member"], frame["drop_reason"], strict=True))
    assert reason["000.jpg"] == "duplicate_of_test" and reason["001.jpg"] == "duplicate_of_val"
    assert {split: sum(labels.values()) for split, labels in counts["splits"].items()} == {
        "train": 2,
        "val": 2,
        "test": 1,
    }
    assert counts["duplicates"] == 2
    rows[2] = rows[2]._replace(group=rows[4].group)
    with pytest.raises(GraftError, match=r"the group '004\.jpg' is in both train and val"):
        build_rows(rows, archives, split=SHARES)
    rows[2] = rows[2]._replace(split="training")
    with pytest.raises(GraftError, match="its published split is 'training'"):
        build_rows(rows, archives, split=SHARES)


def test_published_splits_need_every_class_in_training(tmp_path):
    rows, archives = plain(tmp_path, ["a", "a", "a", "b"])
    published = ["train", "val", "test", "test"]
    rows = [row._replace(split=name) for row, name in zip(rows, published, strict=True)]
    with pytest.raises(GraftError, match=r"datasets\.d: the class 'b' has no training sample"):
        build_rows(rows, archives, split=SHARES)


def test_what_cannot_be_built_is_one_sentence(tmp_path):
    rows, archives = plain(tmp_path, ["a"] * 40)
    with pytest.raises(GraftError, match=r"datasets\.d: no sample is left \(none is published\)"):
        build_rows([], archives)
    with pytest.raises(GraftError, match=r"no sample is left \(1 missing_file\)"):
        build_rows([Candidate("p.tar", "lost.jpg", "a", "g")], archives)
    with pytest.raises(GraftError, match=r"archive q\.tar is not in datasets\.d\.files"):
        build_rows([Candidate("q.tar", "000.jpg", "a", "g")], archives)
    with pytest.raises(GraftError, match=r"000\.jpg: .* no label"):
        build_rows([Candidate("p.tar", "000.jpg", "", "g")], archives)
    with pytest.raises(GraftError, match=r"datasets\.d\.shards\.val"):
        build_rows(rows, archives, shards={"val": 40})
    same = [Candidate(name, "000.jpg", "a", "g") for name in ("p.tar", "copy.tar")]
    with pytest.raises(GraftError, match=r"two archives of datasets\.d hold the same picture"):
        build_rows(same, archives | {"copy.tar": archives["p.tar"]})


def test_of_two_members_of_one_name_the_last_is_used_and_counted(tmp_path, capsys):
    rows, archives = plain(tmp_path, ["a", "b"] * 20)
    first, _ = build_rows(rows, archives)
    with tarfile.open(archives["p.tar"], "a") as tar:
        for name, data in (("000.jpg", b"older"), ("001.jpg", b"new"), ("000.jpg", b"last")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    frame, counts = build_rows(rows, archives)
    with tarfile.open(archives["p.tar"]) as tar:
        unpacked = {name: tar.extractfile(name).read() for name in ("000.jpg", "001.jpg")}
    assert unpacked == {"000.jpg": b"last", "001.jpg": b"new"}
    where = frame.set_index("member").loc[["000.jpg", "001.jpg"]]
    with Archive(archives["p.tar"]) as archive:
        read = [archive.read(*at) for at in zip(where["offset"], where["size"], strict=True)]
    assert read == list(unpacked.values())
    assert counts["kept"] == len(first) == 40
    assert "p.tar: 3 pictures are there again under the same name, such as '000.jpg'" in (
        capsys.readouterr().out
    )


def test_one_class_alone_is_refused(tmp_path):
    rows, archives = plain(tmp_path, ["a"] * 40 + ["b"])
    rows[-1] = rows[-1]._replace(drop_reason="other_class")
    with pytest.raises(GraftError, match=r"datasets\.d: .* samples are of the class 'a'"):
        build_rows(rows, archives, split=SHARES)


def test_mixed_rows_are_split_and_counted_by_the_structure_stage(tmp_path):
    archives = mnist_pair(tmp_path, "x", [0] * 12, np.arange(12).reshape(12, 1, 1) // 2)
    # Every picture is there twice: published first, then without a split, or the other way.
    splits = ["train", "", "", "test", "val", "", "", "", "train", "train", "", ""]
    rows = [
        Candidate("x-images-idx3-ubyte", f"{n:05d}", f"{n > 7}", f"g{n}", split=split)
        for n, split in enumerate(splits)
    ]
    frame, counts = build_rows(rows, archives)
    where = frame.set_index("member").sort_index()
    assert where["drop_reason"]["00002"] == "duplicate_of_test"
    assert where["drop_reason"]["00005"] == "duplicate_of_val"
    assert where["split"]["00001"] == "train"
    assert where["split"]["00006"] == where["split"]["00007"] != ""
    assert where["split"]["00010"] == where["split"]["00011"] != ""
    assert counts["dropped"] == {"duplicate_of_test": 1, "duplicate_of_val": 1}
    assert counts["published"] == 12 and counts["kept"] == 10


def test_photographs_that_come_and_go_leave_the_others_where_they_were(tmp_path):
    def build(name, pictures):
        path = make_tar(tmp_path / name, pictures)
        rows = [Candidate(name, picture, label=picture[:3]) for picture in pictures]
        frame, _ = build_rows(rows, {name: path})
        return dict(zip(frame["member"], frame["split"], strict=True))

    photos = {f"{'cat' if n % 3 else 'dog'}/{n}.jpg": b"photo %d" % n for n in range(200)}
    before = build("before.tar", photos)
    kept = dict(list(photos.items())[2:])
    more = {f"dog/new {n}.jpg": b"more %d" % n for n in range(10)}
    after = build("after.tar", more | kept)
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    # Whatever it is called, a photograph stays in its split.
    renamed = build("renamed.tar", {f"{name[:4]}x{name[4:]}": data for name, data in kept.items()})
    assert {f"{name[:4]}{name[5:]}": split for name, split in renamed.items()} == {
        name: before[name] for name in kept
    }


def test_what_chance_divides_unevenly_is_told(tmp_path):
    rows, archives = plain(tmp_path, ["a"] * 60 + ["b"] * 20)
    groups = ["one"] * 40 + [f"{n}" for n in range(40)]
    rows = [row._replace(group=group) for row, group in zip(rows, groups, strict=True)]
    _, counts = build_rows(rows, archives, split=SHARES)
    assert any("of the 60 samples of a" in sentence for sentence in counts["uneven"])
    _, counts = build_rows(*plain(tmp_path, ["a"] * 300 + ["b"] * 200), split=SHARES)
    assert counts["uneven"] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cat", "cat"),
        ("polar bear", "polar  bear"),
        ("polar bear", "polarbear"),
        ("cat", "cat "),
        ("cat", "cat\u00a0"),
        ("caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")),
        ("CAF\u00c9", unicodedata.normalize("NFD", "caf\u00e9")),
        ("stra\u00dfe", "STRASSE"),
        ("\u30ab", "\uff76"),
    ],
)
def test_classes_that_hardly_differ_by_name_are_told_with_both(tmp_path, one, other):
    labels = [one] * 40 + [other] * 40 + ["dog"] * 40
    frame, counts = build_rows(*plain(tmp_path, labels), split=SHARES)
    (note,) = counts["notes"]
    for name in (one, other):
        assert f"{json.dumps(name)} (40 rows)" in note
    first, second = sorted((one, other))
    assert f"datasets.d.classes.rename to {{{json.dumps(second)}: {json.dumps(first)}}}" in note
    assert {*frame["label"]} == {one, other, "dog"}  # it is a warning


def test_classes_of_clearly_different_names_have_no_note(tmp_path):
    labels = ["cat", "cats", "bobcat", "c-at", "1", "01"] * 20
    _, counts = build_rows(*plain(tmp_path, labels), split=SHARES)
    assert counts["notes"] == []
