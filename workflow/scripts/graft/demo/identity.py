"""Identities: what a drawn person looks like."""

from dataclasses import dataclass

import numpy as np

from graft.demo.functions import square
from graft.demo.palette import HAIR, IRIS, RGB, between, iris_probabilities, rgb
from graft.demo.seeds import IDENTITIES, generator

SEX_SEPARATION = {"hair_length": -1.4, "jaw": 1.65, "brow": 1.6, "lips": -1.4}
"""Mean of men minus mean of women, in standard deviations of either. With BEARD_SHARE these give a
Bayes rate of about 95 % (tests/demo/test_identity.py estimates it)."""

BEARD_SHARE = {"male": 0.4, "female": 0.01}


@dataclass(frozen=True)
class Identity:
    """What one person looks like.

    `hair_length`, `jaw`, `brow` and `lips` are standard scores (mean 0 and standard deviation
    about 1 over all people); with `beard` they are all that depends on sex. `beard` is 0 for
    none, else in [0.3, 1]. The other numbers are lengths in the face frame (see `shapes`), shares
    in [0, 1] or colours, of the same distribution for both sexes.
    """

    sex: str
    hair_length: float
    jaw: float
    brow: float
    lips: float
    beard: float
    skin: float
    hair_colour: RGB
    hair_volume: float
    hair_wave: float
    hairline: float
    face_width: float
    face_length: float
    chin: float
    iris: RGB
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


def draw_identity(seed: int, person: int, sex: str | None = None) -> Identity:
    """Person number `person` of the population `seed`, half of which is male.

    Giving `sex` changes the five attributes that depend on sex and no other.
    """
    rng = generator(seed, IDENTITIES, person)
    drawn = ("male", "female")[rng.integers(2)]
    sex = sex or drawn
    side = 0.5 if sex == "male" else -0.5
    scores = {
        name: float(side * separation + rng.standard_normal())
        for name, separation in SEX_SEPARATION.items()
    }
    bearded, strength = rng.random(), rng.uniform(0.3, 1.0)
    skin = rng.beta(1.0, 1.5)
    hair = rng.random() * (1 - 0.75 * skin) * (len(HAIR) - 1)
    hair_colour = between(HAIR, hair) * rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, 3)
    iris = IRIS[rng.choice(len(IRIS), p=iris_probabilities(skin))] * rng.uniform(0.8, 1.2)

    def normal(mean: float, deviation: float) -> float:
        return float(mean + deviation * np.clip(rng.standard_normal(), -2.2, 2.2))

    return Identity(
        sex=sex,
        hair_length=scores["hair_length"],
        jaw=scores["jaw"],
        brow=scores["brow"],
        lips=scores["lips"],
        beard=float(strength if bearded < BEARD_SHARE[sex] else 0.0),
        skin=float(skin),
        hair_colour=rgb(hair_colour),
        hair_volume=float(rng.uniform(0.0, 1.0)),
        hair_wave=square(rng.uniform(0.0, 1.0)),
        hairline=normal(0.0, 0.06),
        face_width=normal(1.0, 0.03),
        face_length=normal(1.0, 0.04),
        chin=normal(0.0, 0.05),
        iris=rgb(iris),
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


def sex_log_odds(identity: Identity) -> float:
    """ln p(attributes | male) / p(attributes | female), exact: its sign is Bayes' decision."""
    scores = {
        "hair_length": identity.hair_length,
        "jaw": identity.jaw,
        "brow": identity.brow,
        "lips": identity.lips,
    }
    odds = sum(separation * scores[name] for name, separation in SEX_SEPARATION.items())
    male, female = BEARD_SHARE["male"], BEARD_SHARE["female"]
    if identity.beard > 0:
        return float(odds + np.log(male / female))
    return float(odds + np.log((1 - male) / (1 - female)))
