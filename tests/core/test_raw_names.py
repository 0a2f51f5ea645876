"""Names of raw files."""

import pytest

from graft.core.raw_names import compression, raw_name, unread


@pytest.mark.parametrize(
    ("name", "raw", "packed"),
    [
        ("lfw.tgz", "lfw.tar", "gz"),
        ("x.tar.gz", "x.tar", "gz"),
        ("X.TGZ", "X.tar", "gz"),
        ("wiki_crop.tar", "wiki_crop.tar", None),
        ("names.txt.gz", "names.txt", "gz"),
        ("train-images-idx3-ubyte.gz", "train-images-idx3-ubyte", "gz"),
        ("x.csv.GZ", "x.csv", "gz"),
        ("tgz", "tgz", None),
        ("gz", "gz", None),
        ("x.tar.bz2", "x.tar", "bz2"),
        ("x.tbz2", "x.tar", "bz2"),
        ("x.tbz", "x.tar", "bz2"),
        ("x.csv.bz2", "x.csv", "bz2"),
        ("x.tar.xz", "x.tar", "xz"),
        ("x.TXZ", "x.tar", "xz"),
        ("x.tar.lzma", "x.tar", "xz"),
        ("x.tar.zst", "x.tar", "zst"),
        ("x.tzst", "x.tar", "zst"),
        ("x.zip", "x.tar", "zip"),
        ("x.v2.ZIP", "x.v2.tar", "zip"),
        ("bz2", "bz2", None),
    ],
)
def test_names_of_archives(name, raw, packed):
    assert (raw_name(name), compression(name)) == (raw, packed)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("x.7z", "7-Zip"), ("x.RAR", "RAR"), ("x.tar.Z", "compress"), ("x.zip", None), ("rar", None)],
)
def test_archives_that_are_not_unpacked(name, kind):
    assert unread(name) == kind
