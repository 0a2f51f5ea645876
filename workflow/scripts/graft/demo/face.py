"""The face of a drawn person: nose, mouth, eyes and brows on the skin."""

import numpy as np

from graft.demo.figure import Figure
from graft.demo.functions import exp, tanh
from graft.demo.shapes import curve, ellipse, ribbon
from graft.demo.skin import draw_skin, light_skin


def draw_face(figure: Figure) -> None:
    window, mask = figure.canvas.mask(figure.head)
    draw_skin(figure, window, mask)
    draw_nose(figure)
    draw_mouth(figure)
    draw_mouth_corners(figure)
    for sign in (-1, 1):
        draw_eye(figure, sign)
        draw_brow(figure, sign)
    light_skin(figure, window, mask)


def draw_nose(figure: Figure) -> None:
    canvas, identity = figure.canvas, figure.identity
    y, width = identity.nose_length, identity.nose_width
    canvas.tint(figure.turn((0, y + 0.115), 1.15), (width * 0.75, 0.05), figure.crease, 0.40)
    for sign in (-1, 1):
        hole = figure.turn(ellipse(sign * width * 0.46, y + 0.085, 0.055, 0.028), 1.18)
        canvas.paint(hole, figure.crease * 0.6, opacity=0.8, soft=0.016)
        wing = np.array([(0.80, y - 0.07), (1.03, y + 0.01), (1.0, y + 0.09), (0.80, y + 0.11)])
        wing = figure.turn(wing * (sign * width, 1), 1.12)
        canvas.paint(ribbon(wing, [0.015, 0.04, 0.02]), figure.crease, opacity=0.5, soft=0.012)
        bridge = np.array([(0.16, -0.10), (0.11, 0.15), (0.12, y - 0.15)])
        bridge = figure.turn(bridge * (sign, 1), 1.08)
        shadow = 0.12 - 0.11 * sign * figure.light[0]
        canvas.paint(ribbon(bridge, [0.06, 0.05]), figure.crease, opacity=shadow, soft=0.05)


