"""Drawn portraits: the data of the default run, because no photograph may be shipped.

`render` draws a person (`identity.Identity`) in a shot (`shot.Shot`), with the positions of eyes,
nose and mouth. Shapes are painted back to front; turning the head shifts each point by its depth.
One affine warp, at twice the final resolution, puts the figure in front of its background. Equal
arguments give equal bytes.
"""

from typing import NamedTuple

import cv2
import numpy as np

from graft.core.errors import GraftError
from graft.demo.background import SHARP, background, noise_patch
from graft.demo.clothes import draw_clothes, draw_collar, draw_glasses
from graft.demo.face import draw_face
from graft.demo.figure import Figure, placement
from graft.demo.functions import exp, plain_opencv, product
from graft.demo.hair import draw_back_hair, draw_front_hair, draw_strands
from graft.demo.identity import Identity
from graft.demo.shot import Shot
from graft.demo.skin import draw_ears, draw_neck

MIN_SIZE = 64
"""Smallest side of a portrait in pixels."""

BRIGHT = 190
"""Grey level above which highlights are compressed."""

LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
"""Left and right as the viewer has them."""


class Portrait(NamedTuple):
    """A drawn picture and its ground truth."""

    image: np.ndarray
    """uint8 (size, size, 3), RGB."""
    landmarks: np.ndarray
    """float64 (5, 2): x, y in pixels (0 is the first pixel's centre), in the order LANDMARKS."""
    box: np.ndarray
    """float64 (4,): the square around the face as x1, y1, x2, y2 in pixels, within the picture."""


@plain_opencv()
def render(
    identity: Identity | None,
    shot: Shot,
    size: int = 160,
    *,
    beside: tuple[Identity, Shot] | None = None,
) -> Portrait:
    """Draw one picture.

    Without `identity` there is the background only (landmarks and box are then NaN); `beside` is a
    second person, drawn behind the first, with the pose, light and place of its own shot. Raises
    GraftError for a size below MIN_SIZE.
    """
    check_numbers(size=size)
    rng = np.random.default_rng([shot.seed, 0])
    planes = background(rng, size)
    landmarks, box = np.full((5, 2), np.nan), np.full(4, np.nan)
    people = [beside] if beside else []
    if identity:
        people.append((identity, shot))
    for person, pose in people:
        figure = draw_figure(person, pose, size)
        layer = figure.placed(size)
        planes *= 1 - layer[3] / 255
        planes += layer[:3]
        landmarks, box = landmarks_and_box(figure, size)
    return Portrait(develop(planes, shot, rng), landmarks, box)


def draw_figure(identity: Identity, shot: Shot, size: int) -> Figure:
    """A figure on its canvas, painted back to front."""
    figure = Figure(identity, shot, size)
    strands = draw_strands(figure)
    draw_clothes(figure)
    draw_back_hair(figure, strands)
    draw_neck(figure)
    draw_collar(figure)
    draw_ears(figure)
    draw_face(figure)
    draw_front_hair(figure, strands)
    if shot.glasses != "none":
        draw_glasses(figure)
    return figure


def landmarks_and_box(figure: Figure, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (5, 2) and face box (4,) of a figure, in pixels of the finished picture."""
    affine = placement(figure.shot, size, figure.canvas.unit)
    landmarks = product(figure.canvas.pixels(figure.landmarks), affine[:, :2].T) + affine[:, 2]
    middle = figure.canvas.pixels(figure.turn([(0.0, 0.45)], 0.4))
    (centre,) = product(middle, affine[:, :2].T) + affine[:, 2]
    half = 1.35 * figure.shot.scale * size
    box = np.concatenate([centre - half, centre + half])
    return landmarks, np.clip(box, 0, size - 1)


def develop(planes: np.ndarray, shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """Shadows, white balance, exposure, contrast, blur and noise; uint8 (size, size, 3)."""
    size = planes.shape[1]
    fall = np.clip(rng.uniform(0.6, 2.5) * noise_patch(rng, int(rng.integers(8, 40)), size), -1, 1)
    planes = planes * (1 - np.float32(shot.shadow / 2) * (1 + fall))
    exposure = np.float32(shot.exposure * (1 + shot.shadow / 2))
    gain = np.array(shot.white_balance, np.float32) * exposure
    image = np.ascontiguousarray(planes.transpose(1, 2, 0)) * gain
    if shot.grey:
        weights = np.array([[0.299], [0.587], [0.114]], np.float32)
        image = np.repeat(product(image.reshape(-1, 3), weights).reshape(size, size, 1), 3, axis=2)
    image = (image - 118) * np.float32(shot.contrast) + 118
    bright = image > BRIGHT
    image[bright] = 255 - (255 - BRIGHT) * exp((BRIGHT - image[bright]) / (255 - BRIGHT))
    sigma = shot.blur * size / 160
    if sigma > SHARP:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    channels = 1 if shot.grey else 3
    noise = rng.standard_normal((size, size, channels), dtype=np.float32)
    image = image + noise * np.float32(shot.noise)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


@plain_opencv()
def encode(portrait: Portrait, shot: Shot) -> bytes:
    """The picture as a JPEG file; one channel where the shot is grey, as in the real sets."""
    image = portrait.image
    image = image[..., 0] if shot.grey else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, shot.jpeg_quality])
    if not done:
        raise GraftError(
            "opencv-python-headless: it cannot encode a JPEG file. Install the locked environment "
            "again (make setup)."
        )
    return data.tobytes()


def check_numbers(**numbers: int) -> None:
    """Raises GraftError, naming the number, for one that is too small."""
    smallest = {"people": 1, "pictures": 1, "size": MIN_SIZE, "seed": 0}
    for key, value in numbers.items():
        if value < smallest[key]:
            raise GraftError(f"render.{key} is {value}. Give at least {smallest[key]}.")
