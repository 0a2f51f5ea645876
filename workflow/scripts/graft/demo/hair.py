"""The hair of a drawn person, behind and in front of the head."""

from typing import NamedTuple

import numpy as np

from graft.demo.figure import Figure
from graft.demo.functions import arctan2, exp, sin
from graft.demo.shapes import Window, curve, texture

HANGING = 0.45
"""Hair that ends below this hangs beside the face (face frame; 0 is the eyes)."""

HAIRLINES = {
    "side": [(0.95, -0.35), (0.84, -0.66), (0.62, -0.92), (0.32, -1.08)]
    + [(-0.1, -0.90), (-0.5, -0.72), (-0.80, -0.52), (-0.95, -0.25)],
    "back": [(0.95, -0.40), (0.86, -0.72), (0.66, -0.96), (0.25, -1.06)]
    + [(-0.25, -1.06), (-0.66, -0.96), (-0.86, -0.72), (-0.95, -0.40)],
    "fringe": [(0.95, -0.30), (0.82, -0.50), (0.55, -0.56), (0.2, -0.55)]
    + [(-0.2, -0.57), (-0.55, -0.55), (-0.82, -0.50), (-0.95, -0.30)],
    "centre": [(0.95, -0.20), (0.88, -0.48), (0.62, -0.78), (0.14, -1.10)]
    + [(-0.14, -1.10), (-0.62, -0.78), (-0.88, -0.48), (-0.95, -0.20)],
}
"""The lower edge of the front hair by style, from the right temple to the left one."""


class Strands(NamedTuple):
    """Lit strands, from which the shapes of the hair are cut: planes (3, h, w) of a window."""

    window: Window
    planes: np.ndarray


def draw_strands(figure: Figure) -> Strands:
    """Strands over the whole area of the hair; paints nothing."""
    canvas, identity, shot = figure.canvas, figure.identity, figure.shot
    window = canvas.window(-1.75, -2.2, 1.75, max(0.6, figure.hair_bottom + 0.15))
    across, down = canvas.grid(window)
    parting = 0.28 * shot.hair_side * (shot.hair_style == "side") + 0.2 * sin(shot.yaw)
    dx = np.broadcast_to(across - np.float32(parting), (len(down), len(across)))
    dy = np.broadcast_to((down + 2.3)[:, None], dx.shape)
    angle = arctan2(dx, dy)
    angle = angle + np.float32(0.07 * identity.hair_wave) * sin(
        dy * 5 + np.float32(3 * shot.hair_shift)
    )
    columns = (angle * 150 + 512).astype(np.int32) % 512
    rows = (dy * 12 + shot.seed % 97).astype(np.int32) % 512
    strands = texture()[rows, columns]
    ball_x = np.clip(across / 1.55, -0.95, 0.95)
    ball_y = np.clip((down + 0.1) / 2.0, -0.9, 0.5)[:, None]
    ball_z = np.sqrt(np.clip(1 - ball_x**2 - ball_y**2, 0.04, 1))
    lx, ly, lz = figure.light.astype(np.float32)
    lambert = np.clip(ball_x * lx + ball_y * ly + ball_z * lz, 0, 1)
    gloss = exp(-(((ball_y - 0.9 * ly - 0.12 + 0.03 * strands) / 0.16) ** 2) / 2) * lambert
    ambient = np.float32(shot.ambient)
    light = (ambient + (1 - ambient) * lambert) * (1 + np.float32(0.20) * strands)
    light = light / (ambient + (1 - ambient) * max(float(lz), 0.45))
    colour = figure.hair.astype(np.float32)[:, None, None] * light
    colour += (np.float32(70) + 0.4 * colour) * (gloss * np.float32(0.25 + shot.shine * 2))
    return Strands(window, colour)


def draw_back_hair(figure: Figure, strands: Strands) -> None:
    if figure.hair_bottom <= HANGING:
        return
    outer = curve(outline(figure))
    inner = curve([(0.0, 1.0), (0.5, 1.1), (0.62, min(1.6, figure.hair_bottom))])
    end = np.array([(0.62, figure.hair_bottom)])
    right = np.vstack([outer[::-1], end, inner[::-1]])
    shape = np.vstack([right, (right * (-1, 1))[::-1]])
    planes = strands.planes * np.float32(0.62)
    figure.canvas.paint_planes(figure.turn(shape, -0.15), planes, strands.window)


def draw_front_hair(figure: Figure, strands: Strands) -> None:
    """The hair in front, and its shadow on the head."""
    canvas, identity = figure.canvas, figure.identity
    outer = curve(outline(figure))
    bottom = figure.hair_bottom
    width = 1.07 * identity.face_width
    if bottom > HANGING:  # over the ears, beside the face
        side = [(width * 1.0, bottom), *((width * 0.985, y) for y in (1.2, 0.7) if y < bottom)]
        side += [(width * 0.96, 0.25), (width * 0.94, 0.0)]
    else:
        side = [(width * 0.985, bottom), (width * 0.945, bottom - 0.08), (width * 0.93, -0.12)]
    inner = np.vstack([side, hairline(figure), np.array(side)[::-1] * (-1, 1)])
    inner = figure.turn(curve(inner))
    right = figure.turn(outer, -0.1)
    left = figure.turn(outer * (-1, 1), -0.1)
    shape = np.vstack([right[::-1], inner, left])
    shadow = shape + (-0.05 * figure.light[0], 0.07)
    window, mask = canvas.mask(shadow, soft=0.05)
    covered = canvas.planes[3, window[0], window[1]] / 255
    canvas.shade(window, 1 - 0.38 * mask * (covered >= 1))
    canvas.paint_planes(shape, strands.planes, strands.window, soft=0.012)


def outline(figure: Figure) -> list[tuple[float, float]]:
    """The right half of the outline of the hair, from its end to the top of the head."""
    volume, bottom = 0.10 + 0.22 * figure.identity.hair_volume, figure.hair_bottom
    width = 1.07 * figure.identity.face_width
    short = float(np.clip((0.9 - bottom) / 0.9, 0, 1))  # short hair lies close to the skull
    side = volume * (1 - 0.6 * short)
    points = [(width + side * 0.95, 0.15), (width + side, -0.45)]
    points += [(width * 0.86 + side * 0.8, -1.08), (width * 0.50 + side * 0.3, -1.42 - volume)]
    if bottom > HANGING:
        wave = 0.05 * figure.identity.hair_wave
        below = [
            (width + side * 1.15 + wave * (-1) ** k, y)
            for k, y in enumerate(np.arange(bottom - 0.18, 0.5, -0.4))
        ]
        points = [(width * 0.90 + side * 0.2, bottom), *below, *points]
    else:
        points = [(width + side * 0.4, bottom), *points]
    return [*points, (0.0, -1.54 - volume)]


def hairline(figure: Figure) -> np.ndarray:
    """The control points (8, 2) of the lower edge of the front hair."""
    identity, shot = figure.identity, figure.shot
    lift = identity.hairline + shot.hair_shift * 0.3
    points = np.array(HAIRLINES[shot.hair_style])
    points[:, 1] -= lift
    points[:, 0] *= identity.face_width
    if shot.hair_side < 0:
        points = points[::-1] * (-1, 1)
    return points