def draw_mouth(figure: Figure) -> None:
    canvas, identity = figure.canvas, figure.identity
    half, y, corner = figure.mouth_x, figure.mouth_y, figure.corner_y
    gap = 0.16 * figure.shot.mouth_open
    full = exp(0.7 * tanh(0.45 * identity.lips))
    red = lip_colour(figure)
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

    def lips(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return figure.turn(np.vstack([curve(first), curve(second)[::-1]]), 0.95)

    canvas.tint(figure.turn((0, y + 0.21 * full + gap), 0.95), (0.22, 0.04), figure.crease, 0.35)
    if gap:
        canvas.paint(lips(upper_line, lower_line), (58, 22, 24))
        teeth = np.array(upper_line)
        teeth[1:-1, 1] += gap * np.array([0.38, 0.55, 0.38])
        canvas.paint(lips(upper_line, teeth), (226, 220, 208), opacity=0.92, soft=0.006)
    canvas.paint(lips(top, upper_line), red * 0.86, opacity=0.92, soft=0.008)
    canvas.paint(lips(lower_line, low), red, opacity=0.92, soft=0.010)
    line = figure.turn(curve(upper_line)[::4], 0.95)
    canvas.paint(
        ribbon(line, [0.015, 0.035, 0.03, 0.035, 0.015]), figure.crease * 0.7, 0.8, soft=0.006
    )


def lip_colour(figure: Figure) -> np.ndarray:
    pale = figure.skin * (0.86, 0.60, 0.60)
    red = np.array([172, 48, 60]) * (0.55 + 0.45 * figure.skin[0] / 255)
    return pale + (red - pale) * (0.42 + 0.40 * tanh(0.5 * figure.identity.lips))


def draw_mouth_corners(figure: Figure) -> None:
    """The corners of the mouth, with the folds of a smile."""
    canvas, smile = figure.canvas, figure.shot.smile
    half, y, nose = figure.mouth_x, figure.mouth_y, figure.identity.nose_length
    for sign in (-1, 1):
        corner = figure.turn((sign * (half + 0.01), figure.corner_y), 0.90)
        canvas.tint(corner, (0.045, 0.04), figure.crease, 0.55)
        if smile > 0:
            fold = np.array([(0.24, nose + 0.06), (0.42, y - 0.20), (half + 0.14, y + 0.02)])
            fold = figure.turn(fold * (sign, 1), 0.95)
            canvas.paint(ribbon(fold, [0.02, 0.05, 0.02]), figure.crease, 0.35 * smile, soft=0.02)


def draw_eye(figure: Figure, sign: int) -> None:
    canvas, identity, shot = figure.canvas, figure.identity, figure.shot
    x, half = sign * figure.eye_x, identity.eye_width
    upper = identity.eye_height * 1.1 * shot.eye_open
    lower = identity.eye_height * 0.8 * (1 - 0.15 * max(shot.smile, 0))
    tilt = identity.eye_tilt
    inner, outer = (x - sign * half, 0.025), (x + sign * half, 0.01 - tilt)
    lid = [inner, (x - sign * half * 0.55, -upper * 0.75), (x, -upper)]
    lid += [(x + sign * half * 0.6, -upper * 0.78 - tilt * 0.6), outer]
    bottom = [outer, (x + sign * half * 0.55, lower * 0.85 - tilt * 0.3), (x, lower)]
    bottom += [(x - sign * half * 0.55, lower * 0.75), inner]
    eye = figure.turn(np.vstack([curve(lid), curve(bottom)]), 0.92)
    draw_eyeball(figure, eye, x, upper)
    lash = figure.turn(curve(lid)[::4], 0.92)
    canvas.paint(ribbon(lash, [0.015, 0.045, 0.05, 0.045]), figure.crease * 0.30, 0.92, soft=0.004)
    rim = figure.turn(curve(bottom)[::4], 0.92)
    canvas.paint(ribbon(rim, [0.02, 0.018]), figure.crease * 0.9, 0.55, soft=0.006)
    crease = np.array(lid) + (0, -0.055)
    crease[[0, -1], 1] += 0.03
    crease = figure.turn(curve(crease)[::4], 0.92)
    canvas.paint(ribbon(crease, [0.01, 0.03, 0.02]), figure.crease, 0.55, soft=0.008)
    corner = figure.turn((x - sign * (half - 0.02), 0.022), 0.92)
    red = figure.skin * (0.92, 0.62, 0.60)
    canvas.paint(ellipse(corner[0], corner[1], 0.022, 0.016), red, opacity=0.7)


def draw_eyeball(figure: Figure, eye: np.ndarray, x: float, upper: float) -> None:
    """The eyeball within the outline `eye`: iris, pupil, the shadow of the upper lid, a glint."""
    canvas, shot = figure.canvas, figure.shot
    window, mask = canvas.mask(eye)
    centre = figure.turn((x + shot.gaze_x, -0.008 + shot.gaze_y), 0.92)
    across, down = canvas.grid(window)
    dx, dy = across - np.float32(centre[0]), down[:, None] - np.float32(centre[1])
    distance = np.sqrt(dx * dx + dy * dy)
    sharp = np.float32(canvas.unit * 0.8)
    iris = np.array(figure.identity.iris)
    eyeball = np.array([228, 222, 216], np.float32)[:, None, None] * np.ones_like(mask)
    for radius, colour in ((0.102, iris * 0.45), (0.088, iris * 1.15), (0.040, iris * 0.0 + 12)):
        cover = np.clip((np.float32(radius) - distance) * sharp + 0.5, 0, 1)
        for plane, value in zip(eyeball, colour, strict=True):
            plane[:] += (np.float32(value) - plane) * cover
    shadow = np.clip((down + upper * 1.0) / (upper * 0.9), 0.0, 1.0)
    eyeball *= (0.55 + 0.45 * shadow)[:, None]
    canvas.blend(window, mask, eyeball)
    glint = centre + 0.035 * np.array([np.sign(figure.light[0]) or 1.0, -1.0])
    canvas.paint(ellipse(glint[0], glint[1], 0.020, 0.020), (250, 250, 250), opacity=0.95)


def draw_brow(figure: Figure, sign: int) -> None:
    canvas, identity = figure.canvas, figure.identity
    y = -identity.brow_height - figure.shot.brow_raise
    x = figure.eye_x
    thick = 0.095 * exp(0.28 * identity.brow)
    points = [
        (x - 0.29, y + 0.035 + identity.brow_tilt),
        (x - 0.10, y - identity.brow_arch * 0.5 + identity.brow_tilt * 0.4),
        (x + 0.12, y - identity.brow_arch - identity.brow_tilt * 0.4),
        (x + 0.33, y + 0.045 - identity.brow_tilt),
    ]
    brow = figure.turn(np.array(points) * (sign, 1), 0.95)
    shape = ribbon(brow, [thick * 0.75, thick, thick * 0.9, thick * 0.25])
    colour = figure.hair * 0.62
    opacity = float(np.clip(0.72 + 0.10 * identity.brow, 0.4, 0.95))
    canvas.paint(shape, colour, opacity, soft=0.014)
