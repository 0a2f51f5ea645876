"""Batches: training samples are augmented, and no others."""

import numpy as np
import pytest
import torch
from networks import AUGMENT, OF_BATCHES, TRANSFORM

from graft.config.models import Augment
from graft.training.batches import Batches

PICTURES = np.random.default_rng(4).integers(0, 256, (6, 24, 24, 3)).astype(np.uint8)


class Data:
    """Six pictures, or their features with two views, of three classes."""

    classes = ("a", "b", "c")
    labels = np.array([0, 1, 2, 0, 1, 2])

    def __init__(self, block):
        self.block = block

    def read(self, indices):
        return self.block[indices]


def seeded():
    torch.manual_seed(1)
    return np.random.default_rng(1)


@pytest.mark.parametrize("name", AUGMENT)
def test_an_option_changes_what_is_trained_on_and_nothing_else(name):
    data, everything = Data(PICTURES), np.arange(6)
    augment = Augment.model_validate({"flip": False, name: AUGMENT[name]})
    batches = Batches(data, TRANSFORM, augment=augment, device="cpu")
    plain = Batches(data, TRANSFORM, device="cpu")
    wanted, labels = plain.read(everything, seeded())
    for inputs, own in (plain.read(everything), batches.read(everything)):
        assert torch.equal(inputs, wanted) and torch.equal(own, labels)
    inputs, own = batches.read(everything, seeded())
    assert inputs.shape == wanted.shape and inputs.dtype == wanted.dtype
    assert inputs.stride() == wanted.stride(), "channels last, which is faster"
    assert not torch.equal(inputs, wanted)
    assert torch.equal(own, labels) == (name not in OF_BATCHES)


def test_of_features_the_view_is_drawn_and_nothing_is_moved():
    features = np.stack([np.arange(12.0).reshape(6, 2)] * 2, 1).astype(np.float16)
    features[:, 1] += 100
    drawn = Augment(flip=True, shift=0.5)
    inputs, _ = Batches(Data(features), None, augment=drawn, device="cpu").read(
        np.arange(6), seeded()
    )
    views = (inputs.numpy() >= 100).astype(int)
    assert (inputs.numpy() == features[np.arange(6), views[:, 0]]).all()
    assert 0 < views[:, 0].sum() < 6 and inputs.dtype == torch.float32
    plain, _ = Batches(Data(features), None, augment=drawn, device="cpu").read(np.arange(6))
    assert (plain.numpy() == features[:, 0]).all()
