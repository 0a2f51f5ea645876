"""The input transform: from stored uint8 pictures to what a backbone was trained on.

Weights are of use only with the input that they expect, so the transform is part of every source
and every model.
"""

import torch
from torch.nn import functional

from graft.config.sources import Transform


def to_input(pictures: torch.Tensor, transform: Transform) -> torch.Tensor:
    """uint8 (n, height, width, 1 or 3) RGB -> float32 (n, 3, size, size), channels last.

    One grey channel is repeated.
    """
    batch = pictures.permute(0, 3, 1, 2)
    if batch.shape[1] == 1:
        batch = batch.expand(-1, 3, -1, -1)
    return normalise(batch.float(), transform)


def normalise(pixels: torch.Tensor, transform: Transform) -> torch.Tensor:
    """float RGB pixels 0..255 (n, 3, height, width) -> (n, 3, size, size), channels last.

    (pixel * scale - mean) / std per channel, with the channels in the transform's order. Without a
    `size` the pictures keep theirs; resizing is bilinear with antialiasing.
    """
    size = transform.size
    if size is not None:
        side = resized_side(size, transform.crop_pct)
        if tuple(pixels.shape[2:]) != (side, side):
            pixels = _resized(pixels, side, transform.interpolation)
        if side > size:
            start = (side - size) // 2
            pixels = pixels[:, :, start : start + size, start : start + size]
    if transform.channels == "BGR":
        pixels = pixels.flip(1)
    mean = pixels.new_tensor(transform.mean).view(1, 3, 1, 1)
    std = pixels.new_tensor(transform.std).view(1, 3, 1, 1)
    pixels = (pixels * transform.scale - mean) / std
    return pixels.contiguous(memory_format=torch.channels_last)


def _resized(pixels: torch.Tensor, side: int, mode: str) -> torch.Tensor:
    """Squares of `side` pixels, antialiased.

    Bicubic resizing overshoots at edges. Pillow and torchvision cut that off after each direction,
    as they keep pictures of bytes in between, so it is done here too.
    """
    if mode == "bilinear":
        return functional.interpolate(pixels, (side, side), mode=mode, antialias=True)
    for size in ((pixels.shape[2], side), (side, side)):
        pixels = functional.interpolate(pixels, size, mode=mode, antialias=True)
        pixels = pixels.round().clamp(0, 255)
    return pixels


def resized_side(size: int, crop_pct: float) -> int:
    """The side in pixels that pictures are resized to, of which the middle `size` is taken.

    Rounded to what is even with `size`, so that the middle is a whole number of pixels away.
    """
    return size + 2 * round((size / crop_pct - size) / 2)
