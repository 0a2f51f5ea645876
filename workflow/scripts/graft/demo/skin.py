"""The skin of a drawn person: neck, ears, face and beard, and the light on the face.

The light follows from a height field, Gaussian bumps on an ellipsoid, under one lamp: Lambert's law
and a highlight.
"""

import numpy as np

from graft.demo.figure import Figure
from graft.demo.functions import exp, product, sin
from graft.demo.shapes import Window, curve, mirrored

NECKLINES = {"round": 2.38, "v": 2.85, "shirt": 2.62, "high": 2.18}
"""How low the neckline of each collar is, in the face frame."""


def draw_neck(figure: Figure) -> None:
    canvas, identity = figure.canvas, figure.identity
    half = identity.neck
    low = NECKLINES[figure.shot.collar]
    shift = 0.25 * sin(figure.shot.yaw)
    right = curve(
        [(half, 0.9), (half, 1.6), (half * 1.04, 1.95), (half * 1.25, 2.14), (half * 1.1, 2.28)]
    )
    tip = curve([(half * 1.1, 2.28), (half * 0.55, low * 0.7 + 0.69), (0.0, low)])
    neck = mirrored(np.vstack([right, tip]))
    neck[:, 0] += shift * np.clip((2.1 - neck[:, 1]) / 1.2, 0, 1)
    canvas.paint(neck, figure.skin * 0.86)
    lit = figure.light[0]
    for sign in (-1, 1):
        canvas.tint((sign * half, 1.9), (0.22, 0.5), figure.crease, 0.30 - 0.22 * sign * lit)
        canvas.tint((sign * 0.16, 2.2), (0.05, 0.18), figure.crease, 0.25)
    chin = (0.3 * lit + shift, figure.chin_y + 0.12)
    canvas.tint(chin, (0.62, 0.24), figure.crease, 0.75)


def draw_ears(figure: Figure) -> None:
    canvas, identity = figure.canvas, figure.identity
    for sign in (-1, 1):
        x, size = sign * 1.07 * identity.face_width, identity.ears
        ear = np.array(
            [(-0.05, -0.22), (0.10, -0.27), (0.19, -0.12), (0.15, 0.12), (0.05, 0.30)]
            + [(-0.06, 0.24)]
        )
        ear = curve(ear * size * (sign, 1) + (x, 0.16), closed=True)
        canvas.paint(figure.turn(ear, -0.05), figure.skin * (0.95, 0.88, 0.86))
        hollow = figure.turn((x + sign * 0.06 * size, 0.14), -0.05)
        lit = 1 + 0.25 * sign * figure.light[0]
        canvas.tint(hollow, (0.05 * size, 0.11 * size), figure.crease, 0.55 / lit)


def draw_skin(figure: Figure, window: Window, mask: np.ndarray) -> None:
    """The skin of the head, whose coverage is `mask`, with freckles and beard, without light."""
    canvas, identity = figure.canvas, figure.identity
    across, down = canvas.grid(window)
    blotch = 1 + np.float32(0.015) * figure.noise(across, down, 40, 40)
    canvas.blend(window, mask, figure.skin.astype(np.float32)[:, None, None] * blotch)
    blush = figure.skin * (1.0, 0.78, 0.76)
    for sign in (-1, 1):
        cheek, lid, bag = figure.turn(
            np.array([(0.66, 0.52), (figure.eye_x, -0.12), (figure.eye_x, 0.17)]) * (sign, 1)
        )
        canvas.tint(cheek, (0.27, 0.22), blush, 0.45)
        canvas.tint(lid, (0.24, 0.10), figure.skin * (0.72, 0.62, 0.60), 0.5)
        canvas.tint(bag, (0.22, 0.05), figure.skin * (0.80, 0.68, 0.68), 0.45)
    canvas.tint(figure.turn((0, identity.nose_length), 1.18), (0.15, 0.12), blush, 0.4)
    if identity.freckles:
        draw_freckles(figure)
    if identity.beard:
        draw_beard(figure)


def light_skin(figure: Figure, window: Window, mask: np.ndarray) -> None:
    """Light and highlights on the head, whose coverage is `mask`."""
    shading, shine = lighting(figure, window)
    figure.canvas.shade(window, 1 + mask * (shading - 1))
    part = figure.canvas.planes[:3, window[0], window[1]]
    part += (255 - part) * (shine * mask)


