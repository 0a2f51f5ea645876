"""Own pictures: folders and zip files, their layout, other classes, and merged sets."""

import hashlib
import io
import os
import stat
import struct
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from conftest import SCHEMA
from hypothesis import given, settings
from hypothesis import strategies as st
from project import Project, executed, planned

from graft.config import checks as configs
from graft.config import stages
from graft.core.errors import GraftError
from graft.datasets import samples
from graft.datasets import table as data_file
from graft.datasets.relabel import relabel
from graft.datasets.table import Candidate
from graft.download import folders as trees
from graft.download import raw_files
from graft.download.archives import members, named

KEY = "datasets.mine.files.mine.tar"
FILES = {
    "cat/1.png": b"one",
    "cat/deep/er/2.JPG": b"two",
    "dog/a b, c.webp": b"",
    "dog/é.pgm": b"x" * 2000,
    "labels.csv": b"path,label\n",
}
PASSED_OVER = {
    "cat/notes.txt": b"no picture",
    "cat/.hidden.png": b"hidden",
    ".git/3.png": b"in a hidden folder",
    "Thumbs.db": b"",
}
SPLIT = {"train": 0.5, "val": 0.25, "test": 0.25, "seed": 0}
SHARDS = {"train": 1, "val": 1, "test": 1}


def plant(folder, files):
    """Write files, by relative name, below a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def pack(folder, destination):
    return trees.pack(folder, destination, tree=trees.digest(folder, key=KEY), key=KEY)


def content(path):
    """Name -> bytes of a tar's files, in its order."""
    with tarfile.open(path, "r:") as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}


def make_tar(path, names, folders=()):
    """A tar of files that hold their own names."""
    with tarfile.open(path, "w") as tar:
        for folder in folders:
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
        for name in names:
            data = names[name] if isinstance(names, dict) else name.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


# Folders


def test_a_folder_is_packed_with_its_pictures_tables_and_folders(tmp_path):
    folder = plant(tmp_path / "photos", FILES | PASSED_OVER)
    (folder / "empty").mkdir()
    found = pack(folder, tmp_path / "raw" / "mine.tar")
    assert found == {"pictures": 4, "tables": 1}
    assert content(tmp_path / "raw/mine.tar") == FILES
    with tarfile.open(tmp_path / "raw/mine.tar", "r:") as tar:
        entries = tar.getmembers()
    names = [entry.name for entry in entries]
    assert names == sorted(names, key=lambda name: name.split("/"))
    assert [e.name for e in entries if e.isdir()] == [
        "cat",
        "cat/deep",
        "cat/deep/er",
        "dog",
        "empty",
    ]
    assert {(e.mtime, e.uid, e.gid, e.uname, e.gname) for e in entries} == {(0, 0, 0, "", "")}
    assert {e.mode for e in entries if e.isfile()} == {0o644}


def test_equal_trees_give_equal_digests_and_bytes(tmp_path):
    first = plant(tmp_path / "a", FILES)
    second = plant(tmp_path / "elsewhere/b", dict(reversed((FILES | PASSED_OVER).items())))
    for path in second.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    assert trees.digest(first, key=KEY) == trees.digest(second, key=KEY)
    pack(first, tmp_path / "a.tar")
    pack(second, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_every_change_of_pictures_changes_the_digest_and_nothing_else_does(tmp_path):
    folder = plant(tmp_path / "photos", FILES)
    notes = tmp_path / "notes.json"
    seen = [trees.digest(folder, key=KEY, memory=notes)]

    def changed() -> bool:
        seen.append(trees.digest(folder, key=KEY, memory=notes))
        assert seen[-1] == trees.digest(folder, key=KEY)  # what is remembered is still true
        return seen[-1] not in seen[:-1]

    assert not changed()
    os.utime(folder / "cat/1.png", (5, 5))
    plant(folder, PASSED_OVER)
    assert not changed()
    plant(folder, {"cat/1.png": b"eno"})  # of the same size
    assert changed()
    (folder / "cat/1.png").rename(folder / "cat/7.png")
    assert changed()
    (folder / "cat/7.png").rename(folder / "dog/7.png")
    assert changed()
    (folder / "dog/7.png").unlink()
    assert changed()
    (folder / "empty").mkdir()
    assert changed()
    (folder / "empty").rmdir()
    assert not changed()  # back to a state before


def test_a_picture_is_read_once_unless_it_changes(tmp_path, monkeypatch):
    folder, notes = plant(tmp_path / "photos", FILES), tmp_path / "notes.json"
    read = []
    real = trees.files.sha256
    monkeypatch.setattr(trees.files, "sha256", lambda path: read.append(path) or real(path))
    trees.digest(folder, key=KEY, memory=notes)
    assert len(read) == len(FILES)
    trees.digest(folder, key=KEY, memory=notes)
    assert len(read) == len(FILES)
    os.utime(folder / "cat/1.png", (5, 5))
    trees.digest(folder, key=KEY, memory=notes)
    assert [Path(path).name for path in read[len(FILES) :]] == ["1.png"]


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "[1]", '{"cat/1.png": 3}', '{"cat/1.png": [1, 2, 3, "zz"]}', '{"a": []}'],
)
def test_damaged_notes_are_read_anew(tmp_path, text):
    folder, notes = plant(tmp_path / "photos", FILES), tmp_path / "notes.json"
    notes.write_text(text)
    assert trees.digest(folder, key=KEY, memory=notes) == trees.digest(folder, key=KEY)


