"""The body of a drawn person: what several parts share, clothes, neck and ears."""

import cv2
import numpy as np

from graft.demo.people import HANGS, NECKLINES, SKIN, STRIPED, Identity, Shot, ramp
from graft.demo.shapes import Canvas, curve, mirrored, ribbon, texture


def placement(shot: Shot, size: int, unit: float) -> np.ndarray:
    """The affine map (2, 3) from canvas pixels to a picture of `size` pixels."""
    scale = shot.scale * size / unit
    cos, sin = scale * np.cos(shot.roll), scale * np.sin(shot.roll)
    linear = np.array([(cos, -sin), (sin, cos)])
    pivot = (np.array([0.0, 0.22]) - (Canvas.LEFT, Canvas.TOP)) * unit - 0.5
    target = np.array([0.5 + shot.x, 0.5 + shot.y]) * size - 0.5
    return np.hstack([linear, (target - linear @ pivot)[:, None]])


class Body:
    """A person on a canvas for one shot; `Figure` adds face and hair."""

    def __init__(self, identity: Identity, shot: Shot, size: int):
        self.identity = identity
        self.shot = shot
        self.canvas = Canvas(size)
        self.rng = np.random.default_rng([shot.seed, 1])
        self.light = np.array(shot.light)
        self.skin = ramp(SKIN, identity.skin * (len(SKIN) - 1))
        self.hair = np.array(identity.hair_colour)
        self.dark = self.skin * (0.42, 0.33, 0.31)  # the colour of creases
        self._measure()
        self._draw()

    def placed(self, size: int) -> np.ndarray:
        """The figure where the shot has it: premultiplied RGBA, float32 (4, size, size)."""
        affine = placement(self.shot, 2 * size, self.canvas.unit)
        fine = (2 * size, 2 * size)
        layer = np.empty((4, size, size), dtype=np.float32)
        for plane, out in zip(self.canvas.planes, layer, strict=True):
            warped = cv2.warpAffine(plane, affine, fine, borderMode=cv2.BORDER_REPLICATE)
            cv2.resize(warped, (size, size), out, interpolation=cv2.INTER_AREA)
        return layer

    def turn(self, points, depth: float | np.ndarray | None = None) -> np.ndarray:
        """Where points of the upright head appear when it turns: shifted by their depth."""
        points = np.asarray(points, dtype=np.float64)
        x, y = points[..., 0], points[..., 1]
        if depth is None:
            depth = 1.05 * np.sqrt(np.clip(1 - (x / 1.12) ** 2 - ((y - 0.2) / 1.75) ** 2, 0, 1))
        yaw, pitch = self.shot.yaw, self.shot.pitch
        return np.stack(
            [x * np.cos(yaw) + depth * np.sin(yaw), y * np.cos(pitch) - depth * np.sin(pitch)],
            axis=-1,
        )

    def _noise(self, across, down, grain_x: float, grain_y: float) -> np.ndarray:
        """Smooth noise over a window's grid, with `grain` noise pixels to the unit."""
        offset = self.shot.seed % 509
        rows = ((down + 4) * grain_y + offset).astype(int) % 512
        columns = ((across + 4) * grain_x + offset).astype(int) % 512
        return texture()[np.ix_(rows, columns)]

    def _measure(self) -> None:
        """Settle the positions that several parts share."""
        who, shot = self.identity, self.shot
        self.eye_x = who.eye_spacing / 2
        self.mouth_y = who.mouth_height + 0.03 * shot.mouth_open
        self.mouth_x = who.mouth_width * (1 + 0.10 * shot.smile - 0.06 * shot.mouth_open)
        self.corner_y = self.mouth_y - 0.065 * shot.smile
        self.hair_bottom = -0.3 + 2.7 / (1 + np.exp(-1.9 * (who.hair_length - 0.6)))
        square = np.tanh(0.36 * who.jaw)
        self.chin_y = 1.79 * who.face_length + 0.09 * shot.mouth_open + who.chin + 0.10 * square
        width = 1.07 * who.face_width
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
            (0.5 * (jaw + chin) + 0.03, 1.45 * who.face_length),
            (chin, self.chin_y - 0.11),
            (0.0, self.chin_y),
        ]
        outline = curve(np.vstack([half, np.array(half[-2:0:-1]) * (-1, 1)]), closed=True)
        depth = 0.55 * np.clip((outline[:, 1] - 0.5) / 1.2, 0, 1)
        self.head = self.turn(outline, depth)
        corners = [
            (-self.eye_x, -0.012),  # between the lids
            (self.eye_x, -0.012),
            (0.0, who.nose_length),
            (-self.mouth_x, self.corner_y),
            (self.mouth_x, self.corner_y),
        ]
        depths = np.array([0.92, 0.92, 1.18, 0.93, 0.93])
        self.landmarks = self.turn(corners, depths)

    def _draw(self) -> None:
        self._draw_clothes()
        self._prepare_hair()
        if self.hair_bottom > HANGS:
            self._draw_back_hair()
        self._draw_neck()
        self._draw_ears()
        self._draw_head()
        self._draw_front_hair()
        if self.shot.glasses != "none":
            self._draw_glasses()

    def _draw_clothes(self) -> None:
        """Shoulders in cloth with folds, and stripes on some."""
        canvas, shot = self.canvas, self.shot
        window = canvas.window(-3.1, 1.9, 3.1, 3.4)
        across, down = canvas.grid(window)
        cloth = np.float32(shot.clothes)[:, None, None]
        if self.rng.random() < STRIPED:
            pitch, slope = self.rng.uniform(0.15, 0.6), self.rng.uniform(-1, 1)
            band = np.sin((down[:, None] + np.float32(slope) * across) * np.float32(6.3 / pitch))
            stripe = np.clip(band * 4, 0, 1) * np.float32(0.8)
            cloth = cloth + (np.float32(shot.clothes2)[:, None, None] - cloth) * stripe
        side = 1 + np.float32(0.35 * self.light[0]) * np.clip(across / 2, -1, 1)
        folds = self._noise(across, down, 60, 25)
        cloth = cloth * (side * np.float32(0.95) + np.float32(0.05) * folds)
        shoulders = mirrored(
            curve([(0.45, 2.05), (0.95, 2.28), (1.7, 2.50), (2.35, 2.85), (2.8, 3.6)])
        )
        canvas.paint_planes(shoulders, cloth, window)

    def _draw_neck(self) -> None:
        canvas, who = self.canvas, self.identity
        half = who.neck
        low = NECKLINES[self.shot.collar]
        shift = 0.25 * np.sin(self.shot.yaw)
        right = curve(
            [(half, 0.9), (half, 1.6), (half * 1.04, 1.95), (half * 1.25, 2.14), (half * 1.1, 2.28)]
        )
        tip = curve([(half * 1.1, 2.28), (half * 0.55, low * 0.7 + 0.69), (0.0, low)])
        neck = mirrored(np.vstack([right, tip]))
        neck[:, 0] += shift * np.clip((2.1 - neck[:, 1]) / 1.2, 0, 1)
        canvas.paint(neck, self.skin * 0.86)
        lit = self.light[0]
        for sign in (-1, 1):
            canvas.tint((sign * half, 1.9), (0.22, 0.5), self.dark, 0.30 - 0.22 * sign * lit)
            canvas.tint((sign * 0.16, 2.2), (0.05, 0.18), self.dark, 0.25)
        chin = (0.3 * lit + shift, self.chin_y + 0.12)
        canvas.tint(chin, (0.62, 0.24), self.dark, 0.75)
        if self.shot.collar == "shirt":
            cloth = np.array(self.shot.clothes2)
            for sign in (-1, 1):
                wing = np.array([(0.60, 1.98), (0.86, 2.12), (0.62, 2.85), (0.05, 2.55)])
                canvas.paint(wing * (sign, 1), cloth * (1.0 + 0.1 * sign * lit))
                canvas.paint(ribbon(wing[[1, 2, 3]] * (sign, 1), [0.02]), cloth * 0.55, opacity=0.7)
        elif self.shot.collar == "high":
            cloth = np.array(self.shot.clothes)
            band = curve([(0.0, 2.12), (0.4, 2.07), (0.74, 1.92), (0.82, 2.25), (0.0, 2.5)])
            canvas.paint(mirrored(band), cloth * 0.92)
            seam = ribbon([(-0.74, 1.92), (0, 2.13), (0.74, 1.92)], [0.03])
            canvas.paint(seam, cloth * 0.6, opacity=0.7)

    def _draw_ears(self) -> None:
        canvas, who = self.canvas, self.identity
        for sign in (-1, 1):
            x, size = sign * 1.07 * who.face_width, who.ears
            ear = np.array(
                [(-0.05, -0.22), (0.10, -0.27), (0.19, -0.12), (0.15, 0.12), (0.05, 0.30)]
                + [(-0.06, 0.24)]
            )
            ear = curve(ear * size * (sign, 1) + (x, 0.16), closed=True)
            canvas.paint(self.turn(ear, -0.05), self.skin * (0.95, 0.88, 0.86))
            hollow = self.turn((x + sign * 0.06 * size, 0.14), -0.05)
            lit = 1 + 0.25 * sign * self.light[0]
            canvas.tint(hollow, (0.05 * size, 0.11 * size), self.dark, 0.55 / lit)
