"""The input transform, by hand."""

import torch

from graft.config.sources import Transform
from graft.models.transforms import to_input


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
