"""What a drawn person wears: clothes, collar and glasses."""

import numpy as np

from graft.demo.figure import Figure
from graft.demo.functions import cos, sin
from graft.demo.shapes import curve, mirrored, ribbon

STRIPED = 0.3
"""Share of striped clothes."""


def draw_clothes(figure: Figure) -> None:
    """Shoulders in cloth with folds, some with stripes."""
    canvas, shot = figure.canvas, figure.shot
    rng = np.random.default_rng([shot.seed, 1])
    window = canvas.window(-3.1, 1.9, 3.1, 3.4)
    across, down = canvas.grid(window)
    cloth: np.ndarray = np.array(shot.clothes, np.float32)[:, None, None]
    if rng.random() < STRIPED:
        pitch, slope = rng.uniform(0.15, 0.6), rng.uniform(-1, 1)
        band = sin((down[:, None] + np.float32(slope) * across) * np.float32(6.3 / pitch))
        stripe = np.clip(band * 4, 0, 1) * np.float32(0.8)
        cloth = cloth + (np.array(shot.clothes2, np.float32)[:, None, None] - cloth) * stripe
    side = 1 + np.float32(0.35 * figure.light[0]) * np.clip(across / 2, -1, 1)
    folds = figure.noise(across, down, 60, 25)
    cloth = cloth * (side * np.float32(0.95) + np.float32(0.05) * folds)
    shoulders = mirrored(curve([(0.45, 2.05), (0.95, 2.28), (1.7, 2.50), (2.35, 2.85), (2.8, 3.6)]))
    canvas.paint_planes(shoulders, cloth, window)


def draw_collar(figure: Figure) -> None:
    canvas, lit = figure.canvas, figure.light[0]
    if figure.shot.collar == "shirt":
        cloth = np.array(figure.shot.clothes2)
        for sign in (-1, 1):
            wing = np.array([(0.60, 1.98), (0.86, 2.12), (0.62, 2.85), (0.05, 2.55)])
            canvas.paint(wing * (sign, 1), cloth * (1.0 + 0.1 * sign * lit))
            canvas.paint(ribbon(wing[[1, 2, 3]] * (sign, 1), [0.02]), cloth * 0.55, opacity=0.7)
    elif figure.shot.collar == "high":
        cloth = np.array(figure.shot.clothes)
        band = curve([(0.0, 2.12), (0.4, 2.07), (0.74, 1.92), (0.82, 2.25), (0.0, 2.5)])
        canvas.paint(mirrored(band), cloth * 0.92)
        seam = ribbon([(-0.74, 1.92), (0, 2.13), (0.74, 1.92)], [0.03])
        canvas.paint(seam, cloth * 0.6, opacity=0.7)


def draw_glasses(figure: Figure) -> None:
    canvas = figure.canvas
    thick = figure.shot.glasses == "thick"
    frame = np.array([34, 30, 32] if thick else [120, 104, 84])
    width = 0.045 if thick else 0.028
    for sign in (-1, 1):
        x = sign * (figure.eye_x + 0.02)
        angle = np.linspace(0, 2 * np.pi, 17)
        across, down = cos(angle), sin(angle)
        if thick:  # nearly square, not round
            across, down = (np.sign(part) * three_quarters(abs(part)) for part in (across, down))
        rim = np.stack(
            [
                x + 0.37 * across,
                0.03 + 0.27 * down,
            ],
            axis=1,
        )
        rim = figure.turn(rim, 1.02)
        canvas.paint(rim, (235, 240, 245), opacity=0.05)
        canvas.paint(ribbon(rim, [width]), frame, opacity=0.95)
        arm = figure.turn(
            np.array([(x + sign * 0.36, -0.02), (sign * 1.06, -0.02)]), np.array([1.0, 0.15])
        )
        canvas.paint(ribbon(arm, [width]), frame, opacity=0.9)
    bridge = figure.turn(
        [(-figure.eye_x + 0.35, -0.01), (0, -0.05), (figure.eye_x - 0.35, -0.01)], 1.1
    )
    canvas.paint(ribbon(bridge, [width]), frame, opacity=0.95)


def three_quarters(x: np.ndarray) -> np.ndarray:
    """x to the power of 3/4."""
    root = np.sqrt(x)
    return root * np.sqrt(root)
