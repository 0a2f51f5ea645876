"""Square patches of a picture at many scales, for pictures that show several objects.

After Oquab et al., "Learning and transferring mid-level image representations using convolutional
neural networks" (CVPR 2014), with the grid of Nervana's neon, which published its recipe for VOC.
A network learns the class of single patches (`labels`, `choose`); a picture's score for a class is
the mean over its patches of a power of the class's probability (`scores`).

Boxes are x1, y1, x2, y2 in pixels, x to the right and y down. They are half-open: the first pixel
reaches from 0 to 1. Pictures are uint8 (height, width, 3).
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from graft.config.patches import SCALES
from graft.core.errors import GraftError


def by_scale(
    width: int,
    height: int,
    scales: Sequence[float] = SCALES,
    *,
    enough: int | None = 448,
    after: int = 10,
) -> list[np.ndarray]:
    """The boxes of each scale's patches: float64 (n, 4) each, by rows, then by columns.

    A patch's side is the shorter side of the picture, less one pixel, over the scale. Along either
    axis there are as many patches as it takes to cover the axis, less one pixel, and twice as many
    where that is more than one. Their centres are evenly spaced, with the first and the last patch
    at the ends; a single one is in the middle. The last row and column of pixels are in no patch.

    No further scale follows once there are at least `enough` patches of more than `after` scales;
    with None all do. Both are neon's. A picture of 500 x 375 has 600 patches.

    Raises GraftError for a picture of less than two pixels along an axis.
    """
    if min(width, height) < 2:
        raise GraftError(
            f"patches: a picture of {width} x {height} pixels has no patches. Give pictures of at "
            "least 2 x 2 pixels."
        )
    boxes: list[np.ndarray] = []
    for scale in scales:
        if enough is not None and len(boxes) > after and sum(map(len, boxes)) >= enough:
            break
        side = (min(width, height) - 1) / scale
        left, top = _starts(width - 1, side), _starts(height - 1, side)
        corners = np.stack(np.meshgrid(left, top), axis=-1).reshape(-1, 2)
        # Rounding must not put the last patch beyond the end.
        ends = np.minimum(corners + side, (width - 1, height - 1))
        boxes.append(np.concatenate([corners, ends], axis=1))
    return boxes


def grid(
    width: int,
    height: int,
    scales: Sequence[float] = SCALES,
    *,
    enough: int | None = 448,
    after: int = 10,
) -> np.ndarray:
    """All boxes of `by_scale` in its order: float64 (n, 4)."""
    return np.concatenate(by_scale(width, height, scales, enough=enough, after=after))


def cut(picture: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
    """The patches of a picture, resized to `side` pixels: uint8 (n, side, side, 3).

    boxes: float (n, 4), within the picture, and not between pixels only.

    Each is resized as by Pillow's bilinear filter, which averages where it shrinks, so that nothing
    aliases, and keeps fractions of a pixel: first along the rows, then along the columns. Patches
    of one column share the first pass. (Pillow begins with the columns of tall pictures, which
    changes some values by 1.) It is integer arithmetic: the bytes depend neither on the other
    boxes nor on threads.
    """
    image = Image.fromarray(picture)
    result = np.empty((len(boxes), side, side, 3), np.uint8)
    columns, members = np.unique(boxes[:, [0, 2]], axis=0, return_inverse=True)
    for number, (left, right) in enumerate(columns.tolist()):
        (column,) = np.nonzero(members == number)
        strip = _strip(image, left, right, boxes[column][:, [1, 3]], side)
        for patch in column.tolist():
            box = (0, boxes[patch, 1], side, boxes[patch, 3])
            result[patch] = np.asarray(strip.resize((side, side), Image.Resampling.BILINEAR, box))
    return result


def labels(
    boxes: np.ndarray,
    regions: np.ndarray,
    classes: np.ndarray,
    *,
    background: int,
    of_patch: float = 0.2,
    of_region: float = 0.6,
) -> np.ndarray:
    """The class of each patch: int64 (n,).

    boxes: (n, 4). regions: the objects' boxes (r, 4), with their classes int (r,); r may be 0.

    A patch has the class of the one region that covers at least the share `of_patch` of the patch
    and has at least the share `of_region` of itself in it. With no such region the patch is
    background, and also with several, even of one class: as published, a patch has to show one
    object.
    """
    regions = np.asarray(regions, np.float64).reshape(-1, 4)
    shared = np.minimum(boxes[:, None, 2:], regions[:, 2:])
    shared = shared - np.maximum(boxes[:, None, :2], regions[:, :2])
    shared = np.clip(shared, 0, None).prod(axis=-1)
    shown = shared >= of_patch * _areas(boxes)[:, None]
    shown &= shared >= of_region * _areas(regions)
    patch, region = np.nonzero(shown & (shown.sum(axis=1, keepdims=True) == 1))
    result = np.full(len(boxes), background, np.int64)
    result[patch] = classes[region]
    return result


def choose(labels: np.ndarray, count: int, rng: np.random.Generator, background: int) -> np.ndarray:
    """The numbers of a picture's patches to train on: int64 (at most count,), ascending.

    labels: those of the picture's patches, int (n,). All patches that are not background are
    chosen, or `count` of them at random; random ones of the background fill up to `count`.
    """
    positive = labels != background
    shuffled = rng.permutation(len(labels))
    first = shuffled[np.argsort(~positive[shuffled], kind="stable")]
    return np.sort(first[:count])


def scores(log_probabilities: np.ndarray, starts: np.ndarray, k: float) -> np.ndarray:
    """The logarithm of each picture's score for each class: float64 (pictures, classes).

    log_probabilities: float (patches, classes + 1), the log-softmax of each patch; the last column
    is the background's, which gets no score. starts: the first patch of each picture and, last, the
    number of patches: int (pictures + 1,).

    The score is the mean over the picture's patches of the probability to the power k > 0 (Oquab et
    al.; neon has the sum, which favours pictures with more patches): 1 is the mean, and large ones
    approach the best patch. Its logarithm has the same order and does not underflow; it is -inf
    where all probabilities are 0.

    Raises ValueError for a picture without patches.
    """
    sizes = np.diff(starts)
    if sizes.size == 0 or sizes.min() < 1 or starts[0] != 0 or starts[-1] != len(log_probabilities):
        raise ValueError("each picture needs patches, and each patch a picture")
    result = np.empty((len(sizes), log_probabilities.shape[1] - 1))
    for column in range(result.shape[1]):  # the exponentials of all classes at once may be large
        powers = k * log_probabilities[:, column].astype(np.float64)
        top = np.maximum.reduceat(powers, starts[:-1])
        top[np.isneginf(top)] = 0
        sums = np.add.reduceat(np.exp(powers - np.repeat(top, sizes)), starts[:-1])
        with np.errstate(divide="ignore"):
            result[:, column] = top + np.log(sums)
    return result - np.log(sizes)[:, None]


def _starts(length: float, side: float) -> np.ndarray:
    """Where patches of a side start along an axis of a length: float64 (count,)."""
    # The quotient of a whole number may be a little more than it, as 2.0000000000000004.
    count = math.ceil(length / side - 1e-9)
    if count <= 1:
        return np.array([(length - side) / 2])
    return np.linspace(0, length - side, 2 * count)


def _strip(
    image: Image.Image, left: float, right: float, rows: np.ndarray, side: int
) -> Image.Image:
    """The picture between left and right, `side` wide and as high as it was.

    Only the rows that patches need are there: rows is float (n, 2), where each starts and ends.
    """
    # The filter reaches a pixel of the patch beyond it, and at least one of the picture.
    reach = max(1, np.diff(rows).max() / side) + 1
    top = max(0, math.floor(rows.min() - reach))
    bottom = min(image.height, math.ceil(rows.max() + reach))
    part = image.crop((0, top, image.width, bottom))
    box = (left, 0, right, part.height)
    strip = Image.new("RGB", (side, image.height))
    strip.paste(part.resize((side, part.height), Image.Resampling.BILINEAR, box), (0, top))
    return strip


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
