"""People and shots: who is in a drawn portrait, and how the picture is taken.

`draw_identity` makes a person, `draw_shot` the circumstances of one picture. Both follow from
(seed, person, picture): equal arguments give equal values.
"""

from dataclasses import dataclass

import numpy as np

LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")  # left: the viewer's

# How far the mean of a man lies from the mean of a woman, in standard deviations of either.
# With the beard these make the Bayes rate about 95 % (tests/test_portraits.py estimates it).
SEX_SEPARATION = {"hair_length": -1.4, "jaw": 1.65, "brow": 1.6, "lips": -1.4}
BEARD_SHARE = {"male": 0.4, "female": 0.01}

SKIN = np.float32(
    [[236, 204, 184], [222, 180, 150], [198, 148, 112], [156, 106, 76], [108, 72, 52]]
)
HAIR = np.float32(
    [[30, 25, 24], [58, 40, 30], [96, 66, 44], [128, 74, 42], [176, 138, 88], [214, 186, 136]]
)
IRIS = np.float32([[72, 46, 30], [104, 76, 42], [86, 104, 66], [78, 108, 140], [112, 124, 134]])


HAIR_STYLES = ("side", "back", "fringe", "centre")
NECKLINES = {"round": 2.38, "v": 2.85, "shirt": 2.62, "high": 2.18}  # how low, face frame
HANGS = 0.45  # hair that ends below this hangs beside the face (face frame, 0 is the eyes)
STRIPED = 0.3  # share of striped clothes
GREY = 0.2  # share of pictures without colour
SHARP = 0.25  # pixels; less blur than this is invisible
BRIGHT = 190  # grey level above which highlights bend over


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


def generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def draw_identity(seed: int, person: int, sex: str | None = None) -> Identity:
    """Person number `person` of the population `seed`, half of which is male.

    Forcing `sex` changes the five attributes that carry sex and nothing else.
    """
    rng = generator(seed, 0, person)
    drawn = ("male", "female")[rng.integers(2)]
    sex = sex or drawn
    side = 0.5 if sex == "male" else -0.5
    carriers = {
        name: float(side * separation + rng.standard_normal())
        for name, separation in SEX_SEPARATION.items()
    }
    bearded, strength = rng.random(), rng.uniform(0.3, 1.0)
    skin = rng.beta(1.0, 1.5)
    hair = rng.random() * (1 - 0.75 * skin) * (len(HAIR) - 1)
    hair_colour = ramp(HAIR, hair) * rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, 3)
    iris = IRIS[rng.choice(len(IRIS), p=iris_shares(skin))] * rng.uniform(0.8, 1.2)

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
    rng = generator(seed, 1, person, picture)

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
        grey=bool(rng.random() < GREY),
        blur=float(rng.uniform(0.0, 1.0) ** 2 * 1.2),
        noise=float(rng.uniform(0.0, 10.0)),
        jpeg_quality=int(rng.integers(45, 96)),
        clothes=random_colour(rng),
        clothes2=random_colour(rng),
        collar=tuple(NECKLINES)[rng.integers(4)],
    )


def sex_log_odds(identity: Identity) -> float:
    """ln p(attributes | male) / p(attributes | female), exact: its sign is Bayes' decision."""
    odds = sum(separation * getattr(identity, name) for name, separation in SEX_SEPARATION.items())
    male, female = BEARD_SHARE["male"], BEARD_SHARE["female"]
    if identity.beard > 0:
        return float(odds + np.log(male / female))
    return float(odds + np.log((1 - male) / (1 - female)))


def iris_shares(skin: float) -> np.ndarray:
    """Chances of the rows of IRIS: dark skin goes with brown eyes."""
    shares = np.array([1.0, 0.6, 0.5, 0.9, 0.5]) * np.array([1, *[(1 - skin) ** 2] * 4])
    return shares / shares.sum()


def ramp(colours: np.ndarray, position: float) -> np.ndarray:
    """The colour at `position` in [0, len(colours) - 1], between the rows of `colours`."""
    rows = np.arange(len(colours))
    return np.array([np.interp(position, rows, channel) for channel in colours.T])


def random_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """Any hue, mostly muted: RGB in [10, 245]."""
    grey = rng.uniform(20, 235)
    return tuple(np.clip(grey + rng.normal(0, 20, 3), 10, 245).tolist())
