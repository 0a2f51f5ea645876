"""Patches: the published grid, labels by hand, and scores that do not underflow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from graft.core.errors import GraftError
from graft.images import patches

NONE = 20
SIDES = st.integers(2, 700)


@pytest.mark.parametrize(
    ("width", "height", "count"),
    [(500, 375, 600), (375, 500, 600), (500, 333, 660), (500, 500, 449)],
)
def test_published_numbers_of_patches(width, height, count):
    assert len(patches.grid(width, height)) == count


def test_scales_stop_once_there_are_enough_patches_of_enough_scales():
    square = [len(boxes) for boxes in patches.by_scale(500, 500, enough=None)]
    assert square == [1, 16, 16, 16, 36, 36, 36, 64, 64, 64, 100, 100, 100]
    assert len(patches.by_scale(500, 500)) == 11
    assert len(patches.by_scale(500, 500, enough=450)) == 12
    assert len(patches.by_scale(500, 500, enough=1, after=2)) == 3
    assert len(patches.grid(500, 500, enough=None)) == sum(square)


def test_a_grid_by_hand():
    # Sides 4 and 2 on 8 x 4, less a pixel: two columns, doubled, of one row; then 4, 2, doubled.
    one, two = patches.by_scale(9, 5, (1, 2))
    left = np.linspace(0, 4, 4)
    assert np.allclose(one, np.column_stack([left, 0 * left, left + 4, 0 * left + 4]))
    assert np.allclose(two[:8, 1], 0)
    assert np.allclose(two[:8, 0], np.linspace(0, 6, 8))
    assert np.allclose(two[::8, 1], np.linspace(0, 2, 4))
    # A single patch is in the middle of its axis, here all of it.
    assert np.allclose(patches.grid(9, 9, (1,)), [[0, 0, 8, 8]])


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES)
def test_patches_are_squares_inside_the_picture_and_cover_it(width, height):
    if max(width, height) > 20 * min(width, height):
        return  # thousands of patches
    for scale, boxes in zip(
        patches.SCALES, patches.by_scale(width, height, enough=None), strict=True
    ):
        side = (min(width, height) - 1) / scale
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= (width - 1, height - 1)).all()
        assert np.allclose(boxes[:, 2:] - boxes[:, :2], side)
        counts = []
        for axis, length in ((0, width - 1), (1, height - 1)):
            starts = np.unique(boxes[:, axis])
            counts.append(len(starts))
            if len(starts) > 1:
                assert starts[0] == 0
                assert boxes[:, axis + 2].max() == pytest.approx(length)
                assert np.diff(starts).max() < side  # neighbours overlap: no gap
            else:
                assert side == pytest.approx(length)
        assert len(boxes) == np.prod(counts)
        order = np.lexsort((boxes[:, 0], boxes[:, 1]))
        assert (order == np.arange(len(boxes))).all()


def test_a_mirrored_picture_has_mirrored_patches():
    boxes = patches.grid(500, 375)
    mirrored = np.column_stack([499 - boxes[:, 2], boxes[:, 1], 499 - boxes[:, 0], boxes[:, 3]])
    ordered, expected = (rows[np.lexsort(rows.round(6).T)] for rows in (mirrored, boxes))
    assert np.allclose(ordered, expected)


def test_a_picture_of_one_pixel_has_no_patches():
    with pytest.raises(GraftError, match="1 x 9 pixels"):
        patches.grid(1, 9)


def alone(picture, box, side, *, passes=2):
    x1, y1, x2, y2 = box
    image, bilinear = Image.fromarray(picture), Image.Resampling.BILINEAR
    if passes == 1:
        return np.asarray(image.resize((side, side), bilinear, box=tuple(box)))
    rows = image.resize((side, image.height), bilinear, box=(x1, 0, x2, image.height))
    return np.asarray(rows.resize((side, side), bilinear, box=(0, y1, side, y2)))


@pytest.mark.parametrize("side", [7, 24, 60])
@pytest.mark.parametrize(("width", "height"), [(71, 50), (40, 73)])
def test_patches_are_cut_as_pillow_resizes_each_alone(width, height, side):
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    boxes = patches.grid(width, height)
    cut = patches.cut(picture, boxes, side)
    assert (cut.shape, cut.dtype) == ((len(boxes), side, side, 3), np.uint8)
    assert (cut == [alone(picture, box, side) for box in boxes]).all()
    # Pillow may resize columns before rows, and rounds in between.
    whole = np.stack([alone(picture, box, side, passes=1) for box in boxes])
    assert np.abs(whole.astype(int) - cut).max() <= 1
    # The same bytes whichever other patches are asked for, in whatever order.
    few = np.random.default_rng(1).permutation(len(boxes))[:40]
    assert (patches.cut(picture, boxes[few], side) == cut[few]).all()
    assert (patches.cut(picture, boxes[-1:], side) == cut[-1:]).all()
    assert patches.cut(picture, boxes[:0], side).shape == (0, side, side, 3)


def test_patches_do_not_alias():
    # Stripes of one pixel, black and white, shrunk by 8: grey; a sample of pixels would keep some.
    stripes = np.zeros((65, 65, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(patches.cut(stripes, patches.grid(65, 65, (1,)), 8)) < 10


def test_a_patch_keeps_fractions_of_a_pixel():
    ramp = np.tile(np.arange(0, 250, 5, dtype=np.uint8)[:, None], (50, 1, 3))
    (patch,) = patches.cut(ramp, np.array([[10.4, 3, 20.4, 13]]), 10)
    # Pixel i has the value 5 i at i + 0.5, so the first one of the patch, at 10.9, has 52.
    assert patch[0, :, 0].tolist() == list(range(52, 102, 5))


def test_a_patch_has_the_class_of_the_one_object_it_shows():
    patch = np.array([[0, 0, 10, 10]], np.float64)

    def label(*regions):
        boxes = np.array(regions, np.float64).reshape(-1, 4)
        return patches.labels(patch, boxes, np.arange(len(boxes)), background=NONE)[0]

    assert label() == NONE
    assert label((0, 0, 5, 4)) == 0  # 20 of 100, all of the region
    assert label((0, 0, 5, 3.9)) == NONE  # less than 20 of 100
    assert label((4, 0, 14, 10)) == 0  # 60 of the region's 100
    assert label((4.1, 0, 14.1, 10)) == NONE
    assert label((0, 0, 100, 100)) == NONE  # fills the patch, but is mostly outside
    assert label((20, 20, 30, 30), (0, 0, 5, 5)) == 1
    assert label((0, 0, 5, 5), (5, 5, 10, 10)) == NONE
    assert label((0, 0, 5, 5), (5, 5, 10, 7)) == 0  # the second is too small to count
    same = np.array([[0, 0, 5, 5], [5, 5, 10, 10]], np.float64)
    assert patches.labels(patch, same, np.array([3, 3]), background=NONE) == [NONE]
    assert patches.labels(patch, same, np.array([3, 3]), background=NONE).dtype == np.int64


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 6))
def test_labels_are_those_of_one_patch_and_one_region_at_a_time(seed, count):
    rng = np.random.default_rng(seed)
    boxes = patches.grid(90, 60)
    first, second = np.sort(rng.integers(0, (90, 60), (2, count, 2)), axis=0)
    regions, classes = np.concatenate([first, second + 1], axis=1), rng.integers(0, 3, count)

    def slow(box):
        found = []
        for region, kind in zip(regions, classes, strict=True):
            width = min(box[2], region[2]) - max(box[0], region[0])
            height = min(box[3], region[3]) - max(box[1], region[1])
            both = max(width, 0) * max(height, 0)
            patch = both / ((box[2] - box[0]) * (box[3] - box[1]))
            if patch >= 0.2 and both / np.prod(region[2:] - region[:2]) >= 0.6:
                found.append(kind)
        return found[0] if len(found) == 1 else NONE

    expected = [slow(box) for box in boxes]
    assert patches.labels(boxes, regions, classes, background=NONE).tolist() == expected


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 30), st.integers(0, 30), st.integers(1, 20))
def test_patches_to_train_on_are_the_positives_and_random_background(seed, good, bad, count):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.r_[np.arange(good) % 5, np.full(bad, NONE)])
    chosen = patches.choose(labels, count, rng, NONE)
    assert chosen.dtype == np.int64
    assert (np.diff(chosen) > 0).all()
    assert len(chosen) == min(count, len(labels))
    assert np.count_nonzero(labels[chosen] != NONE) == min(good, count)


def test_every_patch_of_a_kind_is_as_likely_to_be_chosen():
    labels = np.array([NONE, 1, NONE, NONE, 2, NONE])
    rng = np.random.default_rng(0)
    drawn = np.concatenate([patches.choose(labels, 4, rng, NONE) for _ in range(2000)])
    counts = np.bincount(drawn, minlength=6)
    assert counts[labels != NONE].tolist() == [2000, 2000]
    assert counts[labels == NONE] == pytest.approx(1000, abs=100)
    drawn = np.concatenate([patches.choose(labels, 1, rng, NONE) for _ in range(2000)])
    assert np.bincount(drawn, minlength=6)[[1, 4]] == pytest.approx(1000, abs=100)


def test_scores_by_hand():
    probabilities = np.array([[0.5, 0.1, 0.4], [0.1, 0.1, 0.8], [0.2, 0.7, 0.1]])
    starts = np.array([0, 2, 3])
    found = patches.scores(np.log(probabilities), starts, 2)
    assert np.exp(found) == pytest.approx(np.array([[0.13, 0.01], [0.04, 0.49]]))
    found = patches.scores(np.log(probabilities), starts, 1)
    assert np.exp(found) == pytest.approx(np.array([[0.3, 0.1], [0.2, 0.7]]))


def test_scores_neither_underflow_nor_fail_at_probabilities_of_zero():
    logs = np.array([[-800.0, -np.inf, 0], [-900.0, -np.inf, 0]], np.float32)
    found = patches.scores(logs, np.array([0, 2]), 5)
    assert found[0, 0] == pytest.approx(-4000 - np.log(2))
    assert found[0, 1] == -np.inf


def test_scores_want_patches_for_every_picture():
    for starts in ([0, 2, 2], [0, 1], [1, 2], [0]):
        with pytest.raises(ValueError, match="each picture needs patches"):
            patches.scores(np.zeros((2, 3)), np.array(starts), 1)
