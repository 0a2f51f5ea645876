"""Colours: RGB in [0, 255]."""

import numpy as np

from graft.demo.functions import square

RGB = tuple[float, float, float]

SKIN = np.array(
    [[236, 204, 184], [222, 180, 150], [198, 148, 112], [156, 106, 76], [108, 72, 52]], np.float32
)
HAIR = np.array(
    [[30, 25, 24], [58, 40, 30], [96, 66, 44], [128, 74, 42], [176, 138, 88], [214, 186, 136]],
    np.float32,
)
IRIS = np.array(
    [[72, 46, 30], [104, 76, 42], [86, 104, 66], [78, 108, 140], [112, 124, 134]], np.float32
)


def rgb(colour: np.ndarray) -> RGB:
    """A colour of shape (3,) as Python numbers."""
    red, green, blue = colour.tolist()
    return red, green, blue


def between(colours: np.ndarray, position: float) -> np.ndarray:
    """The colour (3,) at `position` in [0, len(colours) - 1], interpolated between the rows."""
    rows = np.arange(len(colours))
    return np.array([np.interp(position, rows, channel) for channel in colours.T])


def iris_probabilities(skin: float) -> np.ndarray:
    """Probabilities of the rows of IRIS: dark skin goes with brown eyes."""
    shares = np.array([1.0, 0.6, 0.5, 0.9, 0.5]) * np.array([1, *[square(1 - skin)] * 4])
    return shares / shares.sum()


def random_colour(rng: np.random.Generator) -> RGB:
    """Any hue, mostly muted: RGB in [10, 245]."""
    grey = rng.uniform(20, 235)
    return rgb(np.clip(grey + rng.normal(0, 20, 3), 10, 245))
