"""Dense features: exact where a network has no padding, and in the order of the boxes."""

import numpy as np
import pytest
import torch
from torch import nn

from graft.config.sources import Transform
from graft.core.errors import GraftError
from graft.images import patches
from graft.models import dense
from graft.models.backbones import Backbone
from graft.models.transforms import to_input

PLAIN = Transform()


def unpadded(seed=0):
    """Stride 4; 20 pixels have 4 x 4 cells."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 1)]
    return nn.Sequential(*layers).eval()


def noise(width, height):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def alone(prefix, picture, boxes):
    """Patches at whole pixels, one at a time."""
    crops = [picture[y1:y2, x1:x2] for x1, y1, x2, y2 in boxes.astype(int).tolist()]
    with torch.inference_mode():
        rows = [
            prefix(to_input(torch.from_numpy(crop)[None], PLAIN)).mean((2, 3)) for crop in crops
        ]
    return torch.cat(rows)


@pytest.mark.parametrize(
    ("name", "side", "cells", "stride"),
    [
        ("squeezenet1_1", 224, 13, 16),
        ("alexnet", 224, 6, 32),
        ("vgg16", 160, 5, 32),
        ("inception_v3", 299, 8, 32),
        ("cnn3", 160, 1, 64),
    ],
)
def test_the_geometry_of_known_networks(name, side, cells, stride):
    assert dense.geometry(Backbone(name, skip_init=True), side) == (side, cells, stride)


def test_deriving_the_geometry_leaves_the_network_alone():
    prefix = unpadded().train()
    dense.geometry(prefix, 20)
    assert prefix.training
    assert next(prefix.parameters()).device.type == "cpu"


def test_a_network_that_ends_in_a_vector_has_no_windows():
    for end in (nn.Flatten(), nn.AdaptiveAvgPool2d(1)):
        prefix = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(2), end)
        with pytest.raises(GraftError, match="ends in a vector"):
            dense.geometry(prefix, 20)


def test_without_padding_windows_at_whole_strides_are_the_patches_alone():
    prefix, picture = unpadded(), noise(61, 41)
    boxes = np.array([[x, y, x + 20, y + 20] for y in (0, 8, 20) for x in (40, 0, 4)], np.float64)
    found = dense.windows(prefix, picture, [boxes], dense.geometry(prefix, 20), PLAIN)
    assert (found.shape, found.dtype) == ((9, 5), torch.float32)
    torch.testing.assert_close(found, alone(prefix, picture, boxes))


def test_between_cells_windows_are_interpolated():
    prefix, picture = unpadded(), noise(61, 41)
    boxes = np.array([[x, 4, x + 20, 24] for x in (8, 9, 12)], np.float64)
    left, between, right = dense.windows(
        prefix, picture, [boxes], dense.geometry(prefix, 20), PLAIN
    )
    torch.testing.assert_close(between, 0.75 * left + 0.25 * right)


def test_each_scale_is_resized_so_that_its_patches_have_the_side():
    # Each pixel four times in a row and column: patches of twice the side, halved again.
    prefix, small = unpadded(), noise(40, 40)
    large = small.repeat(2, 0).repeat(2, 1)
    boxes = np.array([[0, 0, 20, 20], [12, 8, 32, 28]], np.float64)
    shape = dense.geometry(prefix, 20)
    found = dense.windows(prefix, large, [2 * boxes, boxes[:0], boxes], shape, PLAIN)
    shrunk = [np.asarray(patches.cut(large, box[None], 20)[0]) for box in 2 * boxes]
    assert len(found) == 4
    torch.testing.assert_close(found[2:], alone(prefix, large, boxes))
    with torch.inference_mode():
        expected = prefix(to_input(torch.from_numpy(np.stack(shrunk)), PLAIN)).mean((2, 3))
    # Pillow's filter reaches beyond a patch's edge in the whole picture and in `cut` alike.
    torch.testing.assert_close(found[:2], expected)


def test_the_rows_are_in_the_grids_order():
    # The mean colour is known: patches of a ramp are ordered as their centres.
    ramp = np.zeros((60, 90, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(90), np.arange(60)[:, None]
    prefix = nn.AvgPool2d(2)
    scales = patches.by_scale(90, 60, enough=None)
    plain = Transform(scale=1, mean=(0, 0, 0), std=(1, 1, 1))
    found = dense.windows(prefix, ramp, scales, dense.geometry(prefix, 32), plain)
    boxes = np.concatenate(scales)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5
    assert found[:, :2].numpy() == pytest.approx(centres, abs=1)


def test_patches_of_several_sizes_are_no_scale():
    boxes = np.array([[0, 0, 20, 20], [0, 0, 10, 10]], np.float64)
    with pytest.raises(ValueError, match="differ in size"):
        prefix = unpadded()
        dense.windows(prefix, noise(40, 40), [boxes], dense.geometry(prefix, 20), PLAIN)
