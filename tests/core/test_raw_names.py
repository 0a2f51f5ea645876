"""Names of raw files."""

import pytest

from graft.core.raw_names import is_gzip, raw_name


@pytest.mark.parametrize(
    ("name", "raw", "packed"),
    [
        ("lfw.tgz", "lfw.tar", True),
        ("x.tar.gz", "x.tar", True),
        ("X.TGZ", "X.tar", True),
        ("wiki_crop.tar", "wiki_crop.tar", False),
        ("names.txt.gz", "names.txt", True),
        ("train-images-idx3-ubyte.gz", "train-images-idx3-ubyte", True),
        ("x.csv.GZ", "x.csv", True),
        ("tgz", "tgz", False),
        ("gz", "gz", False),
    ],
)
def test_names_of_archives(name, raw, packed):
    assert (raw_name(name), is_gzip(name)) == (raw, packed)
