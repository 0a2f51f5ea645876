"""Small grey pictures of other containers than tar, through crops and packs."""

import cv2
import h5py
import numpy as np
import pytest
from builders import fer2013_table, grey, mnist_pair, part_of, structure
from sklearn.datasets import load_digits

from graft.core.errors import GraftError
from graft.datasets import build
from graft.datasets.splits import SPLITS
from graft.images import align, crop, pack

RNG = np.random.default_rng(0)


def packed(folder, archives, layout, label, size, **options):
    """What stands in the packs of all splits: sample_id -> picture; and the data file's frame."""
    frame, counts = structure(layout, archives, label)
    pictures = {}
    for split in SPLITS:
        rows = part_of(frame, split, 0)
        cropper = crop.Cropper(size)
        counted = crop.extract(rows, archives, folder / "f.h5", cropper, recipe={})
        pack.write(
            folder / "f.h5",
            folder / "p.h5",
            kept=counted["kept"],
            packed_size=size,
            classes=build.classes(counts["splits"]),
            recipe={},
            **options,
        )
        with h5py.File(folder / "p.h5") as file:
            names = [name.decode() for name in file["sample_id"]]
            pictures |= dict(zip(names, file["images"][...], strict=True))
    return frame, pictures


def test_grey_pictures_of_48_pixels_come_through_byte_for_byte(tmp_path):
    published = RNG.integers(0, 256, (12, 48, 48))
    published[0, :16] = np.arange(768).reshape(16, 48) % 256  # every value
    lines = [" ".join(map(str, picture.ravel())) for picture in published]
    usages = ["Training"] * 6 + ["PublicTest"] * 3 + ["PrivateTest"] * 3
    archives = fer2013_table(tmp_path, [0, 1, 2] * 4, usages, lines)
    frame, found = packed(tmp_path, archives, "fer2013", "emotion", 48, grayscale=True)
    assert len(found) == 12
    for row in frame.itertuples():
        assert found[row.sample_id].dtype == np.uint8
        assert np.array_equal(found[row.sample_id][..., 0], published[int(row.member)])
    _, colour = packed(tmp_path, archives, "fer2013", "emotion", 48)
    assert all(np.array_equal(colour[name], grey(found[name][..., 0])) for name in found)


def test_idx_pictures_come_through_byte_for_byte(tmp_path):
    published = RNG.integers(0, 256, (20, 28, 28))
    archives = mnist_pair(tmp_path, "x", [0, 1] * 10, published)
    frame, found = packed(tmp_path, archives, "mnist", "digit", 28, grayscale=True)
    for row in frame.itertuples():
        assert np.array_equal(found[row.sample_id][..., 0], published[int(row.member)])


def test_small_pictures_are_enlarged_smoothly_and_in_place():
    for level in (0, 100, 255):
        assert (align.whole(np.full((8, 8, 3), level, np.uint8), 48) == level).all()
    ramp = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None] * 30 + 20, (8, 8))
    large = align.whole(grey(ramp), 64)[:, 30, 0].astype(float)
    # The centre of row y of 64 lies at (y + 0.5) / 8 - 0.5 of 8. OpenCV's cubic (a = -0.75)
    # bends a line, but by little of the 30 from pixel to pixel.
    expected = ((np.arange(64) + 0.5) / 8 - 0.5) * 30 + 20
    assert abs(large - expected)[12:-12].max() <= 2
    assert (np.diff(large[8:-8]) >= 0).all()
    digit = grey(np.round(load_digits().images[0] * 255 / 16))
    pixel = cv2.resize(align.whole(digit, 64), (8, 8), interpolation=cv2.INTER_AREA)
    assert abs(pixel.astype(int) - digit).max() < 40
    assert np.corrcoef(pixel.ravel(), digit.ravel())[0, 1] > 0.99


def test_a_container_that_has_changed_is_noticed_by_the_crop_stage(tmp_path):
    archives = mnist_pair(tmp_path, "x", [0, 1] * 40)
    frame, _ = structure("mnist", archives, "digit")
    mnist_pair(tmp_path, "x", [0, 1] * 40, RNG.integers(0, 256, (80, 4, 4)))
    rows = part_of(frame, "train", 0)
    with pytest.raises(GraftError, match="bytes in the archive are not those of sample"):
        crop.extract(rows, archives, tmp_path / "f.h5", crop.Cropper(4), recipe={})
