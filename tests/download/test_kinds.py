"""What a file is by its first bytes is said where its name says something else."""

import bz2
import gzip
import hashlib
import lzma
import tarfile

import pyarrow
import pytest
from builders import FOLDER, jpeg, make_tar, make_zip, overlay, tar_content

from graft.config import stages
from graft.config.read import read_config
from graft.core.errors import GraftError
from graft.core.raw_names import raw_name
from graft.download import kinds, raw_files
from graft.download.archives import members

FILES = {"cat/1.png": b"one", "dog/2.png": b"two"}
HTML = b"<!DOCTYPE html><html><title>Sign in</title></html>"


@pytest.fixture
def forms(tmp_path):
    """The same files in every form, and what is sometimes taken for them."""
    tar = make_tar(tmp_path / "made.tar", FILES).read_bytes()
    return {
        "tar": tar,
        "gz": gzip.compress(tar),
        "bz2": bz2.compress(tar),
        "xz": lzma.compress(tar),
        "zst": pyarrow.compress(tar, codec="zstd", asbytes=True),
        "zip": make_zip(tmp_path / "made.zip", FILES).read_bytes(),
        "gz of gz": gzip.compress(gzip.compress(tar)),
        "gz of zip": gzip.compress((tmp_path / "made.zip").read_bytes()),
        "gz of page": gzip.compress(HTML),
        "7z": b"7z\xbc\xaf\x27\x1c" + bytes(100),
        "rar": b"Rar!\x1a\x07\x01\x00" + bytes(100),
        "picture": jpeg(1),
        "json": b'{"message": "API rate limit exceeded"}',
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "page": b"\xef\xbb\xbf\n<!-- x --><html lang=de>",
        "empty": b"",
    }


def obtain(folder, name, data):
    source = folder / "source" / name
    source.parent.mkdir()
    source.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    files = {name: {"url": [str(source)], "sha256": digest}}
    config = read_config(overlay(mine=FOLDER | {"files": files}))
    raw_files.obtain(
        folder / "raw" / raw_name(name),
        stages.download(config, "mine", raw_name(name)),
        draw=None,
        **stages.mirrors(config, "mine", raw_name(name)),
    )


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *(("x.tar", "tar"), ("x.tgz", "gz"), ("x.tar.gz", "gz"), ("x.tar.bz2", "bz2")),
        *(("x.tbz2", "bz2"), ("x.tar.xz", "xz"), ("x.txz", "xz"), ("x.tar.zst", "zst")),
        *(("x.tzst", "zst"), ("x.zip", "zip"), ("X.ZIP", "zip")),
    ],
)
def test_every_kind_of_archive_is_unpacked(tmp_path, forms, name, form):
    obtain(tmp_path, name, forms[form])
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [raw_name(name)]
    assert tar_content(tmp_path / "raw" / raw_name(name)) == FILES


@pytest.mark.parametrize(
    ("name", "form", "answer"),
    [
        ("x.tar", "gz", ("a gzip file, and its name that of a tar", "call it x.tar.gz in `files`")),
        ("x.tar", "bz2", ("a bzip2 file", "call it x.tar.bz2 in `files`")),
        ("x.tar", "zip", ("a zip file, and its name that of a tar", "call it x.zip in `files`")),
        (
            "x.tgz",
            "tar",
            ("a tar archive, and its name that of a gzip", "call it x.tar in `files`"),
        ),
        ("x.tar.gz", "tar", ("a tar archive", "call it x.tar in `files`")),
        ("x.txz", "tar", ("a tar archive, and its name that of an xz", "call it x.tar in `files`")),
        ("x.tgz", "zip", ("a zip file, and its name that of a gzip", "call it x.zip in `files`")),
        ("x.zip", "gz", ("a gzip file, and its name that of a zip", "call it x.tar.gz in `files`")),
        ("x.zip", "tar", ("a tar archive, and its name that of a zip", "call it x.tar in `files`")),
        ("x.zip", "rar", ("a RAR archive", "give its folder instead")),
        ("x.tar", "7z", ("a 7-Zip archive", "give its folder instead")),
        ("x.zip", "json", ("JSON text, perhaps an error message", "at downloads/x.zip")),
        ("x.zip", "pointer", ("a pointer of Git LFS", "at downloads/x.zip")),
        ("x.zip", "empty", ("the file is empty", "at downloads/x.zip")),
        ("x.tar", "picture", ("the file is a picture", "at downloads/x.tar")),
        ("y.csv", "zip", ("the file is a zip file", "put the file in it at downloads/y.csv")),
        ("y.csv", "gz", ("the file is a gzip file", "call it y.csv.gz in `files`")),
        ("x.tgz", "gz of gz", ("what is packed in it is a gzip file", "by hand")),
        ("x.tgz", "gz of zip", ("what is packed in it is a zip file", "by hand")),
        ("x.tar.gz", "gz of page", ("what is packed in it is a web page", "by hand")),
    ],
)
def test_a_file_of_another_kind_than_its_name_is_said_to_be_what_it_is(
    tmp_path, forms, name, form, answer
):
    with pytest.raises(GraftError) as raised:
        obtain(tmp_path, name, forms[form])
    text = str(raised.value)
    assert f"raw/{name}: " in text and all(part in text for part in answer)


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tgz", "y.csv"])
def test_a_page_in_the_place_of_a_file_is_named(tmp_path, forms, name):
    with pytest.raises(GraftError, match="is a web page instead of the file"):
        obtain(tmp_path, name, forms["page"])


@pytest.mark.parametrize(
    ("head", "page"),
    [
        (b"<!DOCTYPE html>", True),
        (b"\n  <HTML lang='en'>", True),
        (b"\xef\xbb\xbf<!doctype html>", True),
        (b"<!-- saved -->\n<!-- twice --><html>", True),
        (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0">', True),
        (b"<script>location='/login'</script>", True),
        (b'<?xml version="1.0"?><annotation>', False),
        (b"<htmlish>", False),
        (b"path,label\n", False),
        (b"", False),
    ],
)
def test_pages_are_known_by_their_beginning(head, page):
    assert kinds.is_web_page(head) is page


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_every_dialect_are_known_whatever_their_first_name(tmp_path, format):
    path = make_tar(tmp_path / "x.tar", {"PK\x03\x04.jpg": b"x"}, format=format)
    assert kinds.kind(path) == "tar"


def test_a_tar_of_before_posix_is_known(tmp_path):
    data = bytearray(make_tar(tmp_path / "x.tar", FILES).read_bytes())
    data[257:512] = bytes(255)
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    (tmp_path / "x.tar").write_bytes(data)
    assert kinds.kind(tmp_path / "x.tar") == "tar"


def test_a_tar_that_is_something_else_is_named_where_it_is_read(tmp_path, forms):
    (tmp_path / "x.tar").write_bytes(forms["gz"])
    with pytest.raises(GraftError, match=r"not a readable uncompressed tar archive, but a gzip"):
        list(members(tmp_path / "x.tar"))