def test_a_link_within_the_folder_is_followed(tmp_path):
    folder = plant(tmp_path / "photos", {"all/1.png": b"one", "all/2.png": b"two"})
    (folder / "cat").mkdir()
    (folder / "cat/one.png").symlink_to("../all/1.png")
    (folder / "dog").symlink_to("all")
    pack(folder, tmp_path / "mine.tar")
    found = content(tmp_path / "mine.tar")
    assert found["cat/one.png"] == b"one" and found["dog/2.png"] == b"two"
    (tmp_path / "alias").symlink_to("photos")  # the folder itself may be a link
    assert trees.digest(tmp_path / "alias", key=KEY) == trees.digest(folder, key=KEY)


@pytest.mark.parametrize(
    ("name", "target", "reason"),
    [
        ("cat/out.png", "../../secret.png", "leads out"),
        ("out", "..", "leads out"),
        ("cat/absolute.png", "/etc/hostname", "leads out"),
        ("cat/back", ".", "leads back"),
        ("cat/top", "..", "leads back"),
        ("cat/nowhere.png", "gone.png", "No such file"),
    ],
)
def test_a_link_that_leads_astray_is_refused(tmp_path, name, target, reason):
    (tmp_path / "secret.png").write_bytes(b"secret")
    folder = plant(tmp_path / "photos", FILES)
    (folder / name).symlink_to(target)
    with pytest.raises(GraftError, match=rf"{KEY}\.folder .*{reason}"):
        trees.digest(folder, key=KEY)


def test_links_that_lead_to_each_other_are_refused(tmp_path):
    folder = plant(tmp_path / "photos", {"a/1.png": b"", "b/2.png": b""})
    (folder / "a/x").symlink_to("../b")
    (folder / "b/y").symlink_to("../a")
    with pytest.raises(GraftError, match="leads back"):
        trees.digest(folder, key=KEY)


def test_a_folder_that_is_missing_empty_or_oddly_named_is_refused(tmp_path):
    with pytest.raises(GraftError, match=rf"{KEY}\.folder is '.*gone', where there is no folder"):
        trees.digest(tmp_path / "gone", key=KEY)
    with pytest.raises(GraftError, match="where there is no folder"):
        trees.digest(plant(tmp_path, {"a.png": b""}) / "a.png", key=KEY)
    with pytest.raises(GraftError, match="without a picture"):
        trees.digest(plant(tmp_path / "photos", PASSED_OVER), key=KEY)
    plant(tmp_path / "odd", {"a\\b.png": b""})
    with pytest.raises(GraftError, match="holds a backslash; rename it"):
        trees.digest(tmp_path / "odd", key=KEY)
    plant(tmp_path / "latin", {os.fsdecode(b"caf\xe9.png"): b""})
    with pytest.raises(GraftError, match="is not UTF-8; rename it"):
        trees.digest(tmp_path / "latin", key=KEY)


@pytest.mark.parametrize(
    "change",
    [{"cat/1.png": b"eno"}, {"cat/1.png": b""}, {"cat/1.png": b"one more"}, {"new.png": b""}],
)
def test_a_folder_that_changes_before_it_is_packed_is_refused(tmp_path, change):
    folder = plant(tmp_path / "photos", FILES)
    planned_tree = trees.digest(folder, key=KEY)
    plant(folder, change)
    with pytest.raises(GraftError, match="have changed since this run was planned"):
        trees.pack(folder, tmp_path / "raw/mine.tar", tree=planned_tree, key=KEY)
    assert not any((tmp_path / "raw").iterdir())


