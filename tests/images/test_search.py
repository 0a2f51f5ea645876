"""The search for a face: turned pictures, small faces, several faces."""

import cv2
import numpy as np
import pytest

from graft.config.datasets import Detector
from graft.images.crop import Crop, Cropper
from graft.images.search import is_upright


@pytest.fixture(scope="module")
def cropper():
    return Cropper(96, Detector(batch_size=4))


def turned(image, degrees):
    """A picture that has to be turned clockwise by so many degrees to be upright."""
    return np.ascontiguousarray(np.rot90(image, degrees // 90))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_face_in_a_turned_picture_is_cropped_as_in_the_upright_one(drawn, cropper, degrees):
    images = [portrait.image for portrait in drawn]
    upright, others = cropper(images), cropper([turned(image, degrees) for image in images])
    # Drawn faces look more like others that lie on their sides than photographs do: two of twelve.
    pairs = [pair for pair in zip(upright, others, strict=True) if pair[1].turn == degrees]
    assert len(pairs) >= len(drawn) - 2
    for before, after in pairs:
        assert isinstance(before, Crop) and isinstance(after, Crop)
        assert before.turn == 0 and is_upright(after.landmarks)
        np.testing.assert_array_equal(after.image, before.image)
        np.testing.assert_array_equal(after.landmarks, before.landmarks)
        np.testing.assert_array_equal(after.box, before.box)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_the_box_that_is_given_is_turned_with_the_picture(drawn, cropper, degrees):
    left, right = drawn[0].image, drawn[1].image[:160, :160]
    image = turned(np.concatenate([left, right], axis=1), degrees)
    wanted = [np.array([30.0, 30, 130, 130]), np.array([190.0, 30, 290, 130])]
    found = []
    for box in wanted:
        x1, y1, x2, y2 = box
        prior = {
            0: box,
            90: np.array([y1, 320 - x2, y2, 320 - x1]),
            180: np.array([320 - x2, 160 - y2, 320 - x1, 160 - y1]),
            270: np.array([160 - y2, x1, 160 - y1, x2]),
        }[degrees]
        (crop,) = cropper([image], [prior])
        assert crop.turn == degrees and crop.faces == 2
        found.append(crop.landmarks[:, 0].mean())
    assert found[0] < 160 < found[1]


@pytest.mark.parametrize("share", [0.07, 0.055])
@pytest.mark.parametrize("degrees", [0, 180])
def test_a_small_face_in_a_large_photograph_is_looked_for_where_there_is_no_large_one(
    drawn, share, degrees
):
    y, x = np.mgrid[:1200, :1600]
    photograph = np.stack([x // 16 + 60, y // 12 + 60, (x + y) // 28 + 60], axis=2).astype(np.uint8)
    image = drawn[0].image
    side = round(1200 * share / 0.5)  # a face is half as wide as its portrait
    photograph[500 : 500 + side, 700 : 700 + side] = cv2.resize(
        image, (side, side), interpolation=cv2.INTER_AREA
    )
    photograph = turned(photograph, degrees)
    (large,) = Cropper(64, Detector(min_face=0.15))([photograph])
    assert large == "no_face"
    (small,) = Cropper(64, Detector())([photograph])
    assert small.turn == degrees
    centre = small.landmarks.mean(axis=0)
    assert (abs(centre - [700 + side / 2, 500 + side / 2]) < side / 4).all()


@pytest.mark.parametrize("degrees", [0, 90])
def test_pictures_without_a_face_stay_without(cropper, degrees):
    noise = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    plain = np.full((90, 120, 3), 200, np.uint8)
    assert cropper([turned(noise, degrees), turned(plain, degrees), "corrupt"]) == [
        "no_face",
        "no_face",
        "corrupt",
    ]
