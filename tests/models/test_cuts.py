"""Cuts: a small network of known parts, recorded, cut and put together again."""

import pytest
import torch
from torch import nn

from graft.core.errors import GraftError
from graft.models import blocks
from graft.models.cuts import Traced


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, maps):
        return maps + self.norm(self.conv(maps))


class Small(nn.Module):
    """A stem, two residual units, dropout, positions from the shape, and a classifier."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU())
        self.units = nn.Sequential(Residual(), Residual())
        self.rest = nn.Dropout(0.5)
        self.last = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.2)
        self.classifier = nn.Linear(4, 10)

    def forward(self, pictures, scale=1.0):
        positions = torch.arange(pictures.shape[2], device=pictures.device).float().mean()
        maps = self.rest(self.units(self.stem(pictures)))
        features = self.last(maps.mean((2, 3))) + scale * positions
        return self.classifier(self.drop(features))


class Branching(nn.Module):
    def forward(self, pictures):
        return pictures if pictures.sum() > 0 else -pictures


class CountsBatch(nn.Module):
    """Divides by the number of pictures, which a half does not have to know."""

    def __init__(self):
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, pictures):
        count = pictures.shape[0]
        return self.other(self.conv(pictures)) / count


class Shared(nn.Module):
    """One convolution twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 3, 1), nn.MaxPool2d(2)

    def forward(self, pictures):
        return self.conv(self.pool(self.conv(pictures)))


@pytest.fixture
def small():
    torch.manual_seed(0)
    traced = Traced(Small(), "small", 16)
    traced.drop_classifier()
    return traced


def names(traced):
    return [cut.names for cut in traced.cuts()]


def test_a_network_is_cut_behind_modules_that_everything_goes_through(small):
    assert names(small) == [
        ("stem.0",),
        ("stem.1", "stem"),
        ("units.0",),  # and not within a unit, around which its input goes
        ("units.1", "units", "rest"),  # dropout changes nothing of what is stored
        ("last",),
    ]
    assert small.classifier == "classifier."


def test_blocks_end_before_the_next_matrix_or_kernel(small):
    assert list(blocks.ends(small)) == ["stem.1", "units.0", "units.1", "last"]


@pytest.mark.parametrize("place", range(5))
def test_halves_give_what_the_network_gives(small, place):
    pictures = torch.randn(5, 3, 16, 16)
    small.network.eval()
    cut = small.cuts()[place].node
    before, after = small.before(cut), small.after(cut)
    with torch.no_grad():
        assert torch.equal(after(before(pictures)), small.network(pictures))
    own, others = set(before.state_dict()), set(after.state_dict())
    assert own.isdisjoint(others)
    assert own | others == {n for n in small.network.state_dict() if "classifier" not in n}


def test_what_follows_from_the_shape_of_pictures_is_a_constant_after_the_cut(small):
    cut = small.cuts()[0].node
    constants = [small.observed[node].values[0] for node in small.folded(cut)]
    assert [float(value) for value in constants] == [7.5]  # the mean of 0 to 15
    assert "constant_0" not in small.after(cut).state_dict()


def test_a_cut_after_which_the_number_of_pictures_is_needed_is_none():
    assert names(Traced(CountsBatch(), "counts", 8)) == []


def test_a_cut_between_two_uses_of_the_same_weights_is_none():
    assert names(Traced(Shared(), "shared", 8)) == []


def test_a_network_whose_way_depends_on_values_is_refused():
    with pytest.raises(GraftError, match=r"branching: the network cannot be recorded as a graph"):
        Traced(Branching(), "branching", 8)


def test_depths_are_those_of_blocks(small):
    ends = blocks.ends(small)
    after = blocks.after(small, ends["stem.1"], ends)
    counted = [sum(p.numel() for p in block.parameters()) for block in after]
    unit = 4 * 4 * 9 + 4 + 4 + 4
    assert counted == [unit, unit, 4 * 4 + 4]
    after[0].requires_grad_(False)
    assert not small.network.units[0].conv.weight.requires_grad
    assert small.network.units[1].conv.weight.requires_grad
