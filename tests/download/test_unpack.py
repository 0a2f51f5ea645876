"""Published files that are compressed are unpacked, whole or not at all."""

import bz2
import functools
import gzip
import lzma
import random
import stat
import struct
import sys
import tracemalloc

import pyarrow
import pytest
from builders import make_tar, make_zip, tar_content
from hypothesis import given
from hypothesis import strategies as st

from graft.core.errors import GraftError
from graft.download.archives import members
from graft.download.unpack import unpack, unpack_zip

FILES = {
    "cat/1.png": b"one",
    "cat/deep/er/2.JPG": b"two",
    "dog/a b, c.webp": b"",
    "dog/é.pgm": b"x" * 2000,
    "notes.txt": b"no picture",
    ".git/3.png": b"hidden",
}

COMPRESS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": functools.partial(pyarrow.compress, codec="zstd", asbytes=True),
}


def packed_tar(folder, kind):
    """A tar, compressed in two parts as some tools write it."""
    data = make_tar(folder / "whole.tar", FILES).read_bytes()
    path = folder / "lfw.packed"
    path.write_bytes(COMPRESS[kind](data[:1500]) + COMPRESS[kind](data[1500:]))
    return path


@pytest.mark.parametrize("kind", COMPRESS)
def test_an_unpacked_tar_has_the_bytes_of_the_tar(tmp_path, kind):
    packed = packed_tar(tmp_path, kind)
    data = (tmp_path / "whole.tar").read_bytes()
    assert unpack(packed, tmp_path / "raw/lfw.tar", kind) == len(data)
    assert (tmp_path / "raw/lfw.tar").read_bytes() == data
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["lfw.tar"]


@pytest.mark.parametrize("kind", COMPRESS)
def test_unpacking_takes_constant_memory(tmp_path, kind):
    (tmp_path / "x").write_bytes(COMPRESS[kind](bytes(40_000_000)))
    unpack(tmp_path / "x", tmp_path / "y", kind)  # what is imported is not counted
    tracemalloc.start()
    unpack(tmp_path / "x", tmp_path / "y", kind)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000  # the dictionary of xz takes 8 MB


@given(keep=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(list(COMPRESS)))
def test_a_truncated_file_is_refused_wherever_it_was_cut(tmp_path_factory, keep, kind):
    folder = tmp_path_factory.mktemp("cut")
    packed = COMPRESS[kind](random.Random(1).randbytes(2000))
    (folder / "x.packed").write_bytes(packed[: int(len(packed) * keep)])
    with pytest.raises(GraftError, match=r"x\.packed: the file cannot be read \(.*\)\. Fetch"):
        unpack(folder / "x.packed", folder / "x.tar", kind)
    assert [path.name for path in folder.iterdir()] == ["x.packed"]


@pytest.mark.parametrize("kind", COMPRESS)
def test_another_kind_of_file_is_refused(tmp_path, kind):
    (tmp_path / "x").write_bytes(b"no such file " * 100)
    with pytest.raises(GraftError, match=r"x: the file cannot be read"):
        unpack(tmp_path / "x", tmp_path / "raw/x.tar", kind)
    assert not (tmp_path / "raw/x.tar").exists()


