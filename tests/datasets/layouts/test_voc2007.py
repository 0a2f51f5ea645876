"""Pascal VOC: the splits of the lists, the classes of the annotations, and what is dropped."""

import pytest
from builders import build_rows, jpeg, make_tar, overlay, read_layout, voc_xml

from graft.config.read import read_config
from graft.core.errors import GraftError

ROOT = "VOCdevkit/VOC2007"
BOX = (1, 1, 9, 9)


def kit(found, lists, *, root=ROOT, without=()):
    """The files of a tar: `found` are the classes in each picture, or an annotation's bytes, or
    None where there is none; pictures in `without` are not there."""
    files = {}
    for name, classes in found.items():
        if classes is not None:
            xml = classes if isinstance(classes, bytes) else voc_xml(*((c, BOX) for c in classes))
            files[f"{root}/Annotations/{name}.xml"] = xml
    for name, ids in lists.items():
        files[f"{root}/ImageSets/Main/{name}.txt"] = "".join(f"{i}\n" for i in ids).encode()
    for number, name in enumerate(found):
        if name not in without:
            files[f"{root}/JPEGImages/{name}.jpg"] = jpeg(10 * number)
    return files


def rows_of(folder, *tars, **options):
    """(id, label, split, drop reason, archive) of every row."""
    archives = {f"{n}.tar": make_tar(folder / f"{n}.tar", files) for n, files in enumerate(tars)}
    rows = read_layout("voc2007", archives, "objects", **options)
    assert all(row.member.endswith(".jpg") and row.group == row.box == "" for row in rows)
    return [
        (row.member[:-4].rpartition("/")[2], row.label, row.split, row.drop_reason, row.archive)
        for row in rows
    ]


def test_two_tars_are_one_data_set_in_the_order_of_the_lists(tmp_path):
    # `train` is a class as well as a split.
    lists = {"val": ["3"], "train": ["2", "1"], "trainval": ["1", "2", "3"]}
    lists |= {"train_train": ["1  1", "2 -1"], "train_val": ["3  0"], "train_test": ["1 -1"]}
    trainval = kit({"1": ["train", "car", "train"], "2": [], "3": ["person"]}, lists)
    test = kit({"4": ["sofa", "cat"]}, {"test": ["4"], "cat_test": ["4  1"], "train_test": ["9 1"]})
    assert rows_of(tmp_path, trainval, test) == [
        ("2", "", "train", "", "0.tar"),
        ("1", "car|train", "train", "", "0.tar"),
        ("3", "person", "val", "", "0.tar"),
        ("4", "cat|sofa", "test", "", "1.tar"),
    ]


def test_the_year_is_found_and_several_may_stand_side_by_side(tmp_path):
    first = kit({"1": ["cat"]}, {"train": ["1"]})
    second = kit({"1": ["dog"], "2007_1": ["cow"]}, {"train": ["1"]}, root="VOCdevkit/VOC2012")
    bare = kit({"1": ["bus"]}, {"test": ["1"]}, root=".")
    assert [row[1:4] for row in rows_of(tmp_path, first, second, bare)] == [
        ("cat", "train", ""),
        ("dog", "train", ""),
        ("bus", "test", ""),
        ("", "", "not_listed"),
    ]


def test_what_is_left_out_is_a_row_with_a_reason(tmp_path, capsys):
    found = {"1": ["cat"], "2": None, "3": b"<annotation", "4": ["dog"], "5": None, "6": ["cow"]}
    lists = {"train": ["1", "2", "3", "absent"], "val": ["6"]}
    rows = rows_of(tmp_path, kit(found, lists, without=("6",)) | {f"{ROOT}/readme.jpg": b""})
    assert [(name, reason) for name, _, _, reason, _ in rows] == [
        ("1", ""),
        ("2", "no_annotation"),
        ("3", "bad_annotation"),
        ("absent", "no_annotation"),
        ("6", ""),  # `build` drops it as missing_file
        ("4", "not_listed"),
        ("5", "not_listed"),
    ]
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert f"0.tar: {ROOT}/Annotations/3.xml: the annotation is not XML" in printed


def test_a_test_split_may_be_published_without_annotations(tmp_path):
    trainval = kit({"1": ["cat"]}, {"train": ["1"]})
    test = kit({"8": None, "9": None}, {"test": ["8", "9"]})
    rows = rows_of(tmp_path, trainval, test)
    assert rows[1:] == [(i, "", "test", "no_annotation", "1.tar") for i in ("8", "9")]


