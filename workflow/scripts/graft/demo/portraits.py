"""Drawn portraits: the embedded default's data, in the layouts of two published data sets.

No photograph may be shipped, so the default draws its own. `draw_identity` makes a person,
`draw_shot` the circumstances of one picture, `render` draws the two together and knows where
the eyes, nose and mouth are; `render_wiki` and `render_lfw` write archives of such pictures
just as IMDB-WIKI and LFW are published, so that the default runs through the same code as
the real sets.

Everything follows from (seed, person, picture): equal arguments give equal bytes.

How a portrait is drawn: in the *face frame*, whose unit is the distance between average eyes,
whose origin lies between the eyes, x to the viewer's right and y down. Shapes are smooth
polygons, painted back to front as premultiplied RGBA; turning the head shifts every point by its
depth. The shading of the skin comes from a height field of Gaussian bumps over an ellipsoid, lit
by one lamp (Lambert's law plus a highlight). One affine warp, at twice the final resolution,
then puts the figure before its background.
"""

import collections
import contextlib
import csv
import functools
import gzip
import io
import os
import tarfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import NamedTuple

import cv2
import numpy as np
from scipy.io import savemat
from tqdm import tqdm

from graft.core.errors import GraftError
from graft.core.files import atomic

MIN_SIZE = 64
LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")  # left: the viewer's

# How far the mean of a man lies from the mean of a woman, in standard deviations of either.
# With the beard these make the Bayes rate about 95 % (tests/test_portraits.py estimates it).
SEX_SEPARATION = {"hair_length": -1.4, "jaw": 1.65, "brow": 1.6, "lips": -1.4}
BEARD_SHARE = {"male": 0.4, "female": 0.01}

# Shares of the people of `render_wiki` that get each defect of the real set (at least one each).
DEFECTS = {
    "unknown_sex": 0.015,
    "no_face": 0.015,
    "second_face": 0.015,
    "low_score": 0.010,
    "bad_age": 0.010,
    "truncated": 0.005,
    "zero_byte": 0.0025,
    "duplicate": 0.005,
    "twice": 0.005,
}

_SKIN = np.float32(
    [[236, 204, 184], [222, 180, 150], [198, 148, 112], [156, 106, 76], [108, 72, 52]]
)
_HAIR = np.float32(
    [[30, 25, 24], [58, 40, 30], [96, 66, 44], [128, 74, 42], [176, 138, 88], [214, 186, 136]]
)
_IRIS = np.float32([[72, 46, 30], [104, 76, 42], [86, 104, 66], [78, 108, 140], [112, 124, 134]])


HAIR_STYLES = ("side", "back", "fringe", "centre")
_NECKLINES = {"round": 2.38, "v": 2.85, "shirt": 2.62, "high": 2.18}  # how low, face frame
_HANGS = 0.45  # hair that ends below this hangs beside the face (face frame, 0 is the eyes)
_STRIPED = 0.3  # share of striped clothes
_GREY = 0.2  # share of pictures without colour
_SHARP = 0.25  # pixels; less blur than this is invisible
_BRIGHT = 190  # grey level above which highlights bend over

# ---------------------------------------------------------------------------------------------
# Who is in the picture, and how it is taken


@dataclass(frozen=True)
class Identity:
    """What one person looks like.

    `hair_length`, `jaw`, `brow` and `lips` are standard scores (mean 0 and standard deviation
    about 1 over everybody); with `beard` they are all that tells sex. `beard` is 0 for none,
    else in [0.3, 1]. The other numbers are in the units of the face frame, in [0, 1], or
    colours (RGB in [0, 255]), and are drawn alike for both sexes.
    """

    sex: str
    hair_length: float
    jaw: float
    brow: float
    lips: float
    beard: float
    skin: float
    hair_colour: tuple[float, float, float]
    hair_volume: float
    hair_wave: float
    hairline: float
    face_width: float
    face_length: float
    chin: float
    iris: tuple[float, float, float]
    eye_spacing: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    brow_height: float
    brow_arch: float
    brow_tilt: float
    nose_width: float
    nose_length: float
    nose_bridge: float
    mouth_width: float
    mouth_height: float
    cheeks: float
    ears: float
    neck: float
    freckles: float


@dataclass(frozen=True)
class Shot:
    """How one picture is taken: everything in it that does not depend on who is in it.

    Angles in radians; `scale` (eye distance), `x` and `y` as shares of the picture's side;
    `light` a unit vector to the lamp (x right, y down, z to the viewer); `shadow` the depth of
    what falls across the picture; `noise` in grey levels; `blur` in pixels of a 160 px picture.
    `seed` drives clutter, fabric, shadows and noise.
    """

    seed: int
    roll: float
    yaw: float
    pitch: float
    scale: float
    x: float
    y: float
    light: tuple[float, float, float]
    ambient: float
    shine: float
    smile: float
    mouth_open: float
    brow_raise: float
    eye_open: float
    gaze_x: float
    gaze_y: float
    hair_style: str
    hair_side: int
    hair_shift: float
    glasses: str
    shadow: float
    exposure: float
    contrast: float
    white_balance: tuple[float, float, float]
    grey: bool
    blur: float
    noise: float
    jpeg_quality: int
    clothes: tuple[float, float, float]
    clothes2: tuple[float, float, float]
    collar: str


class Portrait(NamedTuple):
    """A drawn picture and its ground truth."""

    image: np.ndarray
    """uint8 (size, size, 3), RGB."""
    landmarks: np.ndarray
    """float64 (5, 2): x, y in pixels (0 is the first pixel's centre), in the order LANDMARKS."""
    box: np.ndarray
    """float64 (4,): the square around the face as x1, y1, x2, y2 in pixels, within the picture."""


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def draw_identity(seed: int, person: int, sex: str | None = None) -> Identity:
    """Person number `person` of the population `seed`, half of which is male.

    Forcing `sex` changes the five attributes that carry sex and nothing else.
    """
    rng = _rng(seed, 0, person)
    drawn = ("male", "female")[rng.integers(2)]
    sex = sex or drawn
    side = 0.5 if sex == "male" else -0.5
    carriers = {
        name: float(side * separation + rng.standard_normal())
        for name, separation in SEX_SEPARATION.items()
    }
    bearded, strength = rng.random(), rng.uniform(0.3, 1.0)
    skin = rng.beta(1.0, 1.5)
    hair = rng.random() * (1 - 0.75 * skin) * (len(_HAIR) - 1)
    hair_colour = _ramp(_HAIR, hair) * rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, 3)
    iris = _IRIS[rng.choice(len(_IRIS), p=_iris_shares(skin))] * rng.uniform(0.8, 1.2)

    def normal(mean: float, deviation: float) -> float:
        return float(mean + deviation * np.clip(rng.standard_normal(), -2.2, 2.2))

    return Identity(
        sex=sex,
        **carriers,
        beard=float(strength if bearded < BEARD_SHARE[sex] else 0.0),
        skin=float(skin),
        hair_colour=tuple(hair_colour.tolist()),
        hair_volume=float(rng.uniform(0.0, 1.0)),
        hair_wave=float(rng.uniform(0.0, 1.0) ** 2),
        hairline=normal(0.0, 0.06),
        face_width=normal(1.0, 0.03),
        face_length=normal(1.0, 0.04),
        chin=normal(0.0, 0.05),
        iris=tuple(iris.tolist()),
        eye_spacing=normal(1.0, 0.035),
        eye_width=normal(0.225, 0.013),
        eye_height=normal(0.088, 0.010),
        eye_tilt=normal(0.02, 0.025),
        brow_height=normal(0.31, 0.025),
        brow_arch=normal(0.055, 0.025),
        brow_tilt=normal(0.0, 0.03),
        nose_width=normal(0.20, 0.025),
        nose_length=normal(0.60, 0.03),
        nose_bridge=normal(0.12, 0.025),
        mouth_width=normal(0.40, 0.03),
        mouth_height=normal(1.17, 0.03),
        cheeks=normal(0.10, 0.035),
        ears=normal(1.0, 0.12),
        neck=normal(0.66, 0.05),
        freckles=float(max(0.0, rng.uniform(-2.0, 1.0))),
    )


