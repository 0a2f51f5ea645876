import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.core.errors import GraftError
from graft.images import align

FACE = np.array([[60, 70], [101, 72], [82, 95], [66, 118], [98, 119]], np.float64)


def similar(angle, scale, x, y):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


similarities = st.builds(
    similar,
    st.floats(-np.pi, np.pi),
    st.floats(0.05, 20),
    st.floats(-500, 500),
    st.floats(-500, 500),
)


@given(similarities)
def test_a_known_similarity_is_recovered(matrix):
    found = align.similarity(FACE, align.transform(matrix, FACE))
    np.testing.assert_allclose(found, matrix, rtol=1e-9, atol=1e-7)


@given(similarities, st.integers(0, 2**32 - 1))
def test_the_aligned_points_do_not_depend_on_how_the_face_lay(matrix, seed):
    points = FACE + np.random.default_rng(seed).normal(0, 4, FACE.shape)
    target = align.template(112)
    moved = align.transform(matrix, points)
    aligned = align.transform(align.similarity(points, target), points)
    again = align.transform(align.similarity(moved, target), moved)
    np.testing.assert_allclose(again, aligned, atol=1e-6)


def test_similarity_agrees_with_opencv_on_exact_data():
    target = align.transform(similar(0.3, 1.7, 12, -40), FACE)
    theirs, _ = cv2.estimateAffinePartial2D(FACE, target)
    np.testing.assert_allclose(align.similarity(FACE, target), theirs, atol=1e-4)


def test_similarity_is_the_least_squares_solution():
    rng = np.random.default_rng(0)
    points, target = FACE + rng.normal(0, 6, FACE.shape), align.template(160)
    (x, y), one, zero = points.T, np.ones(5), np.zeros(5)
    # x' = a x - b y + c and y' = b x + a y + d, linear in (a, b, c, d).
    system = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, c, d = np.linalg.lstsq(system, np.concatenate(target.T), rcond=None)[0]
    found = align.similarity(points, target)
    np.testing.assert_allclose(found, [[a, -b, c], [b, a, d]], atol=1e-9)


def test_similarity_never_reflects():
    mirrored = FACE * [-1, 1]
    assert np.linalg.det(align.similarity(mirrored, FACE)[:, :2]) > 0


def test_many_faces_at_once_equal_one_by_one():
    faces = FACE + np.random.default_rng(1).normal(0, 10, (7, 5, 2))
    target = align.template(64)
    together = align.similarity(faces, target)
    assert together.shape == (7, 2, 3)
    np.testing.assert_allclose(together, [align.similarity(f, target) for f in faces])


@pytest.mark.parametrize(
    "points",
    [
        np.full((5, 2), 0.1),
        np.full((5, 2), 1e5),
        np.where(np.arange(10).reshape(5, 2) == 3, np.nan, FACE),
        np.where(np.arange(10).reshape(5, 2) == 3, np.inf, FACE),
    ],
)
def test_degenerate_landmarks_are_flagged_and_refused(points):
    matrices = align.similarity(np.stack([FACE, points]), align.template(64))
    assert align.degenerate(matrices).tolist() == [False, True]
    with pytest.raises(ValueError, match="landmarks coincide or are not finite"):
        align.crop(np.zeros((100, 100, 3), np.uint8), matrices[1], 64)


def test_the_template_is_an_upright_symmetric_face_with_room_around():
    left, right, nose, mouth_left, mouth_right = align.TEMPLATE
    np.testing.assert_allclose(left + right * [1, 0], [1, left[1]])
    np.testing.assert_allclose(mouth_left + mouth_right * [1, 0], [1, mouth_left[1]])
    assert nose[0] == 0.5 and left[1] < nose[1] < mouth_left[1]
    eyes = right[0] - left[0]
    assert left[1] > 1.5 * eyes and 1 - mouth_left[1] > eyes


def test_the_margin_scales_the_view_about_the_centre():
    near, far = align.template(101), align.template(101, margin=2)
    np.testing.assert_allclose(near - 50, 2 * (far - 50))
    with pytest.raises(GraftError, match=r"detector\.margin is 0"):
        align.template(101, margin=0)


def test_a_crop_shifted_by_whole_pixels_is_exact_and_grey_beyond_the_edge():
    image = np.random.default_rng(2).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    cut = align.crop(image, np.array([[1, 0, -30], [0, 1, 5]]), 32)
    expected = np.full((32, 32, 3), 128, np.uint8)
    expected[5:, :20] = image[:27, 30:]
    np.testing.assert_array_equal(cut, expected)


@pytest.mark.parametrize("scale", [3.0, 0.9, 0.6, 0.45, 0.3, 0.125, 0.11])
def test_a_crop_of_any_scale_puts_every_pixel_in_its_place(scale):
    y, x = np.mgrid[:400, :600]
    image = np.stack([x * 0.4, y * 0.6, np.full(x.shape, 90)], axis=2).astype(np.uint8)
    matrix = similar(0.2, scale, 16 - 300 * scale, 16 - 200 * scale)
    cut = align.crop(image, matrix, 32).astype(float)
    inverse = cv2.invertAffineTransform(matrix)
    where = align.transform(inverse, np.stack(np.mgrid[:32, :32][::-1], axis=-1))
    inside = ((where > 8) & (where < [590, 390])).all(axis=-1)
    assert inside.sum() > 100
    # The ramps were cut off to whole levels, so on average they lie half a level lower.
    np.testing.assert_allclose(cut[inside, 0] + 0.5, where[inside, 0] * 0.4, atol=1.3)
    np.testing.assert_allclose(cut[inside, 1] + 0.5, where[inside, 1] * 0.6, atol=1.3)


@pytest.mark.parametrize("scale", [0.49, 0.3, 0.13])
def test_shrinking_does_not_alias(scale):
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    matrix = similar(0, scale, 0.0, 0.0)
    cut = align.crop(np.repeat(board[..., None], 3, axis=2), matrix, 32)
    # Blocks of odd side are not quite half black; of the board's 255 levels little is left.
    assert abs(cut[2:-2, 2:-2].astype(int) - 127).max() <= 16


def test_whole_takes_the_central_square():
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, 30:70] = np.arange(40, dtype=np.uint8)[:, None, None] * 4 + 1
    np.testing.assert_array_equal(align.whole(image, 40), image[:, 30:70])
    turned = np.ascontiguousarray(image.transpose(1, 0, 2))
    half = align.whole(turned, 20)
    np.testing.assert_array_equal(half, align.shrink(turned[30:70], 2))
    assert align.whole(image, 120).shape == (120, 120, 3)


def test_shrink_is_the_mean_of_blocks():
    image = np.random.default_rng(3).integers(0, 256, (31, 20, 3), dtype=np.uint8)
    blocks = image[:30, :18].reshape(10, 3, 6, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(align.shrink(image, 3), blocks, atol=0.51)