def test_a_folder_that_no_experiment_needs_is_not_packed(tmp_path):
    with pytest.raises(GraftError, match=f"{KEY} is packed when an experiment needs it"):
        trees.pack(plant(tmp_path, FILES), tmp_path / "mine.tar", tree=None, key=KEY)


# Zip files


def make_zip(path, files=FILES, **changes):
    """A zip file; `changes` are attributes of its second member."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for index, (name, data) in enumerate(files.items()):
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in (changes if index == 1 else {}).items():
                setattr(info, key, value)
            out.writestr(info, data)
    return path


def test_a_zip_file_becomes_a_tar_of_the_same_files_in_its_order(tmp_path):
    files = dict(reversed(FILES.items())) | PASSED_OVER
    listed = {"./": b"", "root/": b"", **files}
    source = make_zip(tmp_path / "x.zip", listed, date_time=(2020, 1, 1, 0, 0, 0))
    assert trees.unpack_zip(source, tmp_path / "x.tar") == len(files)
    assert list(content(tmp_path / "x.tar").items()) == list(files.items())
    assert "root/" in [member.name for member in members(tmp_path / "x.tar", folders=True)]
    trees.unpack_zip(make_zip(tmp_path / "y.zip", {"root/": b"", **files}), tmp_path / "y.tar")
    assert (tmp_path / "x.tar").read_bytes() == (tmp_path / "y.tar").read_bytes()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"external_attr": (stat.S_IFLNK | 0o777) << 16}, "is a link or a special file"),
        ({"external_attr": stat.S_IFIFO << 16}, "is a link or a special file"),
        ({"filename": "../up.png"}, "climbs out"),
        ({"filename": "/etc/passwd"}, "is absolute"),
        ({"filename": "cat\\1.png"}, "holds a backslash"),
    ],
)
def test_a_zip_file_with_a_bad_member_is_refused(tmp_path, changes, reason):
    source = make_zip(tmp_path / "x.zip", **changes)
    with pytest.raises(GraftError, match=rf"x\.zip: .* {reason}"):
        trees.unpack_zip(source, tmp_path / "raw/x.tar")
    assert not (tmp_path / "raw").exists() or not any((tmp_path / "raw").iterdir())


def test_an_encrypted_zip_file_is_refused(tmp_path):
    source = make_zip(tmp_path / "x.zip", {"1.png": b"one"})
    data = bytearray(source.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # APPNOTE, 4.3.7 and 4.3.12
        at = data.index(signature) + flags
        data[at : at + 2] = struct.pack("<H", 1)
    source.write_bytes(data)
    with pytest.raises(GraftError, match=r"x\.zip: '1\.png' is encrypted"):
        trees.unpack_zip(source, tmp_path / "x.tar")


def test_a_damaged_zip_file_is_refused(tmp_path):
    whole = make_zip(tmp_path / "x.zip", {"1.png": bytes(range(256)) * 20}).read_bytes()
    source = tmp_path / "cut.zip"
    for data in (b"", b"no zip", whole[:-30], whole[:40] + bytes(20) + whole[60:]):
        source.write_bytes(data)
        with pytest.raises(GraftError, match=r"cut\.zip is damaged or no zip file"):
            trees.unpack_zip(source, tmp_path / "raw/x.tar")
        assert not any((tmp_path / "raw").glob("*"))
    make_zip(source, {"empty/": b""})
    with pytest.raises(GraftError, match="it holds no file"):
        trees.unpack_zip(source, tmp_path / "x.tar")
    with pytest.raises(GraftError, match=r"gone\.zip does not exist"):
        trees.unpack_zip(tmp_path / "gone.zip", tmp_path / "x.tar")


def test_a_zip_file_that_points_to_before_its_start_is_damaged(tmp_path):
    data = bytearray(make_zip(tmp_path / "x.zip", {"1.png": b"one"}).read_bytes())
    end = data.index(b"PK\x05\x06")  # APPNOTE, 4.3.16: where the central directory starts
    data[end + 16 : end + 20] = struct.pack("<I", len(data) * 2)
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(GraftError, match=r"x\.zip is damaged or no zip file"):
        trees.unpack_zip(tmp_path / "x.zip", tmp_path / "x.tar")


def test_an_unknown_way_of_packing_is_refused(tmp_path):
    source = make_zip(tmp_path / "x.zip", {"1.png": b"one"})
    data = bytearray(source.read_bytes())
    for signature, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = data.index(signature) + method
        data[at : at + 2] = struct.pack("<H", 9)  # deflate64
    source.write_bytes(data)
    with pytest.raises(GraftError, match=r"x\.zip is damaged or no zip file that can be unpacked"):
        trees.unpack_zip(source, tmp_path / "x.tar")


def test_a_published_zip_file_is_unpacked_when_it_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = make_zip(tmp_path / "x.zip")
    config = resolved(
        mine={**FOLDER, "files": {"x.zip": {"url": [str(source)], "sha256": sha256(source)}}}
    )
    assert stages.raw_files(config, "mine") == [("mine", "x.tar")]
    raw_files.obtain(
        tmp_path / "raw/x.tar",
        **stages.download(config, "mine", "x.tar"),
        **stages.mirrors(config, "mine", "x.tar"),
    )
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["x.tar"]
    assert content(tmp_path / "raw/x.tar") == FILES


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# The layout


def rows(path, *, loose=None, **options):
    """member -> (label, split, drop_reason)"""
    archives = {"x.tar": path} | ({"labels.csv": loose} if loose else {})
    found = list(samples.rows("folder", archives, label="class", options=options))
    assert {row.archive for row in found} <= {"x.tar"}
    return {row.member: (row.label, row.split, row.drop_reason) for row in found}


def groups(path, *, loose=None, **options):
    archives = {"x.tar": path} | ({"labels.csv": loose} if loose else {})
    found = samples.rows("folder", archives, label="class", options=options)
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
    found = rows(make_tar(tmp_path / "x.tar", list(expected)))
    wanted = {
        name: (*f"{what} ".split(" ")[:2], "") if what else ("", "", "no_label")
        for name, what in expected.items()
    }
    assert found == wanted


def test_what_is_no_picture_or_hidden_is_passed_over(tmp_path):
    other = ["README.md", "cat/x.txt", "cat/._1.png", "__MACOSX/cat/._1.png", ".cache/t/1.png"]
    path = make_tar(tmp_path / "x.tar", [*other, "cat/1.PNG"], folders=[".cache", "__MACOSX/cat"])
    assert list(rows(path)) == ["cat/1.PNG"]


@pytest.mark.parametrize(
    ("names", "folders", "named"),
    [
        (["cat/1.png"], ["cat", "dog"], "dog/"),
        (["r/cat/1.png", "r/dog/x.txt"], ["r", "r/cat", "r/dog"], "r/dog/"),
        (["train/cat/1.png", "val/dog/1.png"], ["val/cat"], "val/cat/"),
    ],
)
def test_a_class_folder_without_pictures_is_told(tmp_path, names, folders, named):
    path = make_tar(tmp_path / "x.tar", names, folders)
    with pytest.raises(GraftError, match=rf"x\.tar: the class folder {named} holds no picture"):
        rows(path)


def test_an_empty_folder_that_is_no_class_is_no_matter(tmp_path):
    names = ["r/train/cat/1.png", "r/test/cat/2.png"]
    path = make_tar(tmp_path / "x.tar", names, ["./", "r", "r/val", "r/notes", "r/train/cat/more"])
    assert len(rows(path)) == 2
    names = ["r/cat/1.png", "r/dog/2.png"]
    path = make_tar(tmp_path / "x.tar", names, ["r", "annotations", "annotations/raw"])
    assert rows(path) == {names[0]: ("cat", "", ""), names[1]: ("dog", "", "")}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.png", "b.png"], "holds no folder with pictures"),
        (["train/a.png", "test/b.png"], "holds no folder with pictures"),
        (["notes.txt"], "holds no folder with pictures"),
        (["train/cat/1.png", "test/cat/2.png", "extra/3.png"], "lies the folder extra"),
    ],
)
def test_an_archive_without_clear_classes_is_refused(tmp_path, names, message):
    with pytest.raises(GraftError, match=rf"x\.tar: .*{message}"):
        rows(make_tar(tmp_path / "x.tar", names))


def test_groups_come_from_the_files_names(tmp_path):
    names = ["cat/ada_01.png", "dog/ada_02.png", "dog/bo_1.png", "dog/7.png"]
    path = make_tar(tmp_path / "x.tar", names)
    assert groups(path) == {name: name for name in names}
    found = groups(path, group=r"^([a-z]+)_")
    assert list(found.values()) == ["ada", "ada", "bo", "dog/7.png"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "is no regular expression"),
        (3, "is no regular expression"),
        ("cat", "has 0 groups"),
        ("(a)(b)", "has 2 groups"),
        ("(zebra)", "is found in no file name"),
    ],
)
def test_a_group_that_cannot_be_used_is_refused(tmp_path, pattern, message):
    with pytest.raises(GraftError, match=f"option `group` is .*{message}"):
        rows(make_tar(tmp_path / "x.tar", ["cat/1.png"]), group=pattern)


TABLE = """\ufeffSplit , label,path,group
train,cat, 1.png ,g

