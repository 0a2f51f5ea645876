"""Face detection: the interface of a detector, and the registry of the detectors in `detectors`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from graft.core.registry import Registry

LANDMARKS = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")


@dataclass(frozen=True)
class Faces:
    """The faces in one picture, in descending order of score.

    boxes: float32 (k, 4), x1 y1 x2 y2 in pixels, may reach beyond the picture.
    scores: float32 (k,), 0..1.
    landmarks: float32 (k, 5, 2), x y in pixels, in the order of `LANDMARKS` (left is the
    viewer's left). Coordinate 0 is the centre of the first pixel.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


class Detector(Protocol):
    """A detector of faces on a device (`cpu` or `cuda`).

    file: its weights, for a detector that needs a published file (see `config.detectors`).
    min_face: the smallest face that is looked for, as a share of the picture's shorter side. All
        pictures are searched for those of MIN_FACE first.
    """

    MIN_FACE: float

    def __init__(self, device: str, *, batch_size: int, file: Path | None, min_face: float): ...

    def detect(self, images: Sequence[np.ndarray]) -> list[Faces]:
        """The faces in each picture uint8 (height, width, 3) RGB, of any size.

        The faces in a picture do not depend on the other pictures of the call.
        """


DETECTORS: Registry[type[Detector]] = Registry("graft.images.detectors")


def areas(boxes: np.ndarray) -> np.ndarray:
    """The areas (k,) of boxes (k, >= 4), x1 y1 x2 y2."""
    return np.prod(boxes[:, 2:4] - boxes[:, :2], axis=1)


def intersections(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The areas (k,) that boxes (k, >= 4) share with one box (>= 4,)."""
    sides = np.minimum(boxes[:, 2:4], box[2:4]) - np.maximum(boxes[:, :2], box[:2])
    return np.prod(np.clip(sides, 0, None), axis=1)


def overlaps(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The intersections over unions (k,) of boxes (k, >= 4) with one box (>= 4,)."""
    shared = intersections(boxes, box)
    return shared / (areas(boxes) + areas(box[None]) - shared)


def rounded(pixels: np.ndarray) -> np.ndarray:
    """Round to sixteenths of a pixel: less than the networks' precision, and more than the rounding
    errors of another batch size or number of threads."""
    return np.rint(pixels * 16) / 16
