"""Face alignment: from five landmarks and a similarity transform to an upright square crop.

Coordinates are pixels, x to the right and y down; coordinate 0 is the centre of the first pixel.
Pictures are uint8 (height, width, 3).
"""

import cv2
import numpy as np

from graft.core.errors import GraftError

# The five landmarks (`detect.LANDMARKS`) in the crop, as shares of its side: the mean shape of
# MTCNN's landmarks on photographs. With the eyes 0.26 of the side apart, the crop includes the
# chin, the ears and most of the hair.
TEMPLATE = np.array(
    [[0.37, 0.45], [0.63, 0.45], [0.5, 0.605], [0.385, 0.735], [0.615, 0.735]], np.float64
)
TEMPLATE.setflags(write=False)

# The colour beyond a picture's edge: near the mean that networks subtract. A reflected or repeated
# edge would add a second chin or longer hair, which a classifier could use.
BORDER = (128, 128, 128)


def template(size: int, margin: float = 1.0) -> np.ndarray:
    """The five target points in pixels of a crop of `size` x `size`: float64 (5, 2).

    margin: above 0; at 2 the face is half as large. Raises GraftError otherwise.
    """
    if not margin > 0:
        raise GraftError(f"detector.margin is {margin}. Give a number above 0 (the default is 1).")
    return (0.5 + (TEMPLATE - 0.5) / margin) * size - 0.5


def similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, uniform scale and translation that best map `points` to `target`.

    points: (5, 2), or (n, 5, 2) for n faces (or any number of points from 2 up, instead of 5).
    target: (5, 2). Returns float64 (2, 3) or (n, 2, 3), for x' = matrix @ [x, y, 1].

    Least squares without reflection (Umeyama 1991, doi:10.1109/34.88573), in closed form: with
    points and target as complex numbers about their means, the best a in target = a * points + b
    is <points, target> / <points, points>.

    The matrix is NaN for points that coincide, are not finite, or do not resemble the target under
    any similarity (see `degenerate`).
    """
    points = np.asarray(points, np.float64)
    target = np.asarray(target, np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        source = points[..., 0] + 1j * points[..., 1]
        wanted = target[..., 0] + 1j * target[..., 1]
        centre, goal = source.mean(axis=-1), wanted.mean()
        source, wanted = source - centre[..., None], wanted - goal
        spread = (np.abs(source) ** 2).sum(axis=-1)
        product = (source.conj() * wanted).sum(axis=-1)
        turn = product / spread
        shift = goal - turn * centre
        # The share of the target's variance that the fit explains, and the points' spread
        # compared with the rounding error of coinciding points.
        explained = np.abs(product) ** 2 / (spread * (np.abs(wanted) ** 2).sum())
        sound = (explained > 1e-6) & (spread > 1e-12 * (1 + np.abs(centre) ** 2))
    matrices = np.stack(
        [
            np.stack([turn.real, -turn.imag, shift.real], axis=-1),
            np.stack([turn.imag, turn.real, shift.imag], axis=-1),
        ],
        axis=-2,
    )
    matrices[~sound] = np.nan
    return matrices


def degenerate(matrices: np.ndarray) -> np.ndarray:
    """Which of the matrices (..., 2, 3) are not finite: bool (...)."""
    return ~np.isfinite(matrices).all(axis=(-2, -1))


def transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a (2, 3) matrix to points (..., 2)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def crop(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The crop uint8 (size, size, 3) to which `matrix` maps the picture.

    A scale of one half or less first shrinks the picture by a whole number (`shrink`), which
    prevents aliasing; enlarging is bicubic. Beyond the picture's edge the crop is grey (`BORDER`).
    Raises ValueError for a degenerate matrix.
    """
    if degenerate(matrix):
        raise ValueError("the landmarks coincide or are not finite")
    matrix = np.asarray(matrix, np.float64)
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    factor = min(int(1 / scale), *image.shape[:2])
    if factor > 1:
        image = shrink(image, factor)
        larger = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
        matrix = matrix @ larger
    return cv2.warpAffine(
        image,
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR if scale < 1 else cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=BORDER,
    )


def whole(image: np.ndarray, size: int) -> np.ndarray:
    """The picture's largest central square, resized: uint8 (size, size, 3)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    method = cv2.INTER_AREA if size < side else cv2.INTER_CUBIC
    return cv2.resize(square, (size, size), interpolation=method)


def stretched(image: np.ndarray, size: int) -> np.ndarray:
    """The whole picture, resized to a square: uint8 (size, size, 3)."""
    method = cv2.INTER_AREA if size < min(image.shape[:2]) else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), interpolation=method)


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """The mean of every `factor` x `factor` block; an incomplete block at the far edge is dropped.

    The centre of the result's pixel (x, y) is at factor * (x, y) + (factor - 1) / 2.
    """
    height, width = (side // factor for side in image.shape[:2])
    image = image[: height * factor, : width * factor]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
