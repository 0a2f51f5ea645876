"""YuNet without its file; tests/real/test_yunet_real.py has what needs it."""

import numpy as np
import pytest

from graft.core.errors import GraftError
from graft.images.detectors import yunet


def cell(x, y, score, width=20.0, height=20.0):
    """A row of the network's output, with landmarks at x + 1, y + 2 and so on."""
    landmarks = np.add.outer(np.arange(1, 10, 2), [0, 1]) + [x, y]
    return np.float32([x, y, width, height, *landmarks.ravel(), score])


def test_cells_that_see_one_face_are_averaged_by_score():
    # Of 20 pixels, boxes one apart overlap by 19 / 21, four apart by 16 / 24, twelve by 8 / 32.
    cells = np.stack([cell(12, 0, 0.5), cell(0, 0, 0.9), cell(1, 0, 0.3), cell(4, 0, 0.4)])
    given = cells.copy()
    faces = yunet.merged(cells)
    np.testing.assert_array_equal(cells, given)
    assert faces.dtype == np.float32 and faces.shape == (2, 15)
    assert faces[:, 14].tolist() == pytest.approx([0.9, 0.5])
    # (0 * 0.9 + 1 * 0.3) / 1.2 = 0.25; the cell at 4 is the same face, but not averaged.
    np.testing.assert_allclose(faces[0, :4], [0.25, 0, 20.25, 20], atol=1e-6)
    np.testing.assert_allclose(faces[0, 4:8], [1.25, 2, 3.25, 4], atol=1e-6)
    np.testing.assert_allclose(faces[1, :6], [12, 0, 32, 20, 13, 2], atol=1e-6)


def test_no_cells_are_no_faces():
    assert yunet.merged(np.zeros((0, 15), np.float32)).shape == (0, 15)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((250, 250), 1.0),
        ((192, 320), 1.0),
        ((3000, 4000), 320 / 3000),
        ((321, 9000), 320 / 321),
        ((48, 48), 4.0),
        ((1, 1), 192.0),
        ((100, 640), 1.0),
        ((64, 320), 2.0),  # not 3: its longer side would be 960 pixels
        ((5, 5000), 1.0),
    ],
)
def test_pictures_are_given_to_the_network_at_the_size_of_its_faces(shape, expected):
    assert yunet.scale(*shape) == yunet.scale(*shape[::-1]) == pytest.approx(expected)


def test_a_missing_and_another_file_are_refused(tmp_path):
    with pytest.raises(GraftError, match=r"needs the file face_.*\.onnx.*set predict\.detector"):
        yunet.YuNet()
    with pytest.raises(GraftError, match=r"yunet\.onnx: the file cannot be read"):
        yunet.YuNet(file=tmp_path / "yunet.onnx")
    (tmp_path / "yunet.onnx").write_bytes(b"another network")
    with pytest.raises(GraftError, match=r"yunet\.onnx: the file is not the published .* 8f2383e4"):
        yunet.YuNet(file=tmp_path / "yunet.onnx")