valid,"dog, wet",deep\\2.png,
,cat,gone.png,
"""


@pytest.mark.parametrize("where", ["beside", "in the root", "at the top"])
def test_a_table_tells_labels_splits_and_groups(tmp_path, where):
    root = "" if where == "at the top" else "r/"
    names = {f"{root}{name}": name.encode() for name in ("1.png", "deep/2.png", "3.png")}
    options, loose = {"table": "t.csv"}, None
    if where == "beside":
        loose, options = tmp_path / "labels.csv", {}
        loose.write_text(TABLE)
    else:
        names[f"{root}t.csv"] = TABLE.encode()
    path = make_tar(tmp_path / "x.tar", names)
    gone = f"{root}gone.png" if where == "in the root" else "gone.png"
    assert rows(path, loose=loose, **options) == {
        f"{root}1.png": ("cat", "train", ""),
        f"{root}deep/2.png": ("dog, wet", "val", ""),
        gone: ("cat", "", ""),  # which data_file finds to be missing
        f"{root}3.png": ("", "", "not_listed"),
    }
    found = groups(path, loose=loose, group=r"^(\d)", **options)
    assert list(found.values()) == ["g", "2", gone, "3"]


def test_paths_start_from_the_tables_folder_first(tmp_path):
    names = {"r/meta/t.csv": b"path,label\n1.png,near\nr/1.png,far\n", "r/1.png": b"far"}
    path = make_tar(tmp_path / "x.tar", names | {"r/meta/1.png": b"near"})
    found = rows(path, table="meta/t.csv")
    assert found == {"r/meta/1.png": ("near", "", ""), "r/1.png": ("far", "", "")}


def test_a_listed_picture_that_the_archive_lacks_is_a_dropped_row(tmp_path):
    table = tmp_path / "labels.csv"
    lines = [f"{i}.png,{'ab'[i % 2]}" for i in range(8)]
    table.write_text("\n".join(["path,label", *lines, "gone.png,a"]))
    path = make_tar(tmp_path / "x.tar", [*(f"{i}.png" for i in range(8)), "more.png"])
    found = samples.rows("folder", {"x.tar": path, "labels.csv": table}, label="class")
    _, counts = data_file.build(found, {"x.tar": path}, split=SPLIT, shards=SHARDS)
    assert counts["dropped"] == {"missing_file": 1, "not_listed": 1} and counts["kept"] == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 names the columns none"),
        ("path;label\n", "line 1 names the columns path;label"),
        ("path,label,age\n", "line 1 names the columns path, label, age"),
        ("path,label,label\n", "line 1 names"),
        ("path,label\n", "lists no picture"),
        ("path,label\n1.png\n", "line 2 has 1 cells, not 2"),
        ("path,label\n1.png,cat\n\n1.png,\n", "line 4 has no label for '1.png'"),
        ("path,label,split\n1.png,cat,tset\n", "line 2 has the split 'tset', which is none of"),
        ("path,label\n../1.png,cat\n", r"line 2 has the path '../1.png', which climbs"),
        ("path,label\n/1.png,cat\n", "line 2 has the path .* which is absolute"),
        ("path,label\n,cat\n", "line 2 has the path '', which is empty"),
        ("path,label\n1.png,cat\n./1.png,dog\n", "line 3 names '1.png', which line 2 did"),
        ('path,label\n"1.png,cat\n', "is no CSV"),
        ("path,label\nx.png,cat\n", r"none of its pictures, such as 'x.png', is in .*x\.tar"),
    ],
)
def test_a_bad_table_is_told_with_its_line(tmp_path, text, message):
    path = make_tar(tmp_path / "x.tar", ["1.png"])
    loose = tmp_path / "labels.csv"
    loose.write_text(text)
    with pytest.raises(GraftError, match=rf"labels\.csv: .*{message}"):
        rows(path, loose=loose)


def test_a_table_that_is_not_there_or_not_text_is_refused(tmp_path):
    path = make_tar(tmp_path / "x.tar", {"r/1.png": b"", "r/labels.csv": b"caf\xe9"})
    with pytest.raises(GraftError, match=r"no 'lables\.csv'.* did you mean r/labels\.csv\?"):
        rows(path, table="lables.csv")
    with pytest.raises(GraftError, match="holds no 3"):
        rows(path, table=3)
    with pytest.raises(GraftError, match="is not UTF-8"):
        rows(path, table="labels.csv")
    with pytest.raises(GraftError, match="leave one of them out"):
        rows(path, loose=path, table="labels.csv")


@pytest.mark.parametrize("names", [[], ["a.tar", "b.tar"], ["a.tar", "a.txt"], ["a.csv"]])
def test_files_that_the_layout_does_not_read_are_refused(tmp_path, names):
    archives = {name: tmp_path / name for name in names}
    with pytest.raises(GraftError, match="reads one tar archive and at most one .csv table"):
        list(samples.rows("folder", archives, label="class"))


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
    pack(plant(base / "photos", files), base / "x.tar")
    assert content(base / "x.tar") == files
    found = {name: label for name, (label, _, reason) in rows(base / "x.tar").items() if not reason}
    assert found == {f"{top}{c}/{name}": c for c, inner in classes.items() for name in inner}


# Classes


def relabelled(labels, **classes):
    """The candidates that these labels become; a label after "-" is of a dropped row."""
    candidates = [
        Candidate(
            "x.tar", str(i), label=label.lstrip("-"), drop_reason="bad" if "-" in label else ""
        )
        for i, label in enumerate(labels)
    ]
    found = list(relabel(candidates, **classes, dataset="d"))
    assert [row.member for row in found] == [row.member for row in candidates]
    return [(row.label, row.drop_reason) for row in found]


def test_classes_are_renamed_then_chosen_then_set_against_the_rest():
    labels = ["kitten", "cat", "dog", "cow", "-cow", "-kitten", ""]
    assert relabelled(labels) == relabelled(labels, rename={}, only=None, one_vs_rest=None)
    assert relabelled(labels, rename={"kitten": "cat", "cat": "kitten"})[:2] == [
        ("cat", ""),
        ("kitten", ""),
    ]
    assert relabelled(labels, rename={"kitten": "cat"}, only=["cat", "dog"], one_vs_rest="cat") == [
        ("cat", ""),
        ("cat", ""),
        ("rest", ""),
        ("cow", "other_class"),
        ("cow", "bad"),
        ("cat", "bad"),
        ("", ""),
    ]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"rename": {"kiten": "cat"}}, r"d\.classes\.rename names 'kiten'.* did you mean kitten\?"),
        (
            {"only": ["kitten", "horse"]},
            r"d\.classes\.only names 'horse'.* classes are dog, kitten\.",
        ),
        ({"rename": {"kitten": "cat"}, "only": ["kitten"]}, r"only names 'kitten'"),
        ({"only": ["dog"], "one_vs_rest": "kitten"}, r"d\.classes\.one_vs_rest names 'kitten'"),
    ],
)
def test_a_class_that_does_not_exist_is_told(classes, message):
    with pytest.raises(GraftError, match=message):
        relabelled(["kitten", "-dog"], **classes)


# Merged sets and the config

FOLDER = {
    "layout": "folder",
    "files": {"mine.tar": {"folder": "photos"}},
    "label": "class",
    "crop": "whole",
    "image_size": 32,
    "split": {"train": 0.5, "val": 0.25, "test": 0.25},
}
MERGED = {"merge": ["mine", "more"], "crop": "whole", "image_size": 32, "split": FOLDER["split"]}


def overlay(run="mine", **sets):
    return {
        "run": [run],
        "datasets": sets,
        "sources": {"blank": {"architecture": "vgg_mini", "weights": {"random": True}}},
        "experiments": {
            run: {
                "dataset": run,
                "source": "blank",
                "modes": ["from_scratch"],
                "train": {"epochs": 1},
            }
        },
    }


def resolved(run="mine", **sets):
    return configs.resolve(overlay(run, **sets), SCHEMA)


def test_a_merged_set_holds_the_rows_of_its_members(tmp_path):
    same = {f"cat/{i}.png": bytes([i]) for i in range(4)}
    files = {
        "mine": same | {f"dog/{i}.png": b"dog %d" % i for i in range(4)},
        "more": same | {f"hound/{i}.png": b"hound %d" % i for i in range(4)},
    }
    for name, pictures in files.items():
        (tmp_path / name / "raw").mkdir(parents=True)
        make_tar(tmp_path / name / "raw/x.tar", pictures)
    paths = [tmp_path / "mine/raw/x.tar", tmp_path / "more/raw/x.tar"]
    archives = named(paths, "both")
    assert archives == {"mine/x.tar": paths[0], "more/x.tar": paths[1]}
    assert named(paths[:1], "mine") == {"x.tar": paths[0]}
    member = {"files": {"x.tar": {"url": ["x.tar"]}}, "options": {"group": "^(\\d)"}}
    spec = stages.structure(
        resolved(
            "both",
            mine=FOLDER | member,
            more=FOLDER | member | {"classes": {"rename": {"hound": "dog"}}},
            both=MERGED | {"merge": ["mine", "more"], "classes": {"only": ["cat", "dog"]}},
        ),
        "both",
    )
    found = samples.samples(spec, archives)
    frame, counts = data_file.build(
        found, archives, split=spec["split"], shards=spec["shards"], dataset="both"
    )
    assert counts["kept"] == 16 and counts["duplicates"] == 4
    assert set(frame["label"]) == {"cat", "dog"}
    assert Counter(frame["archive"]) == {"mine/x.tar": 8, "more/x.tar": 8}
    assert set(frame["group"]) == {f"{name}/{i}" for name in files for i in range(4)}
    # The same pictures lie in both under the same names: each of them in one split.
    cats = frame[frame["label"] == "cat"]
    assert (cats.groupby("member")["split"].nunique() == 1).all()
    assert frame["sample_id"].is_unique
    row = frame.iloc[0]
    name = data_file.sample_name(row["archive"], row["member"])
    data = files[row["archive"].split("/")[0]][row["member"]]
    data_file.check_sample(row["sample_id"], name, data)


def test_people_of_a_merged_set_stay_out_of_training_if_the_published_test_shows_them(tmp_path):
    """mine is published in splits; of everyone in more one picture is in mine's test."""
    mine = {f"train/{c}/{i}.png": f"train {c} {i}".encode() for c in "ab" for i in range(30)}
    mine |= {f"test/{c}/{i}.png": f"test {c} {i}".encode() for c in "ab" for i in range(10)}
    more = {f"{c}/{c}{i}_0.png": f"test {c} {i}".encode() for c in "ab" for i in range(10)}
    more |= {f"{c}/{c}{i}_1.png": f"more {c} {i}".encode() for c in "ab" for i in range(10)}
    archives = {
        "mine/x.tar": make_tar(tmp_path / "mine.tar", mine),
        "more/x.tar": make_tar(tmp_path / "more.tar", more),
    }
    member = {"layout": "folder", "label": "class", "options": {}, "classes": {}}
    merge = {"mine": member, "more": member | {"options": {"group": "^(.*)_"}}}
    found = samples.samples({"dataset": "both", "classes": {}, "merge": merge}, archives)
    frame, counts = data_file.build(found, archives, split=SPLIT, shards={}, dataset="both")
    assert counts["dropped"] == {"duplicate_of_test": 20}
    rest = frame[frame["group"].str.startswith("more/") & (frame["drop_reason"] == "")]
    assert len(rest) == 20 and set(rest["split"]) == {"test"}


