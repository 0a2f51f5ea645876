"""Shapes: smooth polygons, and the canvas that they are painted on.

Coordinates are those of the face frame: its unit is the distance between average eyes, its origin
lies between the eyes, x to the viewer's right and y down. Colours are premultiplied RGBA.
"""

import functools
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike

from graft.demo.functions import cos, exp, plain_opencv, product, sin

Colour = Sequence[float] | np.ndarray
"""RGB in [0, 255]; or planes (3, h, w) where a function says so."""

Window = tuple[slice, slice]
"""Rows and columns of the canvas."""


@functools.cache
def spline_basis(count: int, closed: bool, steps: int = 8) -> np.ndarray:
    """Catmull-Rom weights: (points on the curve, control points)."""
    t = np.arange(steps)[:, None] / steps
    t2 = t * t
    t3 = t2 * t
    cubic = np.hstack([-t + 2 * t2 - t3, 2 - 5 * t2 + 3 * t3, t + 4 * t2 - 3 * t3, t3 - t2]) / 2
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


def curve(points: ArrayLike, closed: bool = False) -> np.ndarray:
    """A smooth curve through `points`: (n, 2)."""
    control = np.asarray(points, dtype=np.float64)
    return product(spline_basis(len(control), closed), control)


def mirrored(points: ArrayLike) -> np.ndarray:
    """The right half of a symmetric outline, top to bottom, closed by its mirror image."""
    right = np.asarray(points, dtype=np.float64)
    return np.vstack([right, right[::-1] * (-1, 1)])


def ribbon(points: ArrayLike, widths: Sequence[float]) -> np.ndarray:
    """The polygon of a stroke along `points`, whose width is interpolated between `widths`."""
    line = curve(points)
    width = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, len(widths)), widths)
    along = np.gradient(line, axis=0)
    length = np.sqrt(along[:, :1] * along[:, :1] + along[:, 1:] * along[:, 1:])
    across = along[:, ::-1] * (-1, 1) / length
    offset = across * width[:, None] / 2
    return np.vstack([line + offset, (line - offset)[::-1]])


def ellipse(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """A polygon of 32 points."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.stack([x + rx * cos(angle), y + ry * sin(angle)], axis=1)


class Canvas:
    """Premultiplied float32 RGBA planes over a window of the face frame."""

    LEFT, TOP, WIDTH, HEIGHT = -3.1, -2.4, 6.2, 5.8

    def __init__(self, size: int):
        self.unit = 0.36 * size
        shape = (round(self.HEIGHT * self.unit), round(self.WIDTH * self.unit))
        self.planes = np.zeros((4, *shape), dtype=np.float32)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Pixels of points of the face frame; 0 is the centre of the first pixel."""
        return (points - (self.LEFT, self.TOP)) * self.unit - 0.5

    def window(self, x0: float, y0: float, x1: float, y1: float) -> Window:
        """Row and column slices of a rectangle of the face frame, clipped to the canvas."""
        height, width = self.planes.shape[1:]
        (left, top), (right, bottom) = self.pixels(np.array([[x0, y0], [x1, y1]]))
        rows = slice(min(max(int(top), 0), height), min(max(int(bottom) + 2, 0), height))
        return rows, slice(min(max(int(left), 0), width), min(max(int(right) + 2, 0), width))

    def grid(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Face-frame coordinates of a window's columns and rows, float32."""
        rows, columns = window
        x = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5) / self.unit
        y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) / self.unit
        return x + np.float32(self.LEFT), y + np.float32(self.TOP)

    def mask(self, points: np.ndarray, soft: float = 0.0) -> tuple[Window, np.ndarray]:
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

    def blend(self, window: Window, mask: np.ndarray, colour: Colour) -> None:
        """Paint `colour` (or planes (3, h, w) of the window) with the opacity `mask`."""
        part = self.planes[:, window[0], window[1]]
        for plane, value in zip(part, (*colour, 255.0), strict=True):
            plane[:] += (np.float32(value) - plane) * mask

    def paint(
        self, points: np.ndarray, colour: Colour, opacity: float = 1.0, soft: float = 0.0
    ) -> None:
        """Fill a polygon; `soft` is the standard deviation of its blurred edge."""
        window, mask = self.mask(points, soft)
        self.blend(window, mask * np.float32(opacity), colour)

    def paint_planes(
        self, points: np.ndarray, planes: np.ndarray, where: Window, soft: float = 0.0
    ) -> None:
        """Fill a polygon with `planes` (3, h, w), which cover the window `where`."""
        window, mask = self.mask(points, soft)
        rows = slice(max(window[0].start, where[0].start), min(window[0].stop, where[0].stop))
        columns = slice(max(window[1].start, where[1].start), min(window[1].stop, where[1].stop))
        inner = mask[within(rows, window[0]), within(columns, window[1])]
        part = planes[:, within(rows, where[0]), within(columns, where[1])]
        self.blend((rows, columns), inner, part)

    def tint(
        self,
        centre: Sequence[float] | np.ndarray,
        radii: tuple[float, float],
        colour: Colour,
        opacity: float,
    ) -> None:
        """A spot that fades as a Gaussian; the coverage stays."""
        (x, y), (rx, ry) = centre, radii
        window = self.window(x - 2.5 * rx, y - 2.5 * ry, x + 2.5 * rx, y + 2.5 * ry)
        across, down = self.grid(window)
        fade_x = exp(-(((across - np.float32(x)) / np.float32(rx)) ** 2) / 2)
        fade_y = exp(-(((down - np.float32(y)) / np.float32(ry)) ** 2) / 2)
        part = self.planes[:, window[0], window[1]]
        spot = part[3] * fade_x * (fade_y * np.float32(opacity / 255))[:, None]
        for plane, value in zip(part[:3], colour, strict=True):
            plane[:] += (np.float32(value) - plane) * spot

    def shade(self, window: Window, factor: np.ndarray) -> None:
        """Multiply the colours of a window."""
        self.planes[:3, window[0], window[1]] *= factor


def within(inner: slice, outer: slice) -> slice:
    """`inner` relative to the start of `outer`."""
    return slice(inner.start - outer.start, max(inner.stop, inner.start) - outer.start)


@functools.cache
@plain_opencv()
def texture() -> np.ndarray:
    """A tile of smooth periodic noise, float32 (512, 512), mean 0 and standard deviation 1."""
    noise = np.random.default_rng(20160116).standard_normal((512, 512)).astype(np.float32)
    noise = np.pad(noise, 16, mode="wrap")
    fine, middle, coarse = (cv2.GaussianBlur(noise, (0, 0), s) * s for s in (1.0, 2.0, 4.0))
    total = fine + middle + coarse
    total = total[16:-16, 16:-16]
    return (total - total.mean()) / total.std()
