"""Class folders, published splits, and tables of labels."""

import pytest
from builders import make_tar, plant, read_layout, structure
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.core.errors import GraftError
from graft.download import folders
from graft.download.archives import Archive, members


def named(names):
    """Files that hold their own names, or those given."""
    return names if isinstance(names, dict) else {name: name.encode() for name in names}


def rows(path, *, loose=None, **options):
    """member -> (label, split, drop_reason)"""
    archives = {"x.tar": path} | ({"labels.csv": loose} if loose else {})
    found = read_layout("folder", archives, "class", **options)
    assert {row.archive for row in found} <= {"x.tar"}
    return {row.member: (row.label, row.split, row.drop_reason) for row in found}


def groups(path, *, loose=None, **options):
    archives = {"x.tar": path} | ({"labels.csv": loose} if loose else {})
    found = read_layout("folder", archives, "class", **options)
    return {row.member: row.group for row in found}


@pytest.mark.parametrize(
    "expected",
    [
        {"cat/1.png": "cat", "dog/1.png": "dog"},
        {"root/cat/1.png": "cat", "root/dog/a/b/1.png": "dog", "root/dog/1.png": "dog"},
        {"cat/1.png": "cat"},
        {"root/cat/1.png": "cat"},
        {"cat/a/1.png": "cat", "dog/a/1.png": "dog"},
        # Splits, with a root or without, under all their names.
        {"train/cat/1.png": "cat train", "val/cat/2.png": "cat val", "test/cat/3.png": "cat test"},
        {"r/train/cat/a/1.png": "cat train", "r/valid/cat/2.png": "cat val"},
        {"r/Train/cat/1.png": "cat train", "r/validation/dog/2.png": "dog val"},
        {
            "r/train/cat/1.png": "cat train",
            "r/dev/dog/2.png": "dog val",
            "r/TEST/x/3.png": "x test",
        },
        {"train/cat/1.png": "cat train", "train/dog/1.png": "dog train"},
        {"train/train/cat/1.png": "cat train", "train/test/cat/2.png": "cat test"},
        # Classes that are called like a split.
        {"car/1.png": "car", "train/1.png": "train", "bus/1.png": "bus"},
        {"r/car/1.png": "car", "r/train/a/1.png": "train"},
        {"test/cat/1.png": "cat", "test/dog/1.png": "dog"},
        # Pictures in no class folder.
        {"cat/1.png": "cat", "stray.png": None},
        {"r/cat/1.png": "cat", "r/stray.png": None},
        {"r/cat/1.png": "cat", "r/dog/2.png": "dog", "stray.png": None},
        {"r/train/cat/1.png": "cat train", "r/test/cat/2.png": "cat test", "stray.png": None},
        {"train/cat/1.png": "cat train", "test/1.png": None, "stray.png": None},
    ],
)
def test_folders_are_classes_and_splits(tmp_path, expected):
    """The label and the split; None: dropped as no_label."""
    found = rows(make_tar(tmp_path / "x.tar", named(list(expected))))
    wanted = {
        name: (*f"{what} ".split(" ")[:2], "") if what else ("", "", "no_label")
        for name, what in expected.items()
    }
    assert found == wanted


def test_what_is_no_picture_or_hidden_is_passed_over(tmp_path):
    other = ["README.md", "cat/x.txt", "cat/._1.png", "__MACOSX/cat/._1.png", ".cache/t/1.png"]
    path = make_tar(
        tmp_path / "x.tar", named([*other, "cat/1.PNG"]), folders=[".cache", "__MACOSX/cat"]
    )
    assert list(rows(path)) == ["cat/1.PNG"]


@pytest.mark.parametrize(
    ("names", "folders", "empty"),
    [
        (["cat/1.png"], ["cat", "dog"], "dog/"),
        (["r/cat/1.png", "r/dog/x.txt"], ["r", "r/cat", "r/dog"], "r/dog/"),
        (["train/cat/1.png", "val/dog/1.png"], ["val/cat"], "val/cat/"),
    ],
)
def test_a_class_folder_without_pictures_is_refused(tmp_path, names, folders, empty):
    path = make_tar(tmp_path / "x.tar", named(names), folders)
    with pytest.raises(GraftError, match=rf"x\.tar: the class folder {empty} has no picture"):
        rows(path)