def test_a_single_set_is_relabelled_once(tmp_path):
    path = make_tar(tmp_path / "x.tar", ["a/1.png", "b/2.png"])
    config = resolved(mine=FOLDER | {"classes": {"rename": {"a": "b", "b": "a"}}})
    found = samples.samples(stages.structure(config, "mine"), {"mine.tar": path})
    assert {row.member: row.label for row in found} == {"a/1.png": "b", "b/2.png": "a"}


def test_only_folders_of_sets_that_are_needed_are_looked_at():
    config = resolved("both", mine=FOLDER, more=FOLDER, other=FOLDER, both=MERGED)
    assert stages.folders(config) == [("mine", "mine.tar"), ("more", "mine.tar")]
    assert stages.members(config, "both") == ["mine", "more"]
    assert stages.raw_files(config, "both") == [("mine", "mine.tar"), ("more", "mine.tar")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mine": {"files": {"a.tar": {"folder": "p", "url": ["x"]}}}}, "exactly one of url"),
        ({"mine": {"files": {"a.tar": {}}}}, "exactly one of url"),
        ({"mine": {"files": {"a.zip": {"folder": "p"}}}}, r"a\.zip .* must end in \.tar"),
        ({"mine": {"files": {"a.tar": {"folder": "p", "size": 3}}}}, "both folder and size"),
        ({"mine": {"files": {"a.tar": {"folder": "p", "md5": "0" * 32}}}}, "both folder and md5"),
        ({"mine": {"classes": {"rename": {1: "one"}}}}, r"rename has the key 1, .* quote it\."),
        (
            {"mine": {"files": {"a.zip": {"url": ["x"]}, "a.tgz": {"url": ["x"]}}}},
            "same name once unpacked",
        ),
        ({"mine": {"layout": None}}, r"datasets\.mine\.layout is missing; add it, or name"),
        ({"both": {"label": "class"}}, r"datasets\.both has both merge and label"),
        ({"both": {"options": {"group": "(a)"}}}, "has both merge and options"),
        ({"both": {"merge": ["mine", "mroe"]}}, "'mroe', which is not defined; did you mean more"),
        ({"both": {"merge": ["mine", "both"]}}, "names both, which is merged itself"),
        ({"both": {"merge": ["mine"]}}, r"datasets\.both\.merge is not valid"),
        ({"mine": {"classes": {"one_vs_rest": "rest"}}}, "what all other classes are called"),
        ({"mine": {"classes": {"onyl": ["a"]}}}, "did you mean only"),
    ],
)
def test_a_config_that_says_too_little_or_too_much_is_refused(changes, message):
    sets = {"mine": FOLDER, "more": FOLDER, "both": MERGED}
    with pytest.raises(GraftError, match=message):
        resolved("both", **{name: spec | changes.get(name, {}) for name, spec in sets.items()})