def test_lists_annotations_and_pictures_may_be_in_tars_of_their_own(tmp_path):
    files = kit({"1": ["cat"]}, {"train": ["1"]})
    parts = [{name: files[name]} for name in files]
    assert rows_of(tmp_path, *parts) == [("1", "cat", "train", "", "2.tar")]


def test_a_few_broken_annotations_are_named_and_the_others_counted(tmp_path, capsys):
    found = {str(i): b"<x" for i in range(12)} | {"good": ["cat"]}
    rows = rows_of(tmp_path, kit(found, {"train": found}))
    assert [row[3] for row in rows] == ["bad_annotation"] * 12 + [""]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[-1] == "warning: 7 more annotations cannot be used."


def test_if_all_annotations_are_broken_the_layout_is_the_wrong_one(tmp_path):
    found = {"1": b"<x", "2": b"", "3": ["cat"]}
    with pytest.raises(GraftError, match=r"1\.xml: the annotation is not .* All 2 annotations of"):
        rows_of(tmp_path, kit(found, {"train": ["1", "2"]}))


def test_a_class_that_is_not_known_is_named_with_its_file(tmp_path):
    files = kit({"1": ["cat"], "2": ["boat", "peron"], "3": ["odd"]}, {"train": ["1", "2"]})
    with pytest.raises(GraftError, match=r"0\.tar: .*/2\.xml has .* 'peron'.*mean person\?"):
        rows_of(tmp_path, files)
    rows = rows_of(tmp_path, files, classes=["cat", "boat", "peron"])
    assert [row[1] for row in rows] == ["cat", "boat|peron", ""]
    with pytest.raises(GraftError, match="'boat', which is none of the 1 known"):
        rows_of(tmp_path, files, classes=["cat"])


GOOD = kit({"1": ["cat"]}, {"train": ["1"]})


@pytest.mark.parametrize(
    ("tars", "message"),
    [
        ((), "reads one or several tar archives, and the data set's `files` are none"),
        ((kit({"1": ["cat"]}, {}),), r"tars with train\.txt, val\.txt, test\.txt in <root>/Image"),
        ((kit({"1": ["cat"]}, {"train_train": ["1"]}),), "tars with train"),
        ((GOOD, GOOD), r"1\.tar: 'VOCdevkit/VOC2007/Annotations/1\.xml' is there twice, or in"),
        ((GOOD | {f"{ROOT}/JPEGImages/1.png": b""},), r"JPEGImages/1\.png' is there twice"),
        ((GOOD | {f"{ROOT}/ImageSets/Main/val.txt": b"\xff"},), r"val\.txt: the file cannot be re"),
        (
            (kit({"1": ["cat"]}, {"train": ["1", "../2"]}),),
            r"0\.tar: the member name .*\.\./2\.jpg",
        ),
    ],
)
def test_bad_files_are_one_sentence(tmp_path, tars, message):
    with pytest.raises(GraftError, match=message):
        rows_of(tmp_path, *tars)


def test_other_files_than_tars_are_refused():
    with pytest.raises(GraftError, match=r"reads one or several tar archives.* a\.csv"):
        read_layout("voc2007", {"a.csv": "a.csv"}, "objects")


def test_a_picture_listed_in_two_splits_is_refused_by_the_build(tmp_path):
    files = kit({"1": ["cat"]}, {"train": ["1"], "val": ["1"]})
    archives = {"x.tar": make_tar(tmp_path / "x.tar", files)}
    with pytest.raises(GraftError, match=r"JPEGImages/1\.jpg' is published twice"):
        build_rows(read_layout("voc2007", archives, "objects"), archives)


@pytest.mark.parametrize("names", [["cat", "a|b"], ["cat", ""], ["cat", "cat"], []])
def test_classes_have_names_that_can_be_joined(names):
    spec = {
        "layout": "voc2007",
        "files": {"mine.tar": {"folder": "photos"}},
        "label": "objects",
        "options": {"classes": names},
        "crop": "whole",
        "packed_size": 32,
    }
    with pytest.raises(GraftError, match=r"datasets\.mine\.options\.classes is "):
        read_config(overlay(mine=spec))
