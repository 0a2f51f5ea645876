"""Features of many patches of one picture from one run of the network per scale.

A convolutional prefix runs over the whole picture, resized so that the patches of one scale have
the side that the network expects; the features of a patch are the mean of its window in the map
(He et al., "Spatial pyramid pooling in deep convolutional networks for visual recognition", ECCV
2014; Girshick, "Fast R-CNN", ICCV 2015).

They are not those of the patch alone followed by global average pooling: where the patch alone has
padding at its edges, here the network sees what surrounds it. docs/patches.md says how close they
are (a cosine of 0.95 to 0.83 with SqueezeNet 1.1 at 224 pixels), and how much faster (five times).
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from graft.config.sources import Transform
from graft.core.errors import GraftError
from graft.models.transforms import to_input

_FURTHER = 960  # pixels, a multiple of the strides of networks


class Geometry(NamedTuple):
    """How a prefix maps pixels to cells: `side` pixels to `cells`, `stride` more to one more."""

    side: int
    cells: int
    stride: float


def geometry(prefix: nn.Module, side: int) -> Geometry:
    """The geometry of a prefix for patches of `side` pixels.

    prefix: float (1, 3, height, width) to (1, channels, h, w), the same along both axes. It is not
    run; only shapes are derived.

    Raises GraftError for a prefix whose output is no map that grows with the picture.
    """
    shapes = copy.deepcopy(prefix).to("meta").eval()
    with torch.device("meta"):
        one, more = (shapes(torch.empty(1, 3, side, side + extra)) for extra in (0, _FURTHER))
    if one.ndim != 4 or more.shape[3] == one.shape[3]:
        raise GraftError(
            "patches: the network ends in a vector before the cut, so one run cannot give the "
            "features of many patches. Cut it at a convolutional block."
        )
    return Geometry(side, one.shape[3], _FURTHER / (more.shape[3] - one.shape[3]))


@torch.inference_mode()
def windows(
    prefix: nn.Module,
    picture: np.ndarray,
    boxes_by_scale: Sequence[np.ndarray],
    shape: Geometry,
    transform: Transform,
    *,
    device: str = "cpu",
) -> torch.Tensor:
    """The mean of each patch's window in the map: float32 (n, channels), in the boxes' order.

    prefix: as for `geometry`, in evaluation mode and on `device`. picture: uint8 (height, width,
    3). boxes_by_scale: float (n, 4) each, squares of one size (see `images.patches.by_scale`).
    transform: that of the network; its `size` is not used. Memory is that of one run on the largest
    resized picture, whose shorter side is the scale times the geometry's side.

    A patch alone would have cells at its first pixel, a stride later, and so on. Between the cells
    of the map they are interpolated linearly, so that a window has as many cells as a patch alone.

    Raises ValueError for patches of several sizes in one scale.
    """
    image, transform = Image.fromarray(picture), transform.model_copy(update={"size": None})
    pooled = []
    for boxes in boxes_by_scale:
        if not len(boxes):
            continue
        sides = boxes[:, 2:] - boxes[:, :2]
        if np.ptp(sides) > 1e-6 * sides.max():
            raise ValueError("the patches of one scale differ in size")
        factor = shape.side / sides.mean()
        size = [max(shape.side, round(length * factor)) for length in image.size]
        resized = np.array(image.resize((size[0], size[1]), Image.Resampling.BILINEAR))
        maps = prefix(to_input(torch.from_numpy(resized)[None].to(device), transform))[0].float()
        starts = boxes[:, :2] * size / image.size / shape.stride
        columns, x = np.unique(starts[:, 0], return_inverse=True)
        rows, y = np.unique(starts[:, 1], return_inverse=True)
        across, down = (
            torch.from_numpy(_shares(at, cells, shape.cells)).to(maps)
            for at, cells in ((columns, maps.shape[2]), (rows, maps.shape[1]))
        )
        means = down @ (maps @ across.T)  # (channels, rows, columns)
        pooled.append(means[:, torch.from_numpy(y), torch.from_numpy(x)].T)
    return torch.cat(pooled)


def _shares(starts: np.ndarray, cells: int, window: int) -> np.ndarray:
    """The share of each of `cells` in the windows that start there: float64 (n, cells), sums 1.

    The last window may begin a part of a cell too late, where a stride does not divide the picture.
    """
    starts = np.clip(starts, 0, cells - window)[:, None]
    first = np.arange(cells)
    covered = np.minimum(first + 1, starts + window) - np.maximum(first, starts)
    return np.clip(covered, 0, None) / window
