"""Batches: pictures are augmented by no more than asked."""

import numpy as np

from graft.config.models import Transform
from graft.training.batches import Batches


def test_augmentation_mirrors_and_shifts_by_no_more_than_asked():
    picture = np.arange(8 * 8, dtype=np.uint8).reshape(1, 8, 8, 1).repeat(64, 0)

    class Data:
        labels = np.zeros(64, np.int64)

        def read(self, indices):
            return picture[indices]

    plain = Batches(Data(), Transform(), flip=False, shift=0.0, device="cpu")
    flipped = Batches(Data(), Transform(), flip=True, shift=0.0, device="cpu")
    shifted = Batches(Data(), Transform(), flip=False, shift=0.25, device="cpu")
    rng = np.random.default_rng(0)
    assert (plain._augment(picture, rng) == picture).all()
    mirrored = (flipped._augment(picture, rng) == picture[:, :, ::-1]).all((1, 2, 3))
    assert 10 < mirrored.sum() < 54
    centre = set(shifted._augment(picture, rng)[:, 4, 4, 0].tolist())
    assert centre <= {8 * r + c for r in range(2, 7) for c in range(2, 7)} and len(centre) > 10
