"""The background of a drawn portrait: clutter, out of focus."""

import cv2
import numpy as np

from graft.demo.functions import cos, product, sin
from graft.demo.palette import random_colour
from graft.demo.shapes import curve, ellipse, texture

SHARP = 0.25
"""Pixels; a blur of a smaller standard deviation is left out."""


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A gradient with shapes of any colour, blurred by any amount; float32 (3, size, size)."""
    corners = np.array([[random_colour(rng) for _ in range(2)] for _ in range(2)], np.float32)
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
        turn = np.array([(cos(angle), sin(angle)), (-sin(angle), cos(angle))])
        points = np.round((product(shape, turn) + (x, y)) * 16).astype(np.int32)
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
