"""A user's folder: its digest, and its contents as a tar."""

import os
import tarfile
import unicodedata
from pathlib import Path

import pytest
from builders import plant, tar_content

from graft.core.errors import GraftError
from graft.download import folders

KEY = "datasets.mine.files.mine.tar.folder"


FILES = {
    "cat/1.png": b"one",
    "cat/deep/er/2.JPG": b"two",
    "dog/a b, c.webp": b"",
    "dog/é.pgm": b"x" * 2000,
    "labels.csv": b"path,label\n",
}


LEFT_OUT = {
    "cat/notes.txt": b"no picture",
    "cat/.hidden.png": b"hidden",
    ".git/3.png": b"in a hidden folder",
    "Thumbs.db": b"",
}


def pack(folder, destination):
    return folders.pack(folder, destination, tree=folders.digest(folder, key=KEY), key=KEY)


def test_a_folder_is_packed_with_its_pictures_tables_and_folders(tmp_path):
    folder = plant(tmp_path / "photos", FILES | LEFT_OUT)
    (folder / "empty").mkdir()
    counts = pack(folder, tmp_path / "raw" / "mine.tar")
    assert counts == {"pictures": 4, "tables": 1}
    assert tar_content(tmp_path / "raw/mine.tar") == FILES
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
    second = plant(tmp_path / "elsewhere/b", dict(reversed((FILES | LEFT_OUT).items())))
    for path in second.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    assert folders.digest(first, key=KEY) == folders.digest(second, key=KEY)
    pack(first, tmp_path / "a.tar")
    pack(second, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_every_change_of_pictures_changes_the_digest_and_nothing_else_does(tmp_path):
    folder = plant(tmp_path / "photos", FILES)
    notes = tmp_path / "notes.json"
    digests = [folders.digest(folder, key=KEY, memory=notes)]

    def changed() -> bool:
        digests.append(folders.digest(folder, key=KEY, memory=notes))
        assert digests[-1] == folders.digest(folder, key=KEY)  # the memory gives the same
        return digests[-1] not in digests[:-1]

    assert not changed()
    os.utime(folder / "cat/1.png", (5, 5))
    plant(folder, LEFT_OUT)
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
    real = folders.files.sha256
    monkeypatch.setattr(folders.files, "sha256", lambda path: read.append(path) or real(path))
    folders.digest(folder, key=KEY, memory=notes)
    assert len(read) == len(FILES)
    folders.digest(folder, key=KEY, memory=notes)
    assert len(read) == len(FILES)
    os.utime(folder / "cat/1.png", (5, 5))
    folders.digest(folder, key=KEY, memory=notes)
    assert [Path(path).name for path in read[len(FILES) :]] == ["1.png"]


def test_two_files_whose_names_differ_in_their_normal_form_only_are_refused(tmp_path):
    names = [unicodedata.normalize(form, "cat/é.png") for form in ("NFC", "NFD")]
    folder = plant(tmp_path / "photos", FILES | dict.fromkeys(names, b"x"))
    with pytest.raises(GraftError, match=r"holds 'cat/é\.png' twice: .* Rename one\."):
        folders.digest(folder, key=KEY)


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "[1]", '{"cat/1.png": 3}', '{"cat/1.png": [1, 2, 3, "zz"]}', '{"a": []}'],
)
def test_damaged_notes_are_read_anew(tmp_path, text):
    folder, notes = plant(tmp_path / "photos", FILES), tmp_path / "notes.json"
    notes.write_text(text)
    assert folders.digest(folder, key=KEY, memory=notes) == folders.digest(folder, key=KEY)


def test_a_link_within_the_folder_is_followed(tmp_path):
    folder = plant(tmp_path / "photos", {"all/1.png": b"one", "all/2.png": b"two"})
    (folder / "cat").mkdir()
    (folder / "cat/one.png").symlink_to("../all/1.png")
    (folder / "dog").symlink_to("all")
    pack(folder, tmp_path / "mine.tar")
    files = tar_content(tmp_path / "mine.tar")
    assert files["cat/one.png"] == b"one" and files["dog/2.png"] == b"two"
    (tmp_path / "alias").symlink_to("photos")  # the folder itself may be a link
    assert folders.digest(tmp_path / "alias", key=KEY) == folders.digest(folder, key=KEY)


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
def test_a_bad_link_is_refused(tmp_path, name, target, reason):
    (tmp_path / "secret.png").write_bytes(b"secret")
    folder = plant(tmp_path / "photos", FILES)
    (folder / name).symlink_to(target)
    with pytest.raises(GraftError, match=rf"{KEY} .*{reason}"):
        folders.digest(folder, key=KEY)


def test_links_that_lead_to_each_other_are_refused(tmp_path):
    folder = plant(tmp_path / "photos", {"a/1.png": b"", "b/2.png": b""})
    (folder / "a/x").symlink_to("../b")
    (folder / "b/y").symlink_to("../a")
    with pytest.raises(GraftError, match="leads back"):
        folders.digest(folder, key=KEY)


def test_a_folder_that_is_missing_empty_or_oddly_named_is_refused(tmp_path):
    with pytest.raises(GraftError, match=rf"{KEY} is '.*gone', where there is no folder"):
        folders.digest(tmp_path / "gone", key=KEY)
    with pytest.raises(GraftError, match="where there is no folder"):
        folders.digest(plant(tmp_path, {"a.png": b""}) / "a.png", key=KEY)
    with pytest.raises(GraftError, match="without a picture"):
        folders.digest(plant(tmp_path / "photos", LEFT_OUT), key=KEY)
    plant(tmp_path / "odd", {"a\\b.png": b""})
    with pytest.raises(GraftError, match="contains a backslash. Rename it"):
        folders.digest(tmp_path / "odd", key=KEY)
    plant(tmp_path / "latin", {os.fsdecode(b"caf\xe9.png"): b""})
    with pytest.raises(GraftError, match="is not UTF-8. Rename it"):
        folders.digest(tmp_path / "latin", key=KEY)


@pytest.mark.parametrize(
    "change",
    [{"cat/1.png": b"eno"}, {"cat/1.png": b""}, {"cat/1.png": b"one more"}, {"new.png": b""}],
)
def test_a_folder_that_changes_before_it_is_packed_is_refused(tmp_path, change):
    folder = plant(tmp_path / "photos", FILES)
    planned_tree = folders.digest(folder, key=KEY)
    plant(folder, change)
    with pytest.raises(GraftError, match="have changed since this run was planned"):
        folders.pack(folder, tmp_path / "raw/mine.tar", tree=planned_tree, key=KEY)
    assert not any((tmp_path / "raw").iterdir())


def test_a_folder_that_no_experiment_needs_is_not_packed(tmp_path):
    with pytest.raises(GraftError, match=f"{KEY} is packed only if an experiment needs it"):
        folders.pack(plant(tmp_path, FILES), tmp_path / "mine.tar", tree=None, key=KEY)