@pytest.mark.parametrize("damage", ["byte", "checksum", "not gzip", "trailing rubbish"])
def test_corrupt_gzip_is_refused(tmp_path, damage):
    tgz = packed_tar(tmp_path, "gz").rename(tmp_path / "lfw.tgz")
    packed = bytearray(tgz.read_bytes())
    if damage == "byte":
        packed[len(packed) // 2] ^= 0xFF
    elif damage == "checksum":
        packed[-6] ^= 1
    elif damage == "not gzip":
        packed = bytearray(b"<html>please log in</html>")
    else:
        packed += b"rubbish"
    tgz.write_bytes(packed)
    with pytest.raises(GraftError, match=r"lfw\.tgz: the file cannot be read"):
        unpack(tgz, tmp_path / "raw/lfw.tar", "gz")
    assert not (tmp_path / "raw/lfw.tar").exists()


def test_a_missing_file_is_refused(tmp_path):
    unpackers = {kind: functools.partial(unpack, compression=kind) for kind in COMPRESS}
    for kind, how in (unpackers | {"zip": unpack_zip}).items():
        with pytest.raises(GraftError, match=rf"gone\.{kind}: the file cannot be read \(.*No such"):
            how(tmp_path / f"gone.{kind}", tmp_path / "x.tar")


def test_a_zip_file_becomes_a_tar_of_the_same_files_in_its_order(tmp_path):
    files = dict(reversed(FILES.items()))
    listed = {"./": b"", "root/": b"", **files}
    source = make_zip(tmp_path / "x.zip", listed, date_time=(2020, 1, 1, 0, 0, 0))
    hidden_in_git = ".git/3.png"  # of the list of junk
    del files[hidden_in_git]
    assert unpack_zip(source, tmp_path / "x.tar") == len(files)
    assert list(tar_content(tmp_path / "x.tar").items()) == list(files.items())
    assert "root/" in [member.name for member in members(tmp_path / "x.tar", folders=True)]
    unpack_zip(make_zip(tmp_path / "y.zip", {"root/": b"", **files}), tmp_path / "y.tar")
    assert (tmp_path / "x.tar").read_bytes() == (tmp_path / "y.tar").read_bytes()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"external_attr": (stat.S_IFLNK | 0o777) << 16}, "is a link or a special file"),
        ({"external_attr": stat.S_IFIFO << 16}, "is a link or a special file"),
        ({"filename": "../up.png"}, "leads out"),
        ({"filename": "/etc/passwd"}, "is absolute"),
        ({"filename": "..\\up.png"}, "leads out"),
        ({"filename": "cat\\..\\..\\up.png"}, "leads out"),
        ({"filename": "\\\\server\\up.png"}, "is absolute"),
    ],
)
def test_a_zip_file_with_a_bad_member_is_refused(tmp_path, changes, reason):
    source = make_zip(tmp_path / "x.zip", FILES, **changes)
    with pytest.raises(GraftError, match=rf"x\.zip: .* {reason}"):
        unpack_zip(source, tmp_path / "raw/x.tar")
    assert not (tmp_path / "raw").exists() or not any((tmp_path / "raw").iterdir())


def test_an_encrypted_zip_file_is_refused(tmp_path):
    source = make_zip(tmp_path / "x.zip", {"1.png": b"one"})
    data = bytearray(source.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # APPNOTE, 4.3.7 and 4.3.12
        at = data.index(signature) + flags
        data[at : at + 2] = struct.pack("<H", 1)
    source.write_bytes(data)
    with pytest.raises(GraftError, match=r"x\.zip: the member '1\.png' is encrypted"):
        unpack_zip(source, tmp_path / "x.tar")


def test_a_damaged_zip_file_is_refused(tmp_path):
    whole = make_zip(tmp_path / "x.zip", {"1.png": bytes(range(256)) * 20}).read_bytes()
    source = tmp_path / "cut.zip"
    for data in (b"", b"no zip", whole[:-30], whole[:40] + bytes(20) + whole[60:]):
        source.write_bytes(data)
        with pytest.raises(GraftError, match=r"cut\.zip: the file cannot be read"):
            unpack_zip(source, tmp_path / "raw/x.tar")
        assert not any((tmp_path / "raw").glob("*"))
    make_zip(source, {"empty/": b""})
    with pytest.raises(GraftError, match="it holds no file"):
        unpack_zip(source, tmp_path / "x.tar")


def test_a_zip_file_that_points_to_before_its_start_is_damaged(tmp_path):
    data = bytearray(make_zip(tmp_path / "x.zip", {"1.png": b"one"}).read_bytes())
    end = data.index(b"PK\x05\x06")  # APPNOTE, 4.3.16: where the central directory starts
    data[end + 16 : end + 20] = struct.pack("<I", len(data) * 2)
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(GraftError, match=r"x\.zip: the file cannot be read"):
        unpack_zip(tmp_path / "x.zip", tmp_path / "x.tar")


def test_an_unknown_compression_method_is_refused(tmp_path):
    source = make_zip(tmp_path / "x.zip", {"1.png": b"one"})
    data = bytearray(source.read_bytes())
    for signature, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = data.index(signature) + method
        data[at : at + 2] = struct.pack("<H", 9)  # deflate64
    source.write_bytes(data)
    with pytest.raises(GraftError, match=r"x\.zip: .*compression.*\. Unpack the file by hand"):
        unpack_zip(source, tmp_path / "x.tar")


def test_without_a_reader_of_zstandard_a_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(GraftError, match=r"x\.tzst: this Python reads no Zstandard\. Install"):
        unpack(tmp_path / "x.tzst", tmp_path / "x.tar", "zst")