def test_an_empty_folder_that_is_no_class_is_ignored(tmp_path):
    names = ["r/train/cat/1.png", "r/test/cat/2.png"]
    path = make_tar(
        tmp_path / "x.tar", named(names), ["./", "r", "r/val", "r/notes", "r/train/cat/more"]
    )
    assert len(rows(path)) == 2
    names = ["r/cat/1.png", "r/dog/2.png"]
    path = make_tar(tmp_path / "x.tar", named(names), ["r", "annotations", "annotations/raw"])
    assert rows(path) == {names[0]: ("cat", "", ""), names[1]: ("dog", "", "")}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.png", "b.png"], "it has no class folder with pictures"),
        (["train/a.png", "test/b.png"], "it has no class folder with pictures"),
        (["notes.txt"], "it has no class folder with pictures"),
        (
            ["train/cat/1.png", "test/cat/2.png", "extra/3.png"],
            "the folder extra is beside the splits",
        ),
    ],
)
def test_an_archive_without_clear_classes_is_refused(tmp_path, names, message):
    with pytest.raises(GraftError, match=rf"x\.tar: .*{message}"):
        rows(make_tar(tmp_path / "x.tar", named(names)))


def test_groups_come_from_the_files_names(tmp_path):
    names = ["cat/ada_01.png", "dog/ada_02.png", "dog/bo_1.png", "dog/7.png"]
    path = make_tar(tmp_path / "x.tar", named(names))
    assert groups(path) == dict.fromkeys(names, "")  # each its own
    found = groups(path, group=r"^([a-z]+)_")
    assert list(found.values()) == ["ada", "ada", "bo", ""]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "is no regular expression"),
        ("cat", "has 0 groups"),
        ("(a)(b)", "has 2 groups"),
        ("(zebra)", "matches no file name"),
    ],
)
def test_a_group_that_cannot_be_used_is_refused(tmp_path, pattern, message):
    with pytest.raises(GraftError, match=rf"options\.group is .*{message}"):
        rows(make_tar(tmp_path / "x.tar", named(["cat/1.png"])), group=pattern)


TABLE = """\ufeffSplit , label,path,group
train,cat, 1.png ,g

valid,"dog, wet",deep\\2.png,
,cat,gone.png,
"""


@pytest.mark.parametrize("where", ["beside", "in the root", "at the top"])
def test_a_table_gives_labels_splits_and_groups(tmp_path, where):
    root = "" if where == "at the top" else "r/"
    names = {f"{root}{name}": name.encode() for name in ("1.png", "deep/2.png", "3.png")}
    options, loose = {"table": "t.csv", "allow_missing": True}, None
    if where == "beside":
        loose, options = tmp_path / "labels.csv", {"allow_missing": True}
        loose.write_text(TABLE)
    else:
        names[f"{root}t.csv"] = TABLE.encode()
    path = make_tar(tmp_path / "x.tar", named(names))
    gone = f"{root}gone.png" if where == "in the root" else "gone.png"
    assert rows(path, loose=loose, **options) == {
        f"{root}1.png": ("cat", "train", ""),
        f"{root}deep/2.png": ("dog, wet", "val", ""),
        gone: ("cat", "", ""),  # `build` drops it as missing
        f"{root}3.png": ("", "", "not_listed"),
    }
    found = groups(path, loose=loose, group=r"^(\d)", **options)
    assert list(found.values()) == ["g", "2", "", "3"]


def test_paths_start_from_the_tables_folder_first(tmp_path):
    names = {"r/meta/t.csv": b"path,label\n1.png,near\nr/1.png,far\n", "r/1.png": b"far"}
    path = make_tar(tmp_path / "x.tar", names | {"r/meta/1.png": b"near"})
    found = rows(path, table="meta/t.csv")
    assert found == {"r/meta/1.png": ("near", "", ""), "r/1.png": ("far", "", "")}


def test_a_listed_picture_that_the_archive_lacks_is_a_dropped_row(tmp_path):
    table = tmp_path / "labels.csv"
    lines = [f"{i}.png,{'ab'[i % 2]}" for i in range(40)]
    table.write_text("\n".join(["path,label", *lines, "gone.png,a"]))
    path = make_tar(tmp_path / "x.tar", named([*(f"{i}.png" for i in range(40)), "more.png"]))
    _, counts = structure(
        "folder",
        {"x.tar": path, "labels.csv": table},
        "class",
        split={"train": 0.5, "val": 0.25, "test": 0.25},
    )
    assert counts["dropped"] == {"missing_file": 1, "not_listed": 1} and counts["kept"] == 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 names the columns none"),
        ("path:label\n", r"line 1 names the columns path:label \(divided by ','\)"),
        ("path;age\n", r"line 1 names the columns path, age \(divided by ';'\)"),
        ("path,label,label\n", "line 1 names the column label"),
        ("path,label\n", "lists no picture"),
        ("path;label\n", "lists no picture"),
        ("path,label\n1.png\n", "line 2 has 1 cells, not 2"),
        ("path,label\n1.png,cat\n\n1.png,\n", "line 4 has no label for '1.png'"),
        ("path,label,split\n1.png,cat,tset\n", "line 2 has the split 'tset', which is none of"),
        ("path,label\n../1.png,cat\n", r"line 2 has the path '../1.png', which leads out"),
        ("path,label\n/,cat\n", "line 2 has the path '/', which is empty"),
        ("path,label\n/a/../1.png,cat\n", "line 2 has the path .* which leads out"),
        ("path,label\n,cat\n", "line 2 has the path '', which is empty"),
        ("path,label\n1.png,cat\n./1.png,dog\n", "line 3 names '1.png' again, after line 2"),
        ('path,label\n"1.png,cat\n', "line 2 is not CSV"),
        ("path,label\nx.png,cat\n", r"none of its pictures, such as 'x.png', is in .*x\.tar"),
    ],
)
def test_a_bad_table_is_refused_with_its_line(tmp_path, text, message):
    path = make_tar(tmp_path / "x.tar", named(["1.png"]))
    loose = tmp_path / "labels.csv"
    loose.write_text(text)
    with pytest.raises(GraftError, match=rf"labels\.csv: .*{message}"):
        rows(path, loose=loose)


