"""Shots: how one drawn picture is taken, whoever is in it."""

from dataclasses import dataclass

import numpy as np

from graft.demo.functions import cos, exp, sin, square
from graft.demo.palette import RGB, random_colour
from graft.demo.seeds import SHOTS, generator

HAIR_STYLES = ("side", "back", "fringe", "centre")
COLLARS = ("round", "v", "shirt", "high")
GREY = 0.2
"""Share of the pictures without colour."""


@dataclass(frozen=True)
class Shot:
    """How one picture is taken: everything in it that does not depend on the person.

    Angles in radians; `scale` (eye distance), `x` and `y` as shares of the picture's side;
    `light` a unit vector to the lamp (x right, y down, z to the viewer); `shadow` the depth of
    what falls across the picture; `noise` in grey levels; `blur` in pixels of a 160 px picture.
    `seed` is that of clutter, fabric, shadows and noise.
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
    white_balance: RGB
    grey: bool
    blur: float
    noise: float
    jpeg_quality: int
    clothes: RGB
    clothes2: RGB
    collar: str


def draw_shot(seed: int, person: int, picture: int) -> Shot:
    """How picture number `picture` of that person is taken; independent of the identity."""
    rng = generator(seed, SHOTS, person, picture)

    def normal(deviation: float, limit: float) -> float:
        return float(np.clip(deviation * rng.standard_normal(), -limit, limit))

    azimuth, elevation = rng.uniform(-1.15, 1.15), rng.uniform(-0.25, 1.0)
    light = (
        float(sin(azimuth) * cos(elevation)),
        float(-sin(elevation)),
        float(cos(azimuth) * cos(elevation)),
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
        exposure=float(exp(normal(0.18, 0.4))),
        contrast=float(exp(normal(0.12, 0.25))),
        white_balance=(1 + warmth, 1 + tint, 1 - warmth),
        grey=bool(rng.random() < GREY),
        blur=square(rng.uniform(0.0, 1.0)) * 1.2,
        noise=float(rng.uniform(0.0, 10.0)),
        jpeg_quality=int(rng.integers(45, 96)),
        clothes=random_colour(rng),
        clothes2=random_colour(rng),
        collar=COLLARS[rng.integers(4)],
    )
