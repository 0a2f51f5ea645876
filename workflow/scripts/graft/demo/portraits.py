"""Drawn portraits: the embedded default's data, because no photograph may be shipped.

`render` draws a person (`people.Identity`) in a shot (`people.Shot`) and knows where the eyes, nose
and mouth are. Shapes are painted back to front; turning the head shifts every point by its depth.
One affine warp, at twice the final resolution, puts the figure before its background. Equal
arguments give equal bytes.
"""

from typing import NamedTuple

import cv2
import numpy as np

from graft.core.errors import GraftError
from graft.demo.body import placement
from graft.demo.face import Face
from graft.demo.hair import Hair
from graft.demo.people import BRIGHT, SHARP, Identity, Shot, random_colour
from graft.demo.portrait_archives import check_numbers
from graft.demo.shapes import curve, ellipse, texture


class Portrait(NamedTuple):
    """A drawn picture and its ground truth."""

    image: np.ndarray
    """uint8 (size, size, 3), RGB."""
    landmarks: np.ndarray
    """float64 (5, 2): x, y in pixels (0 is the first pixel's centre), in the order LANDMARKS."""
    box: np.ndarray
    """float64 (4,): the square around the face as x1, y1, x2, y2 in pixels, within the picture."""


class Figure(Face, Hair):
    """One person, drawn on a canvas for one shot."""


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Clutter: a gradient, things of any colour, out of focus by any amount; float32 (3, s, s)."""
    corners = np.float32([[random_colour(rng) for _ in range(2)] for _ in range(2)])
    image = cv2.resize(corners, (size, size), interpolation=cv2.INTER_LINEAR)
    image = np.clip(image, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(2, 16)):
        colour = random_colour(rng)
        x, y = rng.uniform(-0.1, 1.1, 2) * size
        kind, angle = rng.choice(("disc", "box", "pole", "blob")), rng.uniform(0, 2 * np.pi)
        length, width = rng.uniform(0.08, 0.6) * size, rng.uniform(0.02, 0.3) * size
        if kind == "disc":
            shape = ellipse(0, 0, length / 2, width)
        elif kind == "box":
            shape = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (length, width)
        elif kind == "pole":
            shape = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (2 * size, width * 0.2)
        else:
            shape = curve(rng.normal(0, 0.5, (6, 2)) * length, closed=True)
        turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
        points = np.round((shape @ turn + (x, y)) * 16).astype(np.int32)
        cv2.fillPoly(image, [points], colour, cv2.LINE_AA, shift=4)
    sigma = rng.uniform(0.0, 0.035) * size
    if sigma > SHARP:
        image = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    planes = image.astype(np.float32).transpose(2, 0, 1)
    return planes * (1 + np.float32(rng.uniform(0, 0.06)) * noise_patch(rng, 64, size))


def noise_patch(rng: np.random.Generator, extent: int, size: int) -> np.ndarray:
    """A random square of the noise tile, `extent` pixels wide, enlarged: float32 (size, size)."""
    x, y = rng.integers(0, 512 - extent, 2)
    patch = texture()[y : y + extent, x : x + extent]
    return cv2.resize(patch, (size, size), interpolation=cv2.INTER_CUBIC)


def render(
    identity: Identity | None,
    shot: Shot,
    size: int = 160,
    *,
    beside: tuple[Identity, Shot] | None = None,
) -> Portrait:
    """Draw one picture.

    `identity` None leaves the background only (landmarks and box are then NaN); `beside` is a
    second person, drawn behind the first with its own shot's pose, light and place. Raises
    GraftError for a size below MIN_SIZE.
    """
    check_numbers(size=size)
    rng = np.random.default_rng([shot.seed, 0])
    planes = background(rng, size)
    landmarks, box = np.full((5, 2), np.nan), np.full(4, np.nan)
    people = [(identity, shot)] if identity else []
    for who, how in [beside, *people] if beside else people:
        figure = Figure(who, how, size)
        layer = figure.placed(size)
        planes *= 1 - layer[3] / 255
        planes += layer[:3]
        landmarks, box = landmarks_and_box(figure, how, size)
    return Portrait(develop(planes, shot, rng), landmarks, box)


def landmarks_and_box(figure: Figure, shot: Shot, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (5, 2) and face box (4,) of a figure, in pixels of the finished picture."""
    affine = placement(shot, size, figure.canvas.unit)
    landmarks = figure.canvas.pixels(figure.landmarks) @ affine[:, :2].T + affine[:, 2]
    middle = figure.canvas.pixels(figure.turn([(0.0, 0.45)], 0.4)) @ affine[:, :2].T + affine[:, 2]
    half = 1.35 * shot.scale * size
    box = np.concatenate([middle[0] - half, middle[0] + half])
    return landmarks, np.clip(box, 0, size - 1)


def develop(planes: np.ndarray, shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """Shadows, white balance, exposure, contrast, blur and noise; uint8 (size, size, 3)."""
    size = planes.shape[1]
    fall = np.clip(rng.uniform(0.6, 2.5) * noise_patch(rng, int(rng.integers(8, 40)), size), -1, 1)
    planes = planes * (1 - np.float32(shot.shadow / 2) * (1 + fall))
    gain = np.float32(shot.white_balance) * np.float32(shot.exposure * (1 + shot.shadow / 2))
    image = np.ascontiguousarray(planes.transpose(1, 2, 0)) * gain
    if shot.grey:
        grey = image @ np.float32([0.299, 0.587, 0.114])
        image = np.repeat(grey[..., None], 3, axis=2)
    image = (image - 118) * np.float32(shot.contrast) + 118
    bright = image > BRIGHT  # highlights bend over softly
    image[bright] = 255 - (255 - BRIGHT) * np.exp((BRIGHT - image[bright]) / (255 - BRIGHT))
    sigma = shot.blur * size / 160
    if sigma > SHARP:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    channels = 1 if shot.grey else 3
    noise = rng.standard_normal((size, size, channels), dtype=np.float32)
    image = image + noise * np.float32(shot.noise)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def encode(portrait: Portrait, shot: Shot) -> bytes:
    """The picture as a JPEG file; one channel where the shot is grey, as in the real sets."""
    image = portrait.image
    image = image[..., 0] if shot.grey else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, shot.jpeg_quality])
    if not done:
        raise GraftError(
            "OpenCV could not encode a portrait as JPEG: reinstall opencv-python-headless."
        )
    return data.tobytes()