def draw_shot(seed: int, person: int, picture: int) -> Shot:
    """The circumstances of picture number `picture` of that person; blind to who it is."""
    rng = _rng(seed, 1, person, picture)

    def normal(deviation: float, limit: float) -> float:
        return float(np.clip(deviation * rng.standard_normal(), -limit, limit))

    azimuth, elevation = rng.uniform(-1.15, 1.15), rng.uniform(-0.25, 1.0)
    light = (
        float(np.sin(azimuth) * np.cos(elevation)),
        float(-np.sin(elevation)),
        float(np.cos(azimuth) * np.cos(elevation)),
    )
    warmth, tint = normal(0.12, 0.25), normal(0.04, 0.1)
    return Shot(
        seed=int(rng.integers(2**31)),
        roll=normal(0.16, 0.45),
        yaw=normal(0.14, 0.30),
        pitch=normal(0.08, 0.18),
        scale=float(rng.uniform(0.205, 0.265)),
        x=float(rng.uniform(-0.06, 0.06)),
        y=float(rng.uniform(-0.05, 0.05)),
        light=light,
        ambient=float(rng.uniform(0.25, 0.70)),
        shine=float(rng.uniform(0.0, 0.22)),
        smile=float(rng.uniform(-0.15, 1.0)),
        mouth_open=float(max(0.0, rng.uniform(-0.8, 1.0))),
        brow_raise=normal(0.02, 0.05),
        eye_open=float(rng.uniform(0.75, 1.1)),
        gaze_x=normal(0.03, 0.05),
        gaze_y=normal(0.012, 0.02),
        hair_style=HAIR_STYLES[rng.integers(4)],
        hair_side=int(rng.choice((-1, 1))),
        hair_shift=normal(0.05, 0.1),
        glasses=("none", "thick", "thin")[rng.choice(3, p=(0.84, 0.08, 0.08))],
        shadow=float(rng.uniform(0.0, 0.42)),
        exposure=float(np.exp(normal(0.18, 0.4))),
        contrast=float(np.exp(normal(0.12, 0.25))),
        white_balance=(1 + warmth, 1 + tint, 1 - warmth),
        grey=bool(rng.random() < _GREY),
        blur=float(rng.uniform(0.0, 1.0) ** 2 * 1.2),
        noise=float(rng.uniform(0.0, 10.0)),
        jpeg_quality=int(rng.integers(45, 96)),
        clothes=_random_colour(rng),
        clothes2=_random_colour(rng),
        collar=tuple(_NECKLINES)[rng.integers(4)],
    )


def sex_log_odds(identity: Identity) -> float:
    """ln p(attributes | male) / p(attributes | female), exact: its sign is Bayes' decision."""
    odds = sum(separation * getattr(identity, name) for name, separation in SEX_SEPARATION.items())
    male, female = BEARD_SHARE["male"], BEARD_SHARE["female"]
    if identity.beard > 0:
        return float(odds + np.log(male / female))
    return float(odds + np.log((1 - male) / (1 - female)))


def _iris_shares(skin: float) -> np.ndarray:
    """Chances of the rows of _IRIS: dark skin goes with brown eyes."""
    shares = np.array([1.0, 0.6, 0.5, 0.9, 0.5]) * np.array([1, *[(1 - skin) ** 2] * 4])
    return shares / shares.sum()


def _ramp(colours: np.ndarray, position: float) -> np.ndarray:
    """The colour at `position` in [0, len(colours) - 1], between the rows of `colours`."""
    rows = np.arange(len(colours))
    return np.array([np.interp(position, rows, channel) for channel in colours.T])


def _random_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """Any hue, mostly muted: RGB in [10, 245]."""
    grey = rng.uniform(20, 235)
    return tuple(np.clip(grey + rng.normal(0, 20, 3), 10, 245).tolist())


# ---------------------------------------------------------------------------------------------
# Shapes


@functools.cache
def _spline_basis(count: int, closed: bool, steps: int = 8) -> np.ndarray:
    """Catmull-Rom weights: (points on the curve, control points)."""
    t = np.arange(steps)[:, None] / steps
    cubic = np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3])
    cubic = np.hstack([cubic, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3]) / 2
    segments = count if closed else count - 1
    basis = np.zeros((segments * steps + (not closed), count))
    for segment in range(segments):
        for tap in range(4):
            control = segment + tap - 1
            control = control % count if closed else min(max(control, 0), count - 1)
            basis[segment * steps : (segment + 1) * steps, control] += cubic[:, tap]
    if not closed:
        basis[-1, -1] = 1
    return basis


def _curve(points, closed: bool = False) -> np.ndarray:
    """A smooth curve through `points`: (n, 2)."""
    points = np.asarray(points, dtype=np.float64)
    return _spline_basis(len(points), closed) @ points


def _mirrored(points) -> np.ndarray:
    """The right half of a symmetric outline, top to bottom, closed by its mirror image."""
    right = np.asarray(points, dtype=np.float64)
    return np.vstack([right, right[::-1] * (-1, 1)])


def _ribbon(points, widths) -> np.ndarray:
    """The polygon of a stroke along `points`, as wide as `widths` says at each control point."""
    line = _curve(points)
    width = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, len(widths)), widths)
    along = np.gradient(line, axis=0)
    across = along[:, ::-1] * (-1, 1) / np.linalg.norm(along, axis=1, keepdims=True)
    offset = across * width[:, None] / 2
    return np.vstack([line + offset, (line - offset)[::-1]])


