"""The input transform, by hand."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from graft.config.sources import Transform
from graft.models.transforms import resized_side, to_input


def test_transforms_by_hand():
    pixel = torch.tensor([[[[255, 0, 51]]]], dtype=torch.uint8)
    plain = to_input(pixel, Transform(mean=(0.5, 0.5, 0.2), std=(0.5, 0.25, 0.1))).flatten()
    torch.testing.assert_close(plain, torch.tensor([1.0, -2.0, 0.0]), atol=1e-6, rtol=0)
    caffe = Transform(scale=1, mean=(103.0, 116.0, 123.0), std=(1, 1, 1), channels="BGR")
    torch.testing.assert_close(
        to_input(pixel, caffe).flatten(), torch.tensor([-52.0, -116.0, 132.0])
    )
    grey = to_input(torch.zeros(2, 8, 8, 1, dtype=torch.uint8), Transform(size=16))
    assert grey.shape == (2, 3, 16, 16) and grey.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("side", "size", "crop_pct"), [(300, 224, 0.875), (96, 224, 0.95), (64, 32, 1)]
)
def test_resizing_is_that_of_torchvision_within_a_grey_level(interpolation, side, size, crop_pct):
    """On pictures of Pillow's, as its presets and timm's are used."""
    rng = np.random.default_rng(side)
    blocks = rng.integers(0, 256, (1, side // 8 + 1, side // 8 + 1, 3), dtype=np.uint8)
    picture = torch.from_numpy(blocks.repeat(8, 1).repeat(8, 2)[:, :side, :side].copy())
    plain = {"scale": 1, "mean": (0, 0, 0), "std": (1, 1, 1)}
    found = to_input(
        picture, Transform(size=size, interpolation=interpolation, crop_pct=crop_pct, **plain)
    )
    resized = v2.functional.resize(
        Image.fromarray(picture[0].numpy()),
        [resized_side(size, crop_pct)] * 2,
        interpolation=v2.InterpolationMode(interpolation),
    )
    cropped = v2.functional.center_crop(resized, [size, size])
    expected = torch.from_numpy(np.array(cropped)).permute(2, 0, 1).float()
    assert (found - expected).abs().max() <= 1


def test_a_crop_of_the_middle_has_the_usual_sides():
    """torchvision's 256 and 232 for 224; timm rounds down, here it is even with the size."""
    assert [resized_side(224, 224 / side) for side in (256, 232, 224)] == [256, 232, 224]
    assert [resized_side(224, share) for share in (0.9, 0.95)] == [248, 236]
