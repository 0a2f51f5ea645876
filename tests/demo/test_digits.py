"""The embedded digits."""

import gzip
from collections import Counter

import numpy as np
import pytest
from builders import pictures_of, structure
from sklearn.datasets import load_digits

from graft.config.datasets import Render
from graft.config.stages import DownloadSettings
from graft.core.errors import GraftError
from graft.datasets import idx
from graft.demo import digits
from graft.demo.drawings import DRAWINGS
from graft.download import raw_files


def obtain(folder, name):
    settings = DownloadSettings(
        name=name,
        key="k",
        sha256=None,
        md5=None,
        zip_encoding=None,
        size=None,
        render=Render(kind="digits"),
        tree=None,
    )
    path = folder / name.removesuffix(".gz")
    raw_files.obtain(path, settings, draw=DRAWINGS["digits"], url=[], manual=None, folder=None)
    return path


def test_the_embedded_digits_are_scikit_learns(tmp_path):
    images = obtain(tmp_path, "digits-images-idx3-ubyte.gz")
    labels = obtain(tmp_path, "digits-labels-idx1-ubyte.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == [images.name, labels.name]
    real = load_digits()
    assert idx.labels(labels).tolist() == real.target.tolist()
    pixels = np.array([picture for _, picture in pictures_of(images)])
    assert pixels.shape == (1797, 8, 8, 3) and pixels.max() == 255
    assert abs(pixels[..., 0] - real.images * 255 / 16).max() <= 0.5
    archives = {images.name: images, labels.name: labels}
    _, counts = structure("mnist", archives, "digit")
    assert counts["kept"] == 1797
    total = Counter()
    for of_split in counts["splits"].values():
        total.update(of_split)
    assert total == Counter(map(str, real.target.tolist()))


def test_the_digits_files_are_the_same_bytes_at_any_time(tmp_path):
    for name in ("a-images-idx3-ubyte.gz", "b-images-idx3-ubyte.gz", "c-images-idx3-ubyte"):
        digits.write(tmp_path / name)
    first, second = (tmp_path / f"{x}-images-idx3-ubyte.gz" for x in "ab")
    packed = first.read_bytes()
    assert packed == second.read_bytes() and packed[4:8] == bytes(4)  # RFC 1952: MTIME
    assert gzip.decompress(packed) == (tmp_path / "c-images-idx3-ubyte").read_bytes()
    with pytest.raises(GraftError, match="ends in images-idx3-ubyte or labels-idx1"):
        digits.write(tmp_path / "digits.gz")
    assert len(list(tmp_path.iterdir())) == 3
