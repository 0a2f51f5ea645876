"""Turning a face upright: five landmarks, a similarity transform, and a square crop.

Coordinates are pixels, x to the right and y down; coordinate 0 is the centre of the first
pixel. Pictures are uint8 (height, width, 3).
"""

import cv2
import numpy as np

from graft.core.errors import GraftError

# Where the viewer's left eye, the right eye, the nose tip and the two mouth corners come to
# lie, as shares of the crop's side. The proportions are the mean shape of MTCNN's landmarks on
# photographs. The eyes stand 0.26 of the side apart, which leaves room for the chin below and
# for the ears and most of the hair around: they tell about a person, too.
TEMPLATE = np.array(
    [[0.37, 0.45], [0.63, 0.45], [0.5, 0.605], [0.385, 0.735], [0.615, 0.735]], np.float64
)
TEMPLATE.setflags(write=False)

# The constant colour beyond a picture's edge. A reflected or repeated edge would draw a second
# chin or longer hair, which a classifier would take for real; plain grey is near the mean that
# networks subtract, so it says next to nothing.
BORDER = (128, 128, 128)


def template(size: int, margin: float = 1.0) -> np.ndarray:
    """The five target points in pixels of a crop of `size` x `size`: float64 (5, 2).

    margin: how much more of the surroundings is shown: at 2 the face is half as large.
    Raises GraftError if it is not above 0.
    """
    if not margin > 0:
        raise GraftError(f"detector.margin is {margin}: set it above 0 (1 is the usual framing).")
    return (0.5 + (TEMPLATE - 0.5) / margin) * size - 0.5


def similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, uniform scale and shift that take `points` closest to `target`.

    points: (5, 2), or (n, 5, 2) for n faces at once (any number of points from 2 up).
    target: (5, 2). Returns float64 (2, 3) or (n, 2, 3), for x' = matrix @ [x, y, 1].

    Least squares without reflection (Umeyama 1991, doi:10.1109/34.88573), which has a closed
    form in the plane: with points and target as complex numbers about their means, the best
    a in target = a * points + b is <points, target> / <points, points>.

    A face whose points coincide, are not finite, or resemble the target under no similarity
    has no such transform: its matrix is NaN (see `degenerate`).
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
        # beside what rounding alone makes of coinciding points.
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
    """Whether each of (..., 2, 3) matrices is no transform at all: bool (...)."""
    return ~np.isfinite(matrices).all(axis=(-2, -1))


def transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a (2, 3) matrix to points (..., 2)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def crop(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The `size` x `size` crop that `matrix` (picture to crop) cuts out: uint8 (size, size, 3).

    Where the crop is less than half as large as the picture, the picture is first shrunk by a
    whole number with every pixel counted, so that nothing aliases; enlarging is cubic. Beyond
    the picture's edge the crop is grey (`BORDER`). Raises GraftError for a degenerate matrix.
    """
    if degenerate(matrix):
        raise GraftError("a face cannot be aligned: its landmarks coincide or are not finite.")
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


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Mean of every `factor` x `factor` block; what is left over at the far edges is dropped.

    The pixel (x, y) of the result stands at factor * (x, y) + (factor - 1) / 2.
    """
    height, width = (side // factor for side in image.shape[:2])
    image = image[: height * factor, : width * factor]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
