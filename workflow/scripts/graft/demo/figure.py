"""The figure of a drawn person: its canvas, and the positions and colours that all parts share.

The parts are drawn by `clothes`, `skin`, `face` and `hair`.
"""

import cv2
import numpy as np
from numpy.typing import ArrayLike

from graft.demo.functions import cos, exp, product, sin, tanh
from graft.demo.identity import Identity
from graft.demo.palette import SKIN, between
from graft.demo.shapes import Canvas, curve, texture
from graft.demo.shot import Shot


def placement(shot: Shot, size: int, unit: float) -> np.ndarray:
    """The affine map (2, 3) from canvas pixels to a picture of `size` pixels."""
    scale = shot.scale * size / unit
    along, aside = scale * cos(shot.roll), scale * sin(shot.roll)
    linear = np.array([(along, -aside), (aside, along)])
    pivot = (np.array([0.0, 0.22]) - (Canvas.LEFT, Canvas.TOP)) * unit - 0.5
    target = np.array([0.5 + shot.x, 0.5 + shot.y]) * size - 0.5
    return np.hstack([linear, target[:, None] - product(linear, pivot[:, None])])


class Figure:
    """One person in one shot.

    Positions are in the face frame (see `shapes`); `head` is the outline of the head (n, 2),
    `landmarks` the five LANDMARKS (5, 2). Colours are RGB of shape (3,).
    """

    def __init__(self, identity: Identity, shot: Shot, size: int):
        self.identity = identity
        self.shot = shot
        self.canvas = Canvas(size)
        self.light = np.array(shot.light)
        self.skin = between(SKIN, identity.skin * (len(SKIN) - 1))
        self.crease = self.skin * (0.42, 0.33, 0.31)
        self.hair = np.array(identity.hair_colour)
        self._place_features()
        self._outline_head()

    def placed(self, size: int) -> np.ndarray:
        """The figure in the picture: premultiplied RGBA, float32 (4, size, size)."""
        affine = placement(self.shot, 2 * size, self.canvas.unit)
        fine = (2 * size, 2 * size)
        layer = np.empty((4, size, size), dtype=np.float32)
        for plane, out in zip(self.canvas.planes, layer, strict=True):
            warped = cv2.warpAffine(plane, affine, fine, borderMode=cv2.BORDER_REPLICATE)
            cv2.resize(warped, (size, size), out, interpolation=cv2.INTER_AREA)
        return layer

    def turn(self, points: ArrayLike, depth: float | np.ndarray | None = None) -> np.ndarray:
        """Positions of points (..., 2) of the upright head after it turns by yaw and pitch.

        depth: distance in front of the axis of the head; that of an ellipsoid if left out.
        """
        upright = np.asarray(points, dtype=np.float64)
        x, y = upright[..., 0], upright[..., 1]
        if depth is None:
            depth = 1.05 * np.sqrt(np.clip(1 - (x / 1.12) ** 2 - ((y - 0.2) / 1.75) ** 2, 0, 1))
        yaw, pitch = self.shot.yaw, self.shot.pitch
        return np.stack(
            [x * cos(yaw) + depth * sin(yaw), y * cos(pitch) - depth * sin(pitch)],
            axis=-1,
        )

    def noise(
        self, across: np.ndarray, down: np.ndarray, grain_x: float, grain_y: float
    ) -> np.ndarray:
        """Smooth noise over the grid of a window, with `grain` noise pixels per unit."""
        offset = self.shot.seed % 509
        rows = ((down + 4) * grain_y + offset).astype(int) % 512
        columns = ((across + 4) * grain_x + offset).astype(int) % 512
        return texture()[np.ix_(rows, columns)]

    def _place_features(self) -> None:
        identity, shot = self.identity, self.shot
        self.eye_x = identity.eye_spacing / 2
        self.mouth_y = identity.mouth_height + 0.03 * shot.mouth_open
        self.mouth_x = identity.mouth_width * (1 + 0.10 * shot.smile - 0.06 * shot.mouth_open)
        self.corner_y = self.mouth_y - 0.065 * shot.smile
        self.hair_bottom = -0.3 + 2.7 / (1 + exp(-1.9 * (identity.hair_length - 0.6)))
        corners = [
            (-self.eye_x, -0.012),  # between the lids
            (self.eye_x, -0.012),
            (0.0, identity.nose_length),
            (-self.mouth_x, self.corner_y),
            (self.mouth_x, self.corner_y),
        ]
        depths = np.array([0.92, 0.92, 1.18, 0.93, 0.93])
        self.landmarks = self.turn(corners, depths)

    def _outline_head(self) -> None:
        identity = self.identity
        square = tanh(0.36 * identity.jaw)
        self.chin_y = (
            1.79 * identity.face_length
            + 0.09 * self.shot.mouth_open
            + identity.chin
            + 0.10 * square
        )
        width = 1.07 * identity.face_width
        jaw = width * (0.79 + 0.22 * square)
        chin = 0.42 + 0.20 * square
        self.jaw, self.chin = jaw, chin
        half = [
            (0.0, -1.50),
            (0.52 * width, -1.36),
            (0.90 * width, -0.88),
            (width, -0.28),
            (0.985 * width, 0.32),
            (0.5 * jaw + 0.46 * width, 0.78),
            (jaw, 1.10),
            (0.5 * (jaw + chin) + 0.03, 1.45 * identity.face_length),
            (chin, self.chin_y - 0.11),
            (0.0, self.chin_y),
        ]
        outline = curve(np.vstack([half, np.array(half[-2:0:-1]) * (-1, 1)]), closed=True)
        depth = 0.55 * np.clip((outline[:, 1] - 0.5) / 1.2, 0, 1)
        self.head = self.turn(outline, depth)