def test_a_table_that_is_not_there_or_not_text_is_refused(tmp_path):
    path = make_tar(tmp_path / "x.tar", {"r/1.png": b"", "r/labels.csv": b"caf\xe9"})
    with pytest.raises(GraftError, match=r"no file 'lables\.csv'.* Did you mean r/labels\.csv\?"):
        rows(path, table="lables.csv")
    with pytest.raises(GraftError, match="it is not UTF-8 text"):
        rows(path, table="labels.csv")
    with pytest.raises(GraftError, match="Remove one of them"):
        rows(path, loose=path, table="labels.csv")


@pytest.mark.parametrize("names", [[], ["a.tar", "b.tar"], ["a.tar", "a.txt"], ["a.csv"]])
def test_files_that_the_layout_does_not_read_are_refused(tmp_path, names):
    archives = {name: tmp_path / name for name in names}
    with pytest.raises(GraftError, match="reads one tar archive and at most one .csv table"):
        read_layout("folder", archives, "class")


NAMES = st.text("abc é,.-_0", min_size=1, max_size=6).filter(lambda n: n[0] != "." and n.strip("."))


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        NAMES,
        st.dictionaries(NAMES.map("{}.png".format), st.binary(max_size=9), min_size=1, max_size=4),
        min_size=2,
        max_size=4,
    ),
    st.booleans(),
)
def test_from_a_folder_to_its_rows(tmp_path_factory, classes, root):
    base = tmp_path_factory.mktemp("round_trip")
    top = "root/" if root else ""
    files = {
        f"{top}{c}/{name}": data for c, inner in classes.items() for name, data in inner.items()
    }
    plant(base / "photos", files)
    digest = folders.digest(base / "photos", key="k")
    folders.pack(base / "photos", base / "x.tar", tree=digest, key="k")
    with Archive(base / "x.tar") as archive:
        packed = {m.name: archive.read(m.offset, m.size) for m in members(base / "x.tar")}
    assert packed == files
    found = {name: label for name, (label, _, reason) in rows(base / "x.tar").items() if not reason}
    assert found == {f"{top}{c}/{name}": c for c, inner in classes.items() for name in inner}


def several(path, table):
    archives = {"x.tar": path, "labels.csv": table}
    return {row.member: row.label for row in read_layout("folder", archives, "classes")}


def test_a_table_gives_a_picture_any_number_of_classes(tmp_path):
    tar = make_tar(tmp_path / "x.tar", named(["1.png", "2.png", "3.png"]))
    (tmp_path / "labels.csv").write_text("path,label\n1.png,dog| cat|dog\n2.png,\n3.png,cat\n")
    found = several(tar, tmp_path / "labels.csv")
    assert found == {"1.png": "cat|dog", "2.png": "", "3.png": "cat"}
    with pytest.raises(GraftError, match="need a table of their labels"):
        list(read_layout("folder", {"x.tar": tar}, "classes"))


OTHERS = {
    "cat/notes.txt": b"",
    "dog/film.MOV": b"",
    "film.mov": b"",
    "cat/README": b"",
    "cat/raw.cr2": b"",
}


@pytest.mark.parametrize("way", ["archive", "folder"])
def test_what_is_passed_over_is_counted_in_the_log(tmp_path, capsys, way):
    files = {f"cat/{n}.jfif": b"a" * n for n in (1, 2)} | {
        f"dog/{n}.HEIC": b"b" * n for n in (1, 2)
    }
    files |= {"labels.csv": b""}
    if way == "archive":
        path = make_tar(tmp_path / "x.tar", files | OTHERS)
        assert len(read_layout("folder", {"x.tar": path}, "class")) == 4
    else:
        folder = plant(tmp_path / "photos", files | OTHERS)
        tree = folders.digest(folder, key="k")
        counts = folders.pack(folder, tmp_path / "x.tar", tree=tree, key="k")
        assert counts == {"pictures": 4, "tables": 1}
    counted = "1 .cr2, 2 .mov, 1 .txt, 1 without an extension"
    assert f"no pictures, passed over: {counted}" in capsys.readouterr().out
