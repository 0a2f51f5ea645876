"""Names in zip files: UTF-8 with and without the flag, code pages, other separators."""

import struct
import unicodedata
import zlib

import pytest
from builders import make_raw_zip, make_zip, read_layout, tar_content

from graft.core.errors import GraftError
from graft.download.archives import by_name, members
from graft.download.unpack import unpack_zip

KEY = "datasets.pets.files.pets.zip"


def unpacked(tmp_path, files, encoding=None, extras=None):
    source = make_raw_zip(tmp_path / "pets.zip", files, extras)
    unpack_zip(source, tmp_path / "pets.tar", encoding=encoding, key=KEY)
    return [member.name for member in members(tmp_path / "pets.tar")]


def unicode_path(raw, name, *, version=1, crc=None):
    """The extra field 0x7075."""
    data = struct.pack("<BL", version, zlib.crc32(raw) if crc is None else crc) + name.encode()
    return struct.pack("<HH", 0x7075, len(data)) + data


@pytest.mark.parametrize(
    ("raw", "encoding", "name"),
    [
        (b"pets/cat/1.jpg", None, "pets/cat/1.jpg"),
        ("pets/café/1.jpg".encode(), None, "pets/café/1.jpg"),
        ("pets/猫/1.jpg".encode(), None, "pets/猫/1.jpg"),
        (unicodedata.normalize("NFD", "pets/café/1.jpg").encode(), None, "pets/café/1.jpg"),
        ("pets/café/1.jpg".encode("cp437"), "cp437", "pets/café/1.jpg"),
        ("pets/café/1.jpg".encode("cp850"), "cp850", "pets/café/1.jpg"),
        ("pets/café/1.jpg".encode("cp1252"), "cp1252", "pets/café/1.jpg"),
        ("pets/кот/1.jpg".encode("cp866"), "cp866", "pets/кот/1.jpg"),
        ("pets/猫/1.jpg".encode("cp932"), "cp932", "pets/猫/1.jpg"),
        ("pets/ソ/1.jpg".encode("cp932"), "cp932", "pets/ソ/1.jpg"),  # its second byte is a "\"
        ("pets/猫/1.jpg".encode("gbk"), "gbk", "pets/猫/1.jpg"),
        ("联通/1.jpg".encode("gbk"), "gbk", "联通/1.jpg"),  # valid UTF-8 by chance
        ("pets/café/1.jpg".encode(), "cp850", "pets/café/1.jpg"),  # beside names of cp850
        (b"pets\\cat\\1.jpg", None, "pets/cat/1.jpg"),
        ("pets\\café\\1.jpg".encode("cp850"), "cp850", "pets/café/1.jpg"),
    ],
)
def test_the_name_that_was_meant_is_read(tmp_path, raw, encoding, name):
    assert unpacked(tmp_path, [(raw, b"x")], encoding) == [name]


def test_folders_and_files_of_both_separators_are_the_same_folders(tmp_path):
    files = [
        ("café\\".encode(), b""),
        ("café\\1.jpg".encode(), b"1"),
        ("café/2.jpg".encode(), b"2"),
    ]
    assert unpacked(tmp_path, files) == ["café/1.jpg", "café/2.jpg"]
    assert list(by_name(tmp_path / "pets.tar", folders=True))[0] == "café/"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_class_is_one_class_in_both_normal_forms(tmp_path, form):
    names = ["café/1.jpg", unicodedata.normalize(form, "café/2.jpg"), "thé/3.jpg"]
    unpack_zip(make_zip(tmp_path / "x.zip", dict.fromkeys(names, b"x")), tmp_path / "x.tar")
    rows = read_layout("folder", {"x.tar": tmp_path / "x.tar"}, "class")
    assert [row.label for row in rows] == ["café", "café", "thé"]


@pytest.mark.parametrize("page", ["cp437", "cp850", "cp1252", "cp932", "gbk"])
def test_a_name_of_an_unknown_code_page_is_a_question_that_shows_it(tmp_path, page):
    word = "狗" if page in ("cp932", "gbk") else "café"
    with pytest.raises(GraftError) as raised:
        unpacked(tmp_path, [(f"{word}/1.jpg".encode(page), b"x"), (b"cat/1.jpg", b"y")])
    text = str(raised.value)
    assert f"as {KEY}.zip_encoding" in text and f"'{word}/1.jpg'" in text and page in text
    assert not (tmp_path / "pets.tar").exists()


def test_a_name_that_is_not_of_the_given_code_page_is_named(tmp_path):
    with pytest.raises(GraftError, match=rf"not of cp932 \({KEY}\.zip_encoding\)\. Choose"):
        unpacked(tmp_path, [(b"caf\x82", b"x")], "cp932")


@pytest.mark.parametrize(
    ("changes", "name"),
    [({}, "café/1.jpg"), ({"crc": 1}, None), ({"version": 2}, None)],
)
def test_the_extra_field_with_the_name_in_utf8_counts_if_it_belongs_to_the_name(
    tmp_path, changes, name
):
    raw = "café/1.jpg".encode("cp850")
    extras = {raw: struct.pack("<HHB", 0x6375, 1, 0) + unicode_path(raw, "café/1.jpg", **changes)}
    if name:
        assert unpacked(tmp_path, [(raw, b"x")], None, extras) == [name]
    else:
        with pytest.raises(GraftError, match="zip_encoding"):
            unpacked(tmp_path, [(raw, b"x")], None, extras)


def test_of_several_members_of_one_name_the_last_is_taken_and_the_log_says_so(tmp_path, capsys):
    same = unicodedata.normalize("NFD", "é.jpg").encode()
    files = [(b"1.jpg", b"old"), (b"2.jpg", b"x"), (b"1.jpg", b"new"), ("é.jpg".encode(), b"a")]
    assert unpacked(tmp_path, [*files, (same, b"b")]) == ["2.jpg", "1.jpg", "é.jpg"]
    assert tar_content(tmp_path / "pets.tar")["1.jpg"] == b"new"
    assert f"{KEY}: 2 files are there again under the same name, such as '1.jpg'." in (
        capsys.readouterr().out
    )
