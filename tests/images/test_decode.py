import numpy as np
import pytest
from builders import encoded, smooth
from PIL import Image

from graft.images import decode as decoding
from graft.images.decode import decode, windows


def damaged_files():
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    whole, thumbnail = encoded(noise), encoded(noise[:8, :8])
    exif = Image.Exif()
    exif[0x010E] = "contains a thumbnail: " + thumbnail.decode("latin-1")
    return {
        "zero bytes": b"",
        "a web page": b"<html>404 Not Found</html>",
        "header only": whole[:200],
        "half": whole[: len(whole) // 2],
        "all but the end": whole[:-40],
        "all but the end marker": whole[:-2],
        "rest zeroed": whole[: len(whole) // 2] + bytes(len(whole) // 2),
        "half with a thumbnail": encoded(noise, exif=exif)[:-3000],
        "half a png": encoded(noise, "PNG")[:-2000],
        "half a TIFF": encoded(noise, "TIFF")[:-2000],
        "encapsulated PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n",
    }


DAMAGED = damaged_files()


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_picture_is_not_decoded(kind):
    assert decode(DAMAGED[kind]) is None


def test_a_truncated_jpeg_is_not_decoded():
    noise = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    for data in (encoded(noise), encoded(noise, progressive=True, restart_marker_blocks=1)):
        assert decode(data) is not None
        assert all(decode(data[:size]) is None for size in range(0, len(data), 7))


@pytest.mark.parametrize("tail", [b"", b"\0" * 300, b"\r\n", b"camera's own data" * 9])
def test_bytes_after_a_complete_jpeg_are_ignored(tail):
    picture = smooth(90)
    assert abs(decode(encoded(picture) + tail).astype(int) - picture).max() < 10


def test_other_formats_channels_and_orientations_are_decoded():
    picture = smooth(200, 40, 60)
    np.testing.assert_array_equal(decode(encoded(picture, "PNG")), picture)
    np.testing.assert_array_equal(decode(encoded(picture[..., 0], "PNG")), picture[..., [0, 0, 0]])
    transparent = np.dstack([picture, np.full((40, 60), 7, np.uint8)])
    np.testing.assert_array_equal(decode(encoded(transparent, "PNG")), picture)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise makes it upright
    upright = decode(encoded(picture, exif=exif))
    assert abs(upright.astype(int) - np.rot90(picture, -1)).max() < 10


def test_windows_keep_the_order_and_are_bounded_in_pictures_and_in_bytes(monkeypatch):
    monkeypatch.setattr(decoding, "WINDOW_BATCHES", 2)
    monkeypatch.setattr(decoding, "WINDOW_BYTES", 1000)
    sizes = [300, 300, 300, 100, None, 1, 2000, 1]
    pictures = [(n, None if s is None else np.zeros(s, np.uint8)) for n, s in enumerate(sizes)]
    keys = [[key for key, _ in window] for window in windows(iter(pictures), 3)]
    assert keys == [[0, 1, 2, 3], [4, 5, 6], [7]]
    assert [len(window) for window in windows([(0, None)] * 13, 3)] == [6, 6, 1]
    assert list(windows([], 3)) == []