# The whole workflow


def drawing(kind, index):
    """A picture of 40 x 40 pixels: a disc or a square of some size and colour, as PNG."""
    rng = np.random.default_rng([index, len(kind)])
    image = np.full((40, 40, 3), 255, np.uint8)
    colour, size = rng.integers(0, 200, 3).tolist(), int(rng.integers(6, 14))
    if kind == "disc":
        cv2.circle(image, (20, 20), size, colour, -1)
    else:
        cv2.rectangle(image, (20 - size, 20 - size), (20 + size, 20 + size), colour, -1)
    return cv2.imencode(".png", image)[1].tobytes()


def test_own_pictures_from_a_folder_and_a_zip_file_to_the_report(tmp_path):
    mine = {f"{kind}/{i}.png": drawing(kind, i) for kind in ("disc", "square") for i in range(6)}
    more = {f"set/{i}.png": drawing(("disc", "box")[i % 2], 50 + i) for i in range(8)}
    table = "path,label\n" + "".join(f"{i}.png,{('disc', 'box')[i % 2]}\n" for i in range(8))
    published = make_zip(tmp_path / "more.zip", more | {"set/t.csv": table.encode()})
    config = overlay(
        "both",
        mine=FOLDER,
        more=FOLDER
        | {
            "files": {"more.zip": {"url": [str(published)], "sha256": sha256(published)}},
            "options": {"table": "t.csv"},
            "classes": {"rename": {"box": "square"}},
        },
        both=MERGED,
    )
    config |= {"compute": {"device": "cpu"}, "evaluate": {"resamples": 100}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    project = Project(tmp_path / "project", overlays=[tmp_path / "own.yaml"])

    said = project.snakemake(check=False)
    assert "datasets.mine.files.mine.tar.folder is 'photos', where there is no folder" in said

    photos = plant(project.folder / "photos", mine)
    log = project.snakemake()
    assert Counter(executed(log))["download"] == 2
    frame = data_file.read(project.results / "data/both/data_file.csv")
    assert Counter(frame["label"]) == {"disc": 10, "square": 10}
    assert set(frame["archive"]) == {"mine/mine.tar", "more/more.tar"}
    assert (project.results / "experiments/both/plots/summary.html").exists()

    assert "Nothing to be done" in project.snakemake()
    os.utime(photos / "disc/0.png", (1, 1))
    photos = photos.rename(tmp_path / "moved")
    config["datasets"]["mine"]["files"]["mine.tar"]["folder"] = str(photos)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    assert not planned(project.dry_run())
    plant(photos, {"disc/new.png": drawing("disc", 99)})
    again = planned(project.dry_run())
    assert again["download"] == 1 and again["structure"] == 1 and again["train"] == 1
