"""Folders and zip files become tars."""

import hashlib
import os
import stat
import struct
import tarfile
from pathlib import Path

import pytest
from builders import FOLDER, make_zip, overlay, plant

from graft.config import plan, stages
from graft.config.read import read_config
from graft.core.errors import GraftError
from graft.download import folders as trees
from graft.download import raw_files
from graft.download.archives import members

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


def pack(folder, destination):
    return trees.pack(folder, destination, tree=trees.digest(folder, key=KEY), key=KEY)


def content(path):
    """Name -> bytes of a tar's files, in its order."""
    with tarfile.open(path, "r:") as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}


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
    source = make_zip(tmp_path / "x.zip", FILES, **changes)
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
    source = make_zip(tmp_path / "x.zip", FILES)
    file = {"url": [str(source)], "sha256": sha256(source)}
    config = read_config(overlay(mine=FOLDER | {"files": {"x.zip": file}}))
    assert plan.raw_files(config, "mine") == [("mine", "x.tar")]
    raw_files.obtain(
        tmp_path / "raw/x.tar",
        **stages.download(config, "mine", "x.tar").options(),
        **stages.mirrors(config, "mine", "x.tar"),
    )
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["x.tar"]
    assert content(tmp_path / "raw/x.tar") == FILES


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
