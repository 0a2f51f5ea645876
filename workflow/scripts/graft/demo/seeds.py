"""Random numbers: one independent stream per seed, purpose, person and picture."""

import numpy as np

IDENTITIES, SHOTS, NAMES, WIKI_ROWS, WIKI_SCORES = range(5)
"""The purposes."""


def generator(seed: int, purpose: int, *key: int) -> np.random.Generator:
    """The stream of one purpose; `key` is the number of the person, then of the picture."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, *key)))