def relief(figure: Figure) -> np.ndarray:
    """Gaussian bumps of the face, float32: rows of x, y, radius x, radius y, height."""
    identity, shot = figure.identity, figure.shot
    nose, mouth = identity.nose_length, figure.mouth_y
    lip = 0.05 + 0.012 * identity.lips
    sides = [
        (figure.eye_x, -0.25, 0.27, 0.10, 0.075),  # brow ridge
        (figure.eye_x * 0.95, 0.02, 0.23, 0.15, -0.085),  # socket
        (figure.eye_x, 0.02, 0.15, 0.09, 0.045),  # eyeball
        (0.64, 0.45, 0.28, 0.26, identity.cheeks + 0.05 * shot.smile),
        (identity.nose_width * 0.85, nose + 0.03, 0.07, 0.07, 0.05),  # wing of the nose
        (0.40 + 0.06 * shot.smile, nose + 0.22, 0.05, 0.20, -0.02 - 0.035 * shot.smile),
        (0.86, -0.50, 0.16, 0.30, -0.08),  # temple
    ]
    middle = [
        (0.0, 0.12, 0.10, 0.28, identity.nose_bridge),
        (0.0, nose * 0.70, 0.10, 0.20, 0.12),
        (0.0, nose - 0.02, 0.13, 0.11, 0.17),  # tip of the nose
        (0.0, nose + 0.24, 0.06, 0.10, -0.02),  # philtrum
        (0.0, mouth - 0.05, 0.24, 0.055, lip),
        (0.0, mouth + 0.09, 0.22, 0.065, lip * 1.2),
        (0.0, mouth + 0.24, 0.26, 0.06, -0.055),
        (0.0, figure.chin_y - 0.25, 0.24, 0.16, 0.10),
        (0.0, -0.80, 0.55, 0.35, 0.06),  # forehead
    ]
    bumps = np.array([(-x, *rest) for x, *rest in sides] + sides + middle)
    depth = np.full(len(bumps), 0.95)
    depth[-7] = 1.18  # the tip of the nose
    bumps[:, :2] = figure.turn(bumps[:, :2], depth)
    return bumps.astype(np.float32)


def lighting(figure: Figure, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Brightness of the head (about 1 where it faces the viewer), and its highlights in [0, 1]."""
    across, down = figure.canvas.grid(window)
    x, y, rx, ry, height = relief(figure)[..., None].transpose(1, 0, 2)
    u, v = (across - x) / rx, (down - y) / ry
    bump_x, bump_y = exp(-(u**2) / 2), exp(-(v**2) / 2)
    slope_x = product((height * bump_y).T, u / rx * bump_x)
    slope_y = product((height * v / ry * bump_y).T, bump_x)
    ball_x = np.clip(across / 1.28, -0.9, 0.9)
    ball_y = np.clip((down - 0.12) / 2.25, -0.8, 0.8)
    ball_z = np.sqrt(np.clip(1 - ball_x**2 - ball_y[:, None] ** 2, 0.06, 1))
    normal_x = ball_x / ball_z + slope_x
    normal_y = ball_y[:, None] / ball_z + slope_y
    length = np.sqrt(normal_x**2 + normal_y**2 + 1)
    lx, ly, lz = figure.light.astype(np.float32)
    lambert = np.maximum(normal_x * lx + normal_y * ly + lz, 0) / length
    ambient = np.float32(figure.shot.ambient)
    front = ambient + (1 - ambient) * max(float(lz), 0.45)
    sky = 1 - 0.10 * normal_y / length - 0.22 * (1 - 1 / length)
    shading = (ambient * sky + (1 - ambient) * lambert) / np.float32(front)
    hx, hy, hz = np.array([lx, ly, lz + 1], np.float32) / np.float32(np.sqrt(2 + 2 * lz))
    shine = np.maximum(normal_x * hx + normal_y * hy + hz, 0) / length
    for _ in range(4):  # to the power of 16
        shine = shine * shine
    return shading, shine * np.float32(figure.shot.shine)


def draw_freckles(figure: Figure) -> None:
    rng = np.random.default_rng([int(figure.identity.freckles * 1e9)])
    spots = rng.normal((0, 0.42), (0.45, 0.18), (28, 2))
    for spot in figure.turn(spots):
        figure.canvas.tint(spot, (0.022, 0.022), figure.crease, 0.6 * figure.identity.freckles)


def draw_beard(figure: Figure) -> None:
    identity, jaw, chin = figure.identity, figure.jaw, figure.chin
    outline = [
        (1.0 * identity.face_width, 0.25),
        (1.0 * identity.face_width, 0.75),
        (jaw + 0.02, 1.13),
        (0.5 * (jaw + chin) + 0.04, 1.5),
        (chin + 0.02, figure.chin_y - 0.05),
        (0.0, figure.chin_y + 0.02 + 0.06 * identity.beard),
    ]
    inner = [
        (0.0, figure.mouth_y - 0.19),
        (0.24, figure.mouth_y - 0.21),
        (0.46, figure.mouth_y - 0.07),
        (0.66, figure.mouth_y - 0.03),
        (0.84 * identity.face_width, 0.72),
        (0.92 * identity.face_width, 0.25),
    ]
    beard = figure.turn(np.vstack([mirrored(curve(outline)), mirrored(curve(inner)[::-1])[::-1]]))
    window, mask = figure.canvas.mask(beard, soft=0.06)
    across, down = figure.canvas.grid(window)
    strands = 1 + np.float32(0.22) * figure.noise(across, down, 160, 60)
    colour = (figure.hair * 0.8 + figure.crease * 0.2).astype(np.float32)
    covered = figure.canvas.planes[3, window[0], window[1]] / 255
    opacity = np.float32(0.15 + 0.75 * identity.beard)
    figure.canvas.blend(
        window, mask * opacity * np.maximum(covered, 0.6), colour[:, None, None] * strands
    )
