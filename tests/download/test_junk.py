"""What systems and tools leave among pictures is passed over, whatever holds it, and counted."""

import io
import tarfile
from collections import Counter

import pytest
from builders import build_rows, jpeg, make_tar, make_zip, plant, read_layout, voc_xml

from graft.datasets import photos
from graft.download import folders
from graft.download.junk import junk, passed_over
from graft.download.unpack import unpack_zip

LEFT = {
    "nas": ["cat/@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg", "@eaDir/x.jpg", "cat/SYNOPHOTO_THUMB_M.jpg"],
    "qnap": [".@__thumb/default1.jpg", "dog/@Recycle/2.jpg"],
    "share": ["#recycle/old/1.jpg", "dog/#snapshot/1.jpg", "lost+found/1.jpg"],
    "macos": ["__MACOSX/cat/._1.jpg", "cat/._1.jpg", ".DS_Store", ".Trashes/1.jpg", "cat/Icon\r"],
    "windows": ["cat/Thumbs.db", "cat/desktop.ini", "$RECYCLE.BIN/S-1-5-21/1.jpg"],
    "windows disk": ["System Volume Information/1.jpg", "cat/1.jpg:Zone.Identifier"],
    "upper case": ["cat/THUMBS.DB", "$Recycle.Bin/1.jpg", "__macosx/1.jpg"],
    "linux": [".thumbnails/normal/1.jpg", ".Trash-1000/files/1.jpg"],
    "notebooks": [".ipynb_checkpoints/1-checkpoint.jpg", "cat/.ipynb_checkpoints/1.jpg"],
    "git": [".git/objects/1.jpg", "cat/__pycache__/1.jpg"],
}
PICTURES = {
    f"{kind}/{n}.jpg": jpeg(100 * (kind == "dog") + n) for kind in ("cat", "dog") for n in range(12)
}


@pytest.mark.parametrize("kind", LEFT)
@pytest.mark.parametrize("source", ["folder", "tar", "zip"])
@pytest.mark.parametrize("root", ["", "pets/"])
def test_no_sample_comes_from_junk_and_the_log_counts_it(tmp_path, capsys, kind, source, root):
    left = {root + name: jpeg(250) for name in LEFT[kind]}
    every = {root + name: data for name, data in PICTURES.items()} | left
    tar = tmp_path / "raw/x.tar"
    if source == "folder":
        folder = plant(tmp_path / "photos", every)
        assert photos.count(folder / root) == Counter(cat=12, dog=12)
        folders.pack(folder, tar, tree=folders.digest(folder, key="k"), key="k")
    elif source == "zip":
        unpack_zip(make_zip(tmp_path / "x.zip", every), tar)
    else:
        tar.parent.mkdir()
        make_tar(tar, every, {f"{root}@eaDir", f"{root}lost+found"})
    archives = {"x.tar": tar}
    frame, counts = build_rows(read_layout("folder", archives, "class"), archives)
    assert counts["published"] == counts["kept"] == 24
    assert set(frame["label"]) == {"cat", "dog"}
    assert (
        f"{len(left)} files that systems and tools left among the pictures are passed over: "
        in (capsys.readouterr().out)
    )


@pytest.mark.parametrize("left", ["lfw/Ann/._Ann_0001.jpg", "lfw/@eaDir/x.jpg", "._lfw"])
def test_lfw_with_junk_is_read(tmp_path, left):
    pictures = [f"lfw/{name}/{name}_{n:04}.jpg" for name in ("Ann", "Bea") for n in (1, 2)]
    tar = make_tar(tmp_path / "lfw.tar", dict.fromkeys([*pictures, left], b"x"))
    rows = read_layout("lfw", {"lfw.tar": tar}, "identity")
    assert [row.member for row in rows] == pictures


@pytest.mark.parametrize("left", ["Annotations/._1.xml", "JPEGImages/@eaDir/1.jpg/1.jpg"])
def test_voc_with_junk_is_read(tmp_path, left):
    files = {
        "v/Annotations/1.xml": voc_xml(("cat", (1, 1, 9, 9))),
        "v/JPEGImages/1.jpg": b"",
        "v/ImageSets/Main/train.txt": b"1",
        f"v/{left}": b"\0\5\x16\7",
    }
    rows = read_layout("voc2007", {"v.tar": make_tar(tmp_path / "v.tar", files)}, "objects")
    assert [(row.member, row.label) for row in rows] == [("v/JPEGImages/1.jpg", "cat")]


@pytest.mark.parametrize("type", [tarfile.SYMTYPE, tarfile.CHRTYPE])
def test_a_link_in_junk_stops_nothing(tmp_path, type):
    path = make_tar(tmp_path / "x.tar", PICTURES)
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo(".Trashes/link")
        info.type, info.linkname = type, "/etc/passwd"
        tar.addfile(info, io.BytesIO())
    assert len(read_layout("folder", {"x.tar": path}, "class")) == 24


@pytest.mark.parametrize(
    "name",
    [
        *("recycled/1.jpg", "thumbnails/1.jpg", "macosx/1.jpg", "eaDir/1.jpg", "thumbs/1.jpg"),
        *("lost/1.jpg", "found+lost/1.jpg", "git/1.jpg", "x_._1.jpg", "Thumbs.db.jpg", "icon.png"),
        *("system volume/1.jpg", "trash/1.jpg", "snapshot/1.jpg", "a@tmp/1.jpg"),
    ],
)
def test_names_that_are_nearly_junk_are_kept(name):
    assert junk(name) is None


def test_what_was_passed_over_is_one_sentence():
    assert passed_over(Counter({"Thumbs.db": 1, "@eaDir": 3})) == (
        "4 files that systems and tools left among the pictures are passed over: 3 '@eaDir', "
        "1 'Thumbs.db'."
    )