def _ellipse(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


# ---------------------------------------------------------------------------------------------
# The canvas


class _Canvas:
    """Premultiplied float32 RGBA planes over a window of the face frame."""

    LEFT, TOP, WIDTH, HEIGHT = -3.1, -2.4, 6.2, 5.8

    def __init__(self, size: int):
        self.unit = 0.36 * size
        shape = (round(self.HEIGHT * self.unit), round(self.WIDTH * self.unit))
        self.planes = np.zeros((4, *shape), dtype=np.float32)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        return (points - (self.LEFT, self.TOP)) * self.unit - 0.5

    def window(self, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
        """Row and column slices of a rectangle of the face frame, clipped to the canvas."""
        height, width = self.planes.shape[1:]
        (left, top), (right, bottom) = self.pixels(np.array([[x0, y0], [x1, y1]]))
        rows = slice(min(max(int(top), 0), height), min(max(int(bottom) + 2, 0), height))
        return rows, slice(min(max(int(left), 0), width), min(max(int(right) + 2, 0), width))

    def grid(self, window: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
        """Face-frame coordinates of a window's columns and rows, float32."""
        rows, columns = window
        x = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5) / self.unit
        y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) / self.unit
        return x + np.float32(self.LEFT), y + np.float32(self.TOP)

    def mask(self, points: np.ndarray, soft: float = 0.0) -> tuple[tuple[slice, slice], np.ndarray]:
        """The coverage in [0, 1] of a polygon, and the window it fills."""
        margin = 2.5 * soft + 0.02
        window = self.window(*(points.min(axis=0) - margin), *(points.max(axis=0) + margin))
        rows, columns = window
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        if 0 in shape:
            return window, np.zeros(shape, dtype=np.float32)
        mask = np.zeros(shape, dtype=np.uint8)
        corners = self.pixels(points) - (columns.start, rows.start)
        cv2.fillPoly(mask, [np.round(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
        if soft:
            mask = cv2.GaussianBlur(mask, (0, 0), soft * self.unit)
        return window, mask.astype(np.float32) / 255

    def blend(self, window: tuple[slice, slice], mask: np.ndarray, colour) -> None:
        """Paint `colour` (3 numbers, or planes (3, h, w) of the window) where `mask` says."""
        part = self.planes[:, window[0], window[1]]
        for plane, value in zip(part, (*colour, 255.0), strict=True):
            plane[:] += (np.float32(value) - plane) * mask

    def paint(self, points: np.ndarray, colour, opacity: float = 1.0, soft: float = 0.0) -> None:
        window, mask = self.mask(points, soft)
        self.blend(window, mask * np.float32(opacity), colour)

    def paint_planes(self, points, planes, where: tuple[slice, slice], soft: float = 0.0) -> None:
        """Paint with `planes` (3, h, w), which cover the window `where`."""
        window, mask = self.mask(points, soft)
        rows = slice(max(window[0].start, where[0].start), min(window[0].stop, where[0].stop))
        columns = slice(max(window[1].start, where[1].start), min(window[1].stop, where[1].stop))
        inner = mask[_within(rows, window[0]), _within(columns, window[1])]
        part = planes[:, _within(rows, where[0]), _within(columns, where[1])]
        self.blend((rows, columns), inner, part)

    def tint(self, centre, radii: tuple[float, float], colour, opacity: float) -> None:
        """A soft spot that fades as a Gaussian; leaves the coverage as it is."""
        (x, y), (rx, ry) = centre, radii
        window = self.window(x - 2.5 * rx, y - 2.5 * ry, x + 2.5 * rx, y + 2.5 * ry)
        across, down = self.grid(window)
        fade_x = np.exp(-(((across - np.float32(x)) / np.float32(rx)) ** 2) / 2)
        fade_y = np.exp(-(((down - np.float32(y)) / np.float32(ry)) ** 2) / 2)
        part = self.planes[:, window[0], window[1]]
        spot = part[3] * fade_x * (fade_y * np.float32(opacity / 255))[:, None]
        for plane, value in zip(part[:3], colour, strict=True):
            plane[:] += (np.float32(value) - plane) * spot

    def shade(self, window: tuple[slice, slice], factor: np.ndarray) -> None:
        """Multiply the colours of a window."""
        self.planes[:3, window[0], window[1]] *= factor


def _within(inner: slice, outer: slice) -> slice:
    return slice(inner.start - outer.start, max(inner.stop, inner.start) - outer.start)


@functools.cache
def _texture() -> np.ndarray:
    """A tile of smooth noise, float32 (512, 512), mean 0 and standard deviation 1, wraps around."""
    noise = np.random.default_rng(20160116).standard_normal((512, 512)).astype(np.float32)
    noise = np.pad(noise, 16, mode="wrap")
    total = sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (1.0, 2.0, 4.0))
    total = total[16:-16, 16:-16]
    return (total - total.mean()) / total.std()


# ---------------------------------------------------------------------------------------------
# The figure


class _Figure:
    """One person, drawn on a canvas for one shot."""

    def __init__(self, identity: Identity, shot: Shot, size: int):
        self.identity = identity
        self.shot = shot
        self.canvas = _Canvas(size)
        self.rng = np.random.default_rng([shot.seed, 1])
        self.light = np.array(shot.light)
        self.skin = _ramp(_SKIN, identity.skin * (len(_SKIN) - 1))
        self.hair = np.array(identity.hair_colour)
        self.dark = self.skin * (0.42, 0.33, 0.31)  # the colour of creases
        self._measure()
        self._draw()

    def placed(self, size: int) -> np.ndarray:
        """The figure where the shot has it: premultiplied RGBA, float32 (4, size, size)."""
        affine = _place(self.shot, 2 * size, self.canvas.unit)
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
        return _texture()[np.ix_(rows, columns)]

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
        outline = _curve(np.vstack([half, np.array(half[-2:0:-1]) * (-1, 1)]), closed=True)
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
        if self.hair_bottom > _HANGS:
            self._draw_back_hair()
        self._draw_neck()
        self._draw_ears()
        self._draw_head()
        self._draw_front_hair()
        if self.shot.glasses != "none":
            self._draw_glasses()

    # -- body

    def _draw_clothes(self) -> None:
        """Shoulders in cloth with folds, and stripes on some."""
        canvas, shot = self.canvas, self.shot
        window = canvas.window(-3.1, 1.9, 3.1, 3.4)
        across, down = canvas.grid(window)
        cloth = np.float32(shot.clothes)[:, None, None]
        if self.rng.random() < _STRIPED:
            pitch, slope = self.rng.uniform(0.15, 0.6), self.rng.uniform(-1, 1)
            band = np.sin((down[:, None] + np.float32(slope) * across) * np.float32(6.3 / pitch))
            stripe = np.clip(band * 4, 0, 1) * np.float32(0.8)
            cloth = cloth + (np.float32(shot.clothes2)[:, None, None] - cloth) * stripe
        side = 1 + np.float32(0.35 * self.light[0]) * np.clip(across / 2, -1, 1)
        folds = self._noise(across, down, 60, 25)
        cloth = cloth * (side * np.float32(0.95) + np.float32(0.05) * folds)
        shoulders = _mirrored(
            _curve([(0.45, 2.05), (0.95, 2.28), (1.7, 2.50), (2.35, 2.85), (2.8, 3.6)])
        )
        canvas.paint_planes(shoulders, cloth, window)

    def _draw_neck(self) -> None:
        canvas, who = self.canvas, self.identity
        half = who.neck
        low = _NECKLINES[self.shot.collar]
        shift = 0.25 * np.sin(self.shot.yaw)
        right = _curve(
            [(half, 0.9), (half, 1.6), (half * 1.04, 1.95), (half * 1.25, 2.14), (half * 1.1, 2.28)]
        )
        tip = _curve([(half * 1.1, 2.28), (half * 0.55, low * 0.7 + 0.69), (0.0, low)])
        neck = _mirrored(np.vstack([right, tip]))
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
                canvas.paint(
                    _ribbon(wing[[1, 2, 3]] * (sign, 1), [0.02]), cloth * 0.55, opacity=0.7
                )
        elif self.shot.collar == "high":
            cloth = np.array(self.shot.clothes)
            band = _curve([(0.0, 2.12), (0.4, 2.07), (0.74, 1.92), (0.82, 2.25), (0.0, 2.5)])
            canvas.paint(_mirrored(band), cloth * 0.92)
            seam = _ribbon([(-0.74, 1.92), (0, 2.13), (0.74, 1.92)], [0.03])
            canvas.paint(seam, cloth * 0.6, opacity=0.7)

    def _draw_ears(self) -> None:
        canvas, who = self.canvas, self.identity
        for sign in (-1, 1):
            x, size = sign * 1.07 * who.face_width, who.ears
            ear = np.array(
                [(-0.05, -0.22), (0.10, -0.27), (0.19, -0.12), (0.15, 0.12), (0.05, 0.30)]
                + [(-0.06, 0.24)]
            )
            ear = _curve(ear * size * (sign, 1) + (x, 0.16), closed=True)
            canvas.paint(self.turn(ear, -0.05), self.skin * (0.95, 0.88, 0.86))
            hollow = self.turn((x + sign * 0.06 * size, 0.14), -0.05)
            lit = 1 + 0.25 * sign * self.light[0]
            canvas.tint(hollow, (0.05 * size, 0.11 * size), self.dark, 0.55 / lit)

    # -- head

    def _relief(self) -> np.ndarray:
        """Gaussian bumps of the face: rows of x, y, radius x, radius y, height."""
        who, shot = self.identity, self.shot
        nose, mouth = who.nose_length, self.mouth_y
        lip = 0.05 + 0.012 * who.lips
        sides = [
            (self.eye_x, -0.25, 0.27, 0.10, 0.075),  # brow ridge
            (self.eye_x * 0.95, 0.02, 0.23, 0.15, -0.085),  # socket
            (self.eye_x, 0.02, 0.15, 0.09, 0.045),  # eyeball
            (0.64, 0.45, 0.28, 0.26, who.cheeks + 0.05 * shot.smile),
            (who.nose_width * 0.85, nose + 0.03, 0.07, 0.07, 0.05),  # wing of the nose
            (0.40 + 0.06 * shot.smile, nose + 0.22, 0.05, 0.20, -0.02 - 0.035 * shot.smile),
            (0.86, -0.50, 0.16, 0.30, -0.08),  # temple
        ]
        middle = [
            (0.0, 0.12, 0.10, 0.28, who.nose_bridge),
            (0.0, nose * 0.70, 0.10, 0.20, 0.12),
            (0.0, nose - 0.02, 0.13, 0.11, 0.17),  # tip of the nose
            (0.0, nose + 0.24, 0.06, 0.10, -0.02),  # philtrum
            (0.0, mouth - 0.05, 0.24, 0.055, lip),
            (0.0, mouth + 0.09, 0.22, 0.065, lip * 1.2),
            (0.0, mouth + 0.24, 0.26, 0.06, -0.055),
            (0.0, self.chin_y - 0.25, 0.24, 0.16, 0.10),
            (0.0, -0.80, 0.55, 0.35, 0.06),  # forehead
        ]
        both = [(-row[0], *row[1:]) for row in sides] + sides + middle
        relief = np.array(both)
        depth = np.full(len(relief), 0.95)
        depth[-7] = 1.18  # the tip of the nose stands out
        relief[:, :2] = self.turn(relief[:, :2], depth)
        return relief.astype(np.float32)

    def _lighting(self, window: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
        """How bright the head is (about 1 where it faces the viewer), and its highlights."""
        across, down = self.canvas.grid(window)
        x, y, rx, ry, height = self._relief()[..., None].transpose(1, 0, 2)
        u, v = (across - x) / rx, (down - y) / ry
        bump_x, bump_y = np.exp(-(u**2) / 2), np.exp(-(v**2) / 2)
        slope_x = (height * bump_y).T @ (u / rx * bump_x)
        slope_y = (height * v / ry * bump_y).T @ bump_x
        ball_x = np.clip(across / 1.28, -0.9, 0.9)
        ball_y = np.clip((down - 0.12) / 2.25, -0.8, 0.8)
        ball_z = np.sqrt(np.clip(1 - ball_x**2 - ball_y[:, None] ** 2, 0.06, 1))
        normal_x = ball_x / ball_z + slope_x
        normal_y = ball_y[:, None] / ball_z + slope_y
        length = np.sqrt(normal_x**2 + normal_y**2 + 1)
        lx, ly, lz = self.light.astype(np.float32)
        lambert = np.maximum(normal_x * lx + normal_y * ly + lz, 0) / length
        ambient = np.float32(self.shot.ambient)
        front = ambient + (1 - ambient) * max(float(lz), 0.45)
        sky = 1 - 0.10 * normal_y / length - 0.22 * (1 - 1 / length)
        shading = (ambient * sky + (1 - ambient) * lambert) / np.float32(front)
        hx, hy, hz = np.float32([lx, ly, lz + 1]) / np.float32(np.sqrt(2 + 2 * lz))
        shine = np.maximum(normal_x * hx + normal_y * hy + hz, 0) / length
        shine = shine * shine
        shine = shine * shine
        shine = shine * shine
        return shading, shine * shine * np.float32(self.shot.shine)

    def _draw_head(self) -> None:
        canvas, who = self.canvas, self.identity
        window, mask = canvas.mask(self.head)
        across, down = canvas.grid(window)
        blotch = 1 + np.float32(0.015) * self._noise(across, down, 40, 40)
        canvas.blend(window, mask, self.skin.astype(np.float32)[:, None, None] * blotch)
        blush = self.skin * (1.0, 0.78, 0.76)
        for sign in (-1, 1):
            cheek, lid, bag = self.turn(
                [(0.66, 0.52), (self.eye_x, -0.12), (self.eye_x, 0.17)] * np.array((sign, 1))
            )
            canvas.tint(cheek, (0.27, 0.22), blush, 0.45)
            canvas.tint(lid, (0.24, 0.10), self.skin * (0.72, 0.62, 0.60), 0.5)
            canvas.tint(bag, (0.22, 0.05), self.skin * (0.80, 0.68, 0.68), 0.45)
        canvas.tint(self.turn((0, who.nose_length), 1.18), (0.15, 0.12), blush, 0.4)
        if who.freckles:
            self._draw_freckles()
        if who.beard:
            self._draw_beard()
        self._draw_nose()
        self._draw_mouth()
        for sign in (-1, 1):
            self._draw_eye(sign)
            self._draw_brow(sign)
        shading, shine = self._lighting(window)
        canvas.shade(window, 1 + mask * (shading - 1))
        part = canvas.planes[:3, window[0], window[1]]
        part += (255 - part) * (shine * mask)

    def _draw_freckles(self) -> None:
        rng = np.random.default_rng([int(self.identity.freckles * 1e9)])
        spots = rng.normal((0, 0.42), (0.45, 0.18), (28, 2))
        for spot in self.turn(spots):
            self.canvas.tint(spot, (0.022, 0.022), self.dark, 0.6 * self.identity.freckles)

    def _draw_beard(self) -> None:
        who, jaw, chin = self.identity, self.jaw, self.chin
        outline = [
            (1.0 * who.face_width, 0.25),
            (1.0 * who.face_width, 0.75),
            (jaw + 0.02, 1.13),
            (0.5 * (jaw + chin) + 0.04, 1.5),
            (chin + 0.02, self.chin_y - 0.05),
            (0.0, self.chin_y + 0.02 + 0.06 * who.beard),
        ]
        inner = [
            (0.0, self.mouth_y - 0.19),
            (0.24, self.mouth_y - 0.21),
            (0.46, self.mouth_y - 0.07),
            (0.66, self.mouth_y - 0.03),
            (0.84 * who.face_width, 0.72),
            (0.92 * who.face_width, 0.25),
        ]
        beard = self.turn(
            np.vstack([_mirrored(_curve(outline)), _mirrored(_curve(inner)[::-1])[::-1]])
        )
        window, mask = self.canvas.mask(beard, soft=0.06)
        across, down = self.canvas.grid(window)
        strands = 1 + np.float32(0.22) * self._noise(across, down, 160, 60)
        colour = (self.hair * 0.8 + self.dark * 0.2).astype(np.float32)
        covered = self.canvas.planes[3, window[0], window[1]] / 255
        opacity = np.float32(0.15 + 0.75 * who.beard)
        self.canvas.blend(
            window, mask * opacity * np.maximum(covered, 0.6), colour[:, None, None] * strands
        )

    def _draw_nose(self) -> None:
        canvas, who = self.canvas, self.identity
        y, width = who.nose_length, who.nose_width
        canvas.tint(self.turn((0, y + 0.115), 1.15), (width * 0.75, 0.05), self.dark, 0.40)
        for sign in (-1, 1):
            hole = self.turn(_ellipse(sign * width * 0.46, y + 0.085, 0.055, 0.028), 1.18)
            canvas.paint(hole, self.dark * 0.6, opacity=0.8, soft=0.016)
            wing = [(0.80, y - 0.07), (1.03, y + 0.01), (1.0, y + 0.09), (0.80, y + 0.11)]
            wing = self.turn(np.array(wing) * (sign * width, 1), 1.12)
            canvas.paint(_ribbon(wing, [0.015, 0.04, 0.02]), self.dark, opacity=0.5, soft=0.012)
            bridge = [(0.16, -0.10), (0.11, 0.15), (0.12, y - 0.15)]
            bridge = self.turn(np.array(bridge) * (sign, 1), 1.08)
            shadow = 0.12 - 0.11 * sign * self.light[0]
            canvas.paint(_ribbon(bridge, [0.06, 0.05]), self.dark, opacity=shadow, soft=0.05)

    def _draw_mouth(self) -> None:
        canvas, who, shot = self.canvas, self.identity, self.shot
        half, y, corner = self.mouth_x, self.mouth_y, self.corner_y
        gap = 0.16 * shot.mouth_open
        full = np.exp(0.7 * np.tanh(0.45 * who.lips))
        red = self.skin * (0.86, 0.60, 0.60)
        red = red + (np.array([172, 48, 60]) * (0.55 + 0.45 * self.skin[0] / 255) - red) * (
            0.42 + 0.40 * np.tanh(0.5 * who.lips)
        )
        upper_line = np.array([(-half, corner), (-half * 0.45, y - 0.012 - gap * 0.35)])
        upper_line = np.vstack([upper_line, [(0, y + 0.008 - gap * 0.4)]])
        upper_line = np.vstack([upper_line, upper_line[1::-1] * (-1, 1)])
        lower_line = np.array(upper_line)
        lower_line[1:-1, 1] += gap * np.array([0.8, 1.15, 0.8])
        top = np.array([(-half, corner), (-half * 0.5, y - 0.075 * full), (-half * 0.17, y)])
        top[2, 1] = y - 0.095 * full - gap * 0.35
        top[1, 1] -= gap * 0.25
        top = np.vstack([top, [(0, y - 0.075 * full - gap * 0.35)], top[::-1] * (-1, 1)])
        low = np.array([(-half, corner), (-half * 0.55, y + 0.105 * full + gap * 0.6)])
        low = np.vstack([low, [(0, y + 0.145 * full + gap * 0.85)], low[::-1] * (-1, 1)])

        def lips(first, second) -> np.ndarray:
            return self.turn(np.vstack([_curve(first), _curve(second)[::-1]]), 0.95)

        canvas.tint(self.turn((0, y + 0.21 * full + gap), 0.95), (0.22, 0.04), self.dark, 0.35)
        if gap:
            canvas.paint(lips(upper_line, lower_line), (58, 22, 24))
            teeth = np.array(upper_line)
            teeth[1:-1, 1] += gap * np.array([0.38, 0.55, 0.38])
            canvas.paint(lips(upper_line, teeth), (226, 220, 208), opacity=0.92, soft=0.006)
        canvas.paint(lips(top, upper_line), red * 0.86, opacity=0.92, soft=0.008)
        canvas.paint(lips(lower_line, low), red, opacity=0.92, soft=0.010)
        line = self.turn(_curve(upper_line)[::4], 0.95)
        canvas.paint(
            _ribbon(line, [0.015, 0.035, 0.03, 0.035, 0.015]), self.dark * 0.7, 0.8, soft=0.006
        )
        for sign in (-1, 1):
            canvas.tint(
                self.turn((sign * (half + 0.01), corner), 0.90), (0.045, 0.04), self.dark, 0.55
            )
            if shot.smile > 0:
                fold = [(0.24, who.nose_length + 0.06), (0.42, y - 0.20), (half + 0.14, y + 0.02)]
                fold = self.turn(np.array(fold) * (sign, 1), 0.95)
                canvas.paint(
                    _ribbon(fold, [0.02, 0.05, 0.02]), self.dark, 0.35 * shot.smile, soft=0.02
                )

    def _draw_eye(self, sign: int) -> None:
        canvas, who, shot = self.canvas, self.identity, self.shot
        x, half = sign * self.eye_x, who.eye_width
        upper = who.eye_height * 1.1 * shot.eye_open
        lower = who.eye_height * 0.8 * (1 - 0.15 * max(shot.smile, 0))
        tilt = who.eye_tilt
        inner, outer = (x - sign * half, 0.025), (x + sign * half, 0.01 - tilt)
        lid = [inner, (x - sign * half * 0.55, -upper * 0.75), (x, -upper)]
        lid += [(x + sign * half * 0.6, -upper * 0.78 - tilt * 0.6), outer]
        bottom = [outer, (x + sign * half * 0.55, lower * 0.85 - tilt * 0.3), (x, lower)]
        bottom += [(x - sign * half * 0.55, lower * 0.75), inner]
        eye = self.turn(np.vstack([_curve(lid), _curve(bottom)]), 0.92)
        window, mask = canvas.mask(eye)
        centre = self.turn((x + shot.gaze_x, -0.008 + shot.gaze_y), 0.92)
        across, down = canvas.grid(window)
        distance = np.hypot(across - np.float32(centre[0]), down[:, None] - np.float32(centre[1]))
        sharp = np.float32(canvas.unit * 0.8)

        def disc(radius: float) -> np.ndarray:
            return np.clip((np.float32(radius) - distance) * sharp + 0.5, 0, 1)

        iris = np.array(who.iris)
        eyeball = np.float32([228, 222, 216])[:, None, None] * np.ones_like(mask)
        for radius, colour in (
            (0.102, iris * 0.45),
            (0.088, iris * 1.15),
            (0.040, iris * 0.0 + 12),
        ):
            cover = disc(radius)
            for plane, value in zip(eyeball, colour, strict=True):
                plane[:] += (np.float32(value) - plane) * cover
        shadow = np.clip((down + upper * 1.0) / (upper * 0.9), 0.0, 1.0)
        eyeball *= (0.55 + 0.45 * shadow)[:, None]
        canvas.blend(window, mask, eyeball)
        glint = centre + 0.035 * np.array([np.sign(self.light[0]) or 1.0, -1.0])
        canvas.paint(_ellipse(*glint, 0.020, 0.020), (250, 250, 250), opacity=0.95)
        lash = self.turn(_curve(lid)[::4], 0.92)
        canvas.paint(_ribbon(lash, [0.015, 0.045, 0.05, 0.045]), self.dark * 0.30, 0.92, soft=0.004)
        rim = self.turn(_curve(bottom)[::4], 0.92)
        canvas.paint(_ribbon(rim, [0.02, 0.018]), self.dark * 0.9, 0.55, soft=0.006)
        crease = np.array(lid) + (0, -0.055)
        crease[[0, -1], 1] += 0.03
        crease = self.turn(_curve(crease)[::4], 0.92)
        canvas.paint(_ribbon(crease, [0.01, 0.03, 0.02]), self.dark, 0.55, soft=0.008)
        canvas.paint(
            _ellipse(*self.turn((x - sign * (half - 0.02), 0.022), 0.92), 0.022, 0.016),
            self.skin * (0.92, 0.62, 0.60),
            opacity=0.7,
        )

    def _draw_brow(self, sign: int) -> None:
        canvas, who = self.canvas, self.identity
        y = -who.brow_height - self.shot.brow_raise
        x = self.eye_x
        thick = 0.095 * np.exp(0.28 * who.brow)
        points = [
            (x - 0.29, y + 0.035 + who.brow_tilt),
            (x - 0.10, y - who.brow_arch * 0.5 + who.brow_tilt * 0.4),
            (x + 0.12, y - who.brow_arch - who.brow_tilt * 0.4),
            (x + 0.33, y + 0.045 - who.brow_tilt),
        ]
        brow = self.turn(np.array(points) * (sign, 1), 0.95)
        shape = _ribbon(brow, [thick * 0.75, thick, thick * 0.9, thick * 0.25])
        colour = self.hair * 0.62
        opacity = float(np.clip(0.72 + 0.10 * who.brow, 0.4, 0.95))
        canvas.paint(shape, colour, opacity, soft=0.014)

    # -- hair

    def _prepare_hair(self) -> None:
        """Lit strands for the whole hair, from which every hair shape is cut."""
        canvas, who, shot = self.canvas, self.identity, self.shot
        window = canvas.window(-1.75, -2.2, 1.75, max(0.6, self.hair_bottom + 0.15))
        across, down = canvas.grid(window)
        part = np.float32(
            0.28 * self.shot.hair_side * (self.shot.hair_style == "side") + 0.2 * np.sin(shot.yaw)
        )
        dx = np.broadcast_to(across - part, (len(down), len(across)))
        dy = np.broadcast_to((down + 2.3)[:, None], dx.shape)
        angle = np.arctan2(dx, dy)
        angle = angle + np.float32(0.07 * who.hair_wave) * np.sin(
            dy * 5 + np.float32(3 * shot.hair_shift)
        )
        columns = (angle * 150 + 512).astype(np.int32) % 512
        rows = (dy * 12 + shot.seed % 97).astype(np.int32) % 512
        strands = _texture()[rows, columns]
        ball_x = np.clip(across / 1.55, -0.95, 0.95)
        ball_y = np.clip((down + 0.1) / 2.0, -0.9, 0.5)[:, None]
        ball_z = np.sqrt(np.clip(1 - ball_x**2 - ball_y**2, 0.04, 1))
        lx, ly, lz = self.light.astype(np.float32)
        lambert = np.clip(ball_x * lx + ball_y * ly + ball_z * lz, 0, 1)
        gloss = np.exp(-(((ball_y - 0.9 * ly - 0.12 + 0.03 * strands) / 0.16) ** 2) / 2) * lambert
        ambient = np.float32(shot.ambient)
        light = (ambient + (1 - ambient) * lambert) * (1 + np.float32(0.20) * strands)
        light = light / (ambient + (1 - ambient) * max(float(lz), 0.45))
        colour = self.hair.astype(np.float32)[:, None, None] * light
        colour += (np.float32(70) + 0.4 * colour) * (gloss * np.float32(0.25 + shot.shine * 2))
        self.hair_window, self.hair_planes = window, colour

    def _hair_outer(self) -> list[tuple[float, float]]:
        """The right outline of the hair, from its bottom to the top of the head."""
        volume, bottom = 0.10 + 0.22 * self.identity.hair_volume, self.hair_bottom
        width = 1.07 * self.identity.face_width
        short = float(np.clip((0.9 - bottom) / 0.9, 0, 1))  # short hair hugs the skull
        side = volume * (1 - 0.6 * short)
        points = [(width + side * 0.95, 0.15), (width + side, -0.45)]
        points += [(width * 0.86 + side * 0.8, -1.08), (width * 0.50 + side * 0.3, -1.42 - volume)]
        if bottom > _HANGS:  # long enough to hang
            wave = 0.05 * self.identity.hair_wave
            below = [
                (width + side * 1.15 + wave * (-1) ** k, y)
                for k, y in enumerate(np.arange(bottom - 0.18, 0.5, -0.4))
            ]
            points = [(width * 0.90 + side * 0.2, bottom), *below, *points]
        else:
            points = [(width + side * 0.4, bottom), *points]
        return [*points, (0.0, -1.54 - volume)]

    def _draw_back_hair(self) -> None:
        outer = _curve(self._hair_outer())
        inner = _curve([(0.0, 1.0), (0.5, 1.1), (0.62, min(1.6, self.hair_bottom))])
        end = np.array([(0.62, self.hair_bottom)])
        right = np.vstack([outer[::-1], end, inner[::-1]])
        shape = np.vstack([right, (right * (-1, 1))[::-1]])
        window, planes = self.hair_window, self.hair_planes * np.float32(0.62)
        self.canvas.paint_planes(self.turn(shape, -0.15), planes, window)

    def _hairline(self) -> np.ndarray:
        """The lower edge of the front hair, from the right temple to the left one."""
        who = self.identity
        lift = who.hairline + self.shot.hair_shift * 0.3
        styles = {
            "side": [(0.95, -0.35), (0.84, -0.66), (0.62, -0.92), (0.32, -1.08)]
            + [(-0.1, -0.90), (-0.5, -0.72), (-0.80, -0.52), (-0.95, -0.25)],
            "back": [(0.95, -0.40), (0.86, -0.72), (0.66, -0.96), (0.25, -1.06)]
            + [(-0.25, -1.06), (-0.66, -0.96), (-0.86, -0.72), (-0.95, -0.40)],
            "fringe": [(0.95, -0.30), (0.82, -0.50), (0.55, -0.56), (0.2, -0.55)]
            + [(-0.2, -0.57), (-0.55, -0.55), (-0.82, -0.50), (-0.95, -0.30)],
            "centre": [(0.95, -0.20), (0.88, -0.48), (0.62, -0.78), (0.14, -1.10)]
            + [(-0.14, -1.10), (-0.62, -0.78), (-0.88, -0.48), (-0.95, -0.20)],
        }
        points = np.array(styles[self.shot.hair_style])
        points[:, 1] -= lift
        points[:, 0] *= who.face_width
        if self.shot.hair_side < 0:
            points = points[::-1] * (-1, 1)
        return points

    def _draw_front_hair(self) -> None:
        canvas, who = self.canvas, self.identity
        outer = self._hair_outer()
        bottom = self.hair_bottom
        width = 1.07 * who.face_width
        if bottom > _HANGS:  # over the ears, beside the face
            side = [(width * 1.0, bottom), *((width * 0.985, y) for y in (1.2, 0.7) if y < bottom)]
            side += [(width * 0.96, 0.25), (width * 0.94, 0.0)]
        else:
            side = [(width * 0.985, bottom), (width * 0.945, bottom - 0.08), (width * 0.93, -0.12)]
        hairline = self._hairline()
        inner = np.vstack([side, hairline, np.array(side)[::-1] * (-1, 1)])
        inner = self.turn(_curve(inner))
        right = self.turn(_curve(outer), -0.1)
        left = self.turn(_curve(outer) * (-1, 1), -0.1)
        shape = np.vstack([right[::-1], inner, left])
        shadow = shape + (-0.05 * self.light[0], 0.07)
        window, mask = canvas.mask(shadow, soft=0.05)
        covered = canvas.planes[3, window[0], window[1]] / 255
        canvas.shade(window, 1 - 0.38 * mask * (covered >= 1))
        canvas.paint_planes(shape, self.hair_planes, self.hair_window, soft=0.012)

    def _draw_glasses(self) -> None:
        canvas = self.canvas
        thick = self.shot.glasses == "thick"
        frame = np.array([34, 30, 32] if thick else [120, 104, 84])
        width = 0.045 if thick else 0.028
        rims = {}
        for sign in (-1, 1):
            x = sign * (self.eye_x + 0.02)
            angle = np.linspace(0, 2 * np.pi, 17)
            power = 0.75 if thick else 1.0  # squarish or round
            cos, sin = np.cos(angle), np.sin(angle)
            rim = np.stack(
                [
                    x + 0.37 * np.sign(cos) * abs(cos) ** power,
                    0.03 + 0.27 * np.sign(sin) * abs(sin) ** power,
                ],
                axis=1,
            )
            rims[sign] = self.turn(rim, 1.02)
            canvas.paint(rims[sign], (235, 240, 245), opacity=0.05)
            canvas.paint(_ribbon(rims[sign], [width]), frame, opacity=0.95)
            arm = self.turn(
                np.array([(x + sign * 0.36, -0.02), (sign * 1.06, -0.02)]), np.array([1.0, 0.15])
            )
            canvas.paint(_ribbon(arm, [width]), frame, opacity=0.9)
        bridge = self.turn(
            [(-self.eye_x + 0.35, -0.01), (0, -0.05), (self.eye_x - 0.35, -0.01)], 1.1
        )
        canvas.paint(_ribbon(bridge, [width]), frame, opacity=0.95)


# ---------------------------------------------------------------------------------------------
# The picture


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Clutter: a gradient, things of any colour, out of focus by any amount; float32 (3, s, s)."""
    corners = np.float32([[_random_colour(rng) for _ in range(2)] for _ in range(2)])
    image = cv2.resize(corners, (size, size), interpolation=cv2.INTER_LINEAR)
    image = np.clip(image, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(2, 16)):
        colour = _random_colour(rng)
        x, y = rng.uniform(-0.1, 1.1, 2) * size
        kind, angle = rng.choice(("disc", "box", "pole", "blob")), rng.uniform(0, 2 * np.pi)
        length, width = rng.uniform(0.08, 0.6) * size, rng.uniform(0.02, 0.3) * size
        if kind == "disc":
            shape = _ellipse(0, 0, length / 2, width)
        elif kind == "box":
            shape = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (length, width)
        elif kind == "pole":
            shape = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (2 * size, width * 0.2)
        else:
            shape = _curve(rng.normal(0, 0.5, (6, 2)) * length, closed=True)
        turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
        points = np.round((shape @ turn + (x, y)) * 16).astype(np.int32)
        cv2.fillPoly(image, [points], colour, cv2.LINE_AA, shift=4)
    sigma = rng.uniform(0.0, 0.035) * size
    if sigma > _SHARP:
        image = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    planes = image.astype(np.float32).transpose(2, 0, 1)
    return planes * (1 + np.float32(rng.uniform(0, 0.06)) * _patch(rng, 64, size))


def _patch(rng: np.random.Generator, extent: int, size: int) -> np.ndarray:
    """A random square of the noise tile, `extent` pixels wide, enlarged: float32 (size, size)."""
    x, y = rng.integers(0, 512 - extent, 2)
    patch = _texture()[y : y + extent, x : x + extent]
    return cv2.resize(patch, (size, size), interpolation=cv2.INTER_CUBIC)


def _place(shot: Shot, size: int, unit: float) -> np.ndarray:
    """The affine map (2, 3) from canvas pixels to a picture of `size` pixels."""
    scale = shot.scale * size / unit
    cos, sin = scale * np.cos(shot.roll), scale * np.sin(shot.roll)
    linear = np.array([(cos, -sin), (sin, cos)])
    pivot = (np.array([0.0, 0.22]) - (_Canvas.LEFT, _Canvas.TOP)) * unit - 0.5
    target = np.array([0.5 + shot.x, 0.5 + shot.y]) * size - 0.5
    return np.hstack([linear, (target - linear @ pivot)[:, None]])


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
    _check(size=size)
    rng = np.random.default_rng([shot.seed, 0])
    planes = _background(rng, size)
    landmarks, box = np.full((5, 2), np.nan), np.full(4, np.nan)
    people = [(identity, shot)] if identity else []
    for who, how in [beside, *people] if beside else people:
        figure = _Figure(who, how, size)
        layer = figure.placed(size)
        planes *= 1 - layer[3] / 255
        planes += layer[:3]
        landmarks, box = _truth(figure, how, size)
    return Portrait(_develop(planes, shot, rng), landmarks, box)


def _truth(figure: _Figure, shot: Shot, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (5, 2) and face box (4,) of a figure, in pixels of the finished picture."""
    affine = _place(shot, size, figure.canvas.unit)
    landmarks = figure.canvas.pixels(figure.landmarks) @ affine[:, :2].T + affine[:, 2]
    middle = figure.canvas.pixels(figure.turn([(0.0, 0.45)], 0.4)) @ affine[:, :2].T + affine[:, 2]
    half = 1.35 * shot.scale * size
    box = np.concatenate([middle[0] - half, middle[0] + half])
    return landmarks, np.clip(box, 0, size - 1)


def _develop(planes: np.ndarray, shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """Shadows, white balance, exposure, contrast, blur and noise; uint8 (size, size, 3)."""
    size = planes.shape[1]
    fall = np.clip(rng.uniform(0.6, 2.5) * _patch(rng, int(rng.integers(8, 40)), size), -1, 1)
    planes = planes * (1 - np.float32(shot.shadow / 2) * (1 + fall))
    gain = np.float32(shot.white_balance) * np.float32(shot.exposure * (1 + shot.shadow / 2))
    image = np.ascontiguousarray(planes.transpose(1, 2, 0)) * gain
    if shot.grey:
        grey = image @ np.float32([0.299, 0.587, 0.114])
        image = np.repeat(grey[..., None], 3, axis=2)
    image = (image - 118) * np.float32(shot.contrast) + 118
    bright = image > _BRIGHT  # highlights bend over softly
    image[bright] = 255 - (255 - _BRIGHT) * np.exp((_BRIGHT - image[bright]) / (255 - _BRIGHT))
    sigma = shot.blur * size / 160
    if sigma > _SHARP:
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


# ---------------------------------------------------------------------------------------------
# The archives

_FIRST = (
    "Ada Alin Anouk Aric Bao Bela Brin Cai Cleo Dara Devin Elia Emre Fenn Gael Hana Idris Ines "
    "Jun Kari Kiran Lale Levi Lior Maren Milo Nadi Noor Odell Oona Pax Quin Remy Rio Sami Sasha "
    "Tal Teo Uma Vanja Wren Yael Zev Zoë"
)
_LAST = (
    "Abel Ander Bauer Bel Berg Cald Castel Dahl Del Dorn Elm Fair Falk Fern Gar Gold Hald Hart "
    "Hol Ingel Jans Kal Kel Kirk Lang Lind Mar Mont Nor Oster Pal Rav Ros Sand Sol Stein Tor Val "
    "Wal West"
)
_ENDINGS = "a by dal er es field ic järvi man ova ström well"


def _names(people: int, seed: int) -> list[str]:
    """That many different names, none of which tells sex."""
    first, last, ending = _FIRST.split(), _LAST.split(), _ENDINGS.split()
    pairs = len(first) * len(last) * len(ending)
    order = _rng(seed, 2).permutation(pairs)
    names = []
    for person in range(people):
        again, index = divmod(person, pairs)
        rest, e = divmod(int(order[index]), len(ending))
        f, k = divmod(rest, len(last))
        middle = f" {_initials(again)}" if again else ""
        names.append(f"{first[f]}{middle} {last[k]}{ending[e]}")
    return names


def _initials(number: int) -> str:
    """1, 2, ... as A, B, ..., Z, AA, AB, ..."""
    letters = ""
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


class _Archive:
    """Adds members of fixed headers (no times, no owners) below `root`, and collects the truth."""

    def __init__(self, tar: tarfile.TarFile, root: str):
        self.tar, self.root = tar, root
        columns = [f"{name}_{axis}" for name in LANDMARKS for axis in "xy"]
        self.truth = io.StringIO()
        self.table = csv.writer(self.truth, lineterminator="\n")
        self.table.writerow(["member", "sex", *columns])

    def add(self, member: str, data: bytes) -> None:
        entry = tarfile.TarInfo(f"{self.root}/{member}")
        entry.size = len(data)
        self.tar.addfile(entry, io.BytesIO(data))

    def add_portrait(self, member: str, data: bytes, sex: str, landmarks: np.ndarray) -> None:
        self.add(member, data)
        numbers = ["" if np.isnan(value) else f"{value:.3f}" for value in landmarks.ravel()]
        self.table.writerow([f"{self.root}/{member}", sex, *numbers])


@contextlib.contextmanager
def _archive(path: str | os.PathLike, root: str, compressed: bool) -> Iterator[_Archive]:
    """A tar, or .tgz, of fixed bytes that appears whole, with the truth as its last member."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(stack.enter_context(atomic(path)), "wb"))
        if compressed:
            file = stack.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0))
        tar = stack.enter_context(
            tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT)
        )
        archive = _Archive(tar, root)
        yield archive
        archive.add("landmarks.csv", archive.truth.getvalue().encode())


def render_lfw(
    path: str | os.PathLike,
    *,
    people: int,
    pictures: int,
    seed: int,
    size: int = 160,
    root: str = "portraits_identity",
) -> None:
    """Write a .tgz as LFW is published: `<root>/<First_Last>/<First_Last>_0001.jpg`, ... .

    `people` persons with `pictures` pictures each, of `size` by `size` pixels. At the end
    `<root>/landmarks.csv`: member, sex, and x and y of the five LANDMARKS in pixels.
    Raises GraftError for people or pictures below 1, a size below MIN_SIZE and a seed below 0.
    """
    _check(people=people, pictures=pictures, size=size, seed=seed)
    plain = [unicodedata.normalize("NFKD", name) for name in _names(people, seed)]
    names = sorted(name.encode("ascii", "ignore").decode().replace(" ", "_") for name in plain)
    with (
        _archive(path, root, compressed=True) as archive,
        tqdm(total=people * pictures, desc="portraits", unit="picture", mininterval=1) as bar,
    ):
        for person, name in enumerate(names):
            identity = draw_identity(seed, person)
            for picture in range(pictures):
                shot = draw_shot(seed, person, picture)
                portrait = render(identity, shot, size)
                member = f"{name}/{name}_{picture + 1:04d}.jpg"
                archive.add_portrait(
                    member, encode(portrait, shot), identity.sex, portrait.landmarks
                )
                bar.update()


def _check(**numbers: int) -> None:
    least = {"people": 1, "pictures": 1, "size": MIN_SIZE, "seed": 0}
    for key, value in numbers.items():
        if value < least[key]:
            raise GraftError(
                f"Drawn portraits need {key} >= {least[key]}, not {value}: change {key}."
            )


@dataclass(frozen=True)
class _WikiRow:
    """One row of wiki.mat. `person` and `picture` say what to draw, not who it is said to be."""

    name: str
    file_id: int
    dob: int
    taken: int
    person: int
    picture: int = 0
    defect: str = ""

    @property
    def full_path(self) -> str:
        if self.dob <= _YEAR_ZERO:  # Python's calendar begins with year 1, MATLAB's with 0
            day = date(4, 1, 1) + timedelta(days=self.dob - 1)
            born = f"0-{day:%m-%d}"
        else:
            day = date.fromordinal(self.dob - _YEAR_ZERO)
            born = f"{day.year}-{day:%m-%d}"
        return f"{self.file_id % 100:02d}/{self.file_id}_{born}_{self.taken}.jpg"


_YEAR_ZERO = 366  # the last MATLAB datenum of year 0; datenum = date.toordinal() + 366


def _plan_wiki(people: int, seed: int, defects: bool) -> list[_WikiRow]:
    """The rows of wiki.mat: one a person, and one more for each person who is there twice."""
    rng = _rng(seed, 3)
    rows = []
    for person, name in enumerate(_names(people, seed)):
        taken, age = int(rng.integers(1950, 2015)), int(rng.integers(16, 85))
        born = date(taken - age, 1, 1) + timedelta(days=int(rng.integers(365)))
        file_id = 100_000 + 137 * person + int(rng.integers(137))
        rows.append(_WikiRow(name, file_id, born.toordinal() + _YEAR_ZERO, taken, person))
    if not defects:
        return rows
    order = iter(rng.permutation(people).tolist())
    second = {}
    for defect, share in DEFECTS.items():
        for count in range(max(1, round(share * people))):
            index = next(order, None)
            if index is None:
                break
            row = replace(rows[index], defect=defect)
            if defect == "bad_age":
                row = _spoil_age(row, count, rng)
            elif defect == "duplicate":
                other = next(order, None)
                if other is None:
                    break
                row = replace(row, person=rows[other].person)
            elif defect == "twice":
                second[index] = replace(row, taken=row.taken + int(rng.integers(1, 5)), picture=1)
            rows[index] = row
    return [row for i, first in enumerate(rows) for row in (first, second.get(i)) if row]


def _spoil_age(row: _WikiRow, count: int, rng: np.random.Generator) -> _WikiRow:
    """Birth in year 0 (the first row only), else by turns after the picture or a century early."""
    if count == 0:
        return replace(row, dob=int(rng.integers(1, _YEAR_ZERO + 1)))
    if count % 2:
        return replace(row, dob=row.dob + 366 * int(rng.integers(90, 100)))
    return replace(row, dob=row.dob - 366 * int(rng.integers(100, 140)))


def render_wiki(
    path: str | os.PathLike,
    *,
    people: int,
    seed: int,
    size: int = 160,
    defects: bool = True,
) -> dict[str, int]:
    """Write a tar as the WIKI half of IMDB-WIKI is published (https://data.vision.ee.ethz.ch/).

    `wiki_crop/NN/<id>_<birth>_<year>.jpg`, one picture of `size` by `size` pixels for most of
    `people`; then `wiki_crop/wiki.mat`, a MATLAB 5 struct `wiki` of row vectors dob (datenum),
    photo_taken (year), full_path, gender (1 male, 0 female, NaN unknown), name, face_location
    (x1 y1 x2 y2 from 1), face_score and second_face_score (NaN: none); last
    `wiki_crop/landmarks.csv`, the ground truth as in `render_lfw` (empty where there is no face).

    With `defects`, the shares DEFECTS of the people, and at least one of each as long as there
    are people left, show what the real set has: unknown sex, no face (score -Inf, background
    only), a second face, a face score below 1, an impossible age (the first one is born in year
    0, a datenum <= 366), a JPEG cut in half, an empty file, the bytes of somebody else's picture
    under one's own name (of the same recorded sex), and one person with two pictures.
    Returns how many rows have which defect (both rows of a person who is there twice).
    Raises GraftError for people below 1, a size below MIN_SIZE and a seed below 0.
    """
    _check(people=people, size=size, seed=seed)
    rows = _plan_wiki(people, seed, defects)
    rng = _rng(seed, 4)
    table = {field: [] for field in _WIKI_FIELDS}
    counts = collections.Counter(row.defect for row in rows if row.defect)
    with _archive(path, "wiki_crop", compressed=False) as archive:
        for row in tqdm(rows, desc="portraits", unit="picture", mininterval=1):
            identity = draw_identity(seed, row.person)
            shot = draw_shot(seed, row.person, row.picture)
            beside = None
            if row.defect == "second_face":
                beside = _bystander(seed, people + row.person)
            portrait = render(
                None if row.defect == "no_face" else identity, shot, size, beside=beside
            )
            data = encode(portrait, shot)
            keep = {"truncated": len(data) // 2, "zero_byte": 0}.get(row.defect, len(data))
            archive.add_portrait(row.full_path, data[:keep], identity.sex, portrait.landmarks)
            for field, value in _wiki_record(row, identity, portrait, rng).items():
                table[field].append(value)
        archive.add("wiki.mat", _wiki_mat(table))
    return dict(counts)


_WIKI_FIELDS = {  # in the published order; None marks a MATLAB cell
    "dob": np.int32,
    "photo_taken": np.uint16,
    "full_path": None,
    "gender": np.float64,
    "name": None,
    "face_location": None,
    "face_score": np.float64,
    "second_face_score": np.float64,
}


def _bystander(seed: int, person: int) -> tuple[Identity, Shot]:
    """Someone smaller, at the left or right edge of the picture."""
    shot = draw_shot(seed, person, 0)
    side = 0.36 if shot.x > 0 else -0.36
    return draw_identity(seed, person), replace(shot, x=side, y=-0.1, scale=0.75 * shot.scale)


def _wiki_record(
    row: _WikiRow, identity: Identity, portrait: Portrait, rng: np.random.Generator
) -> dict:
    """The values of one row, with scores from where the real ones lie (see `wiki.mat`)."""
    usual, low, other = (
        np.clip(rng.normal(3.2, 1.2), 1.02, 7.0),
        *rng.uniform((0.1, 0.8), (0.99, 4)),
    )
    scores = {"low_score": low, "no_face": -np.inf}
    genders = {"male": 1.0, "female": 0.0}
    location = (portrait.box + 1)[None]
    if row.defect == "no_face":  # the real set gives the whole picture, in MATLAB's smallest type
        side = portrait.image.shape[0]
        location = np.array([[1, 1, side, side]], dtype=np.min_scalar_type(side))
    return {
        "dob": row.dob,
        "photo_taken": row.taken,
        "full_path": row.full_path,
        "gender": np.nan if row.defect == "unknown_sex" else genders[identity.sex],
        "name": row.name,
        "face_location": location,
        "face_score": scores.get(row.defect, usual),
        "second_face_score": other if row.defect == "second_face" else np.nan,
    }


def _wiki_mat(table: dict[str, list]) -> bytes:
    """The struct `wiki` as a MATLAB 5 file without the date that scipy stamps into its header."""
    struct = {}
    for field, dtype in _WIKI_FIELDS.items():
        column = np.empty((1, len(table[field])), dtype=dtype or object)
        for index, value in enumerate(table[field]):
            column[0, index] = value
        struct[field] = column
    file = io.BytesIO()
    savemat(file, {"wiki": struct}, do_compression=True)
    data = file.getvalue()
    header = b"MATLAB 5.0 MAT-file, Platform: GLNXA64, Created on: Thu Jan  1 00:00:00 1970"
    return header.ljust(116) + data[116:]
