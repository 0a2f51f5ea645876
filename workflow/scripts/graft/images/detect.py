"""Finding faces: one small interface, and the detectors behind it.

A detector takes pictures of any sizes and gives, for each, the boxes, scores and five
landmarks of the faces in it. What it gives for a picture does not depend on which other
pictures it is called with.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from facenet_pytorch.models import mtcnn
from torchvision.ops import nms

from graft.core.errors import GraftError
from graft.core.registry import Registry
from graft.images.align import shrink

LANDMARKS = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")


@dataclass(frozen=True)
class Faces:
    """The faces found in one picture, the most confident first.

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

    @classmethod
    def empty(cls) -> "Faces":
        return cls(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
        )


class Detector(Protocol):
    """What a detector does; it is made with a device and the keyword `batch_size`."""

    def detect(self, images: Sequence[np.ndarray]) -> list[Faces]:
        """Find the faces in pictures: uint8 (height, width, 3) RGB, of any sizes."""


DETECTORS: Registry[Callable[..., Detector]] = Registry("graft.images.detectors")
"""Detectors by the name that the config gives them."""


@DETECTORS.register("mtcnn")
class MTCNN:
    """The multi-task cascade of Zhang, Zhang, Li and Qiao (2016), arXiv:1604.02878.

    The three networks and their weights are those of the facenet-pytorch package (the
    authors' own, converted). The cascade around them is written anew, because the package's
    needs pictures of equal size, lets the pictures of a batch influence each other's
    non-maximum suppression, fails on pictures smaller than the smallest face, stretches
    faces that the picture's edge cuts, and spends most of its time in pooling and in
    resizing windows one by one.

    min_face: the smallest face looked for, as a share of the picture's shorter side, but
        never below `min_pixels` pixels. It decides the speed: the first stage looks at the
        picture shrunk until such a face is 12 pixels wide.
    thresholds: the scores above which a window passes the three stages.
    factor: the ratio of one scale of the pyramid to the next.
    batch_size: how many pictures of one size the first network sees at a time.
    """

    CELL, STRIDE = 12, 2

    def __init__(
        self,
        device: str = "cpu",
        *,
        min_face: float = 0.15,
        min_pixels: int = 20,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        factor: float = 0.709,
        batch_size: int = 32,
    ):
        self.min_face, self.min_pixels = min_face, min_pixels
        self.thresholds, self.factor, self.batch_size = thresholds, factor, batch_size
        self.device = device
        # Windows at a time: few enough for a core's cache, or enough to keep a GPU busy.
        self.windows = 32 if device == "cpu" else 1024
        self.pnet, self.rnet, self.onet = _mtcnn_networks(device)

    def detect(self, images: Sequence[np.ndarray]) -> list[Faces]:
        if not images:
            return []
        factors = [self._reduction(image) for image in images]
        images = [shrink(i, f) if f > 1 else i for i, f in zip(images, factors, strict=True)]
        exact = torch.backends.cudnn.flags(deterministic=True, benchmark=False, allow_tf32=False)
        with torch.inference_mode(), exact:
            found = self._locate(images, self._refine(images, self._propose(images)))
        return [
            # Where the first pixel starts is 0 for a box and -0.5 for a landmark.
            Faces(_rounded(boxes * factor), scores.round(4), _rounded(landmarks * factor - 0.5))
            for (boxes, scores, landmarks), factor in zip(found, factors, strict=True)
        ]

    def _smallest(self, image: np.ndarray) -> float:
        return max(self.min_face * min(image.shape[:2]), self.min_pixels)

    def _reduction(self, image: np.ndarray) -> int:
        """By how much a picture can shrink with its smallest faces still 48 pixels wide, which
        is all that the last network sees: large photographs are then as quick as small ones."""
        return max(int(self._smallest(image) / 48), 1)

    def _propose(self, images) -> list[np.ndarray]:
        """Stage 1: windows of every size, from a fully convolutional pass over a pyramid."""
        by_shape = defaultdict(list)
        for index, image in enumerate(images):
            by_shape[image.shape[:2]].append(index)
        found = [np.zeros((0, 5), np.float32)] * len(images)
        for members in by_shape.values():
            for start in range(0, len(members), self.batch_size):
                batch = members[start : start + self.batch_size]
                windows = self._pyramid([images[index] for index in batch])
                for index, scored in zip(batch, windows, strict=True):
                    best = _suppress(scored, 0.7)
                    found[index] = _squared(_shifted(best[:, :5], best[:, 5:]))
        return found

    def _pyramid(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """What the first network finds in pictures of one size: for each, (k, 9) of corners,
        score and the offsets of the edges."""
        height, width = images[0].shape[:2]
        found = [[np.zeros((0, 9), np.float32)] for _ in images]
        scale = self.CELL / self._smallest(images[0])
        while min(height, width) * scale >= self.CELL:
            size = (math.ceil(width * scale), math.ceil(height * scale))
            small = np.stack([cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in images])
            offsets, scores = self.pnet(self._tensor(small))
            offsets, scores = offsets.permute(0, 2, 3, 1).cpu().numpy(), scores[:, 1].cpu().numpy()
            stretch = np.array([width / size[0], height / size[1]] * 2)
            for boxes, score, offset in zip(found, scores, offsets, strict=True):
                rows, columns = np.nonzero(score >= self.thresholds[0])
                corners = self.STRIDE * np.stack([columns, rows, columns, rows], axis=1)
                corners = (corners + np.array([0, 0, self.CELL, self.CELL])) * stretch
                scored = np.column_stack([corners, score[rows, columns], offset[rows, columns]])
                boxes.append(_suppress(scored.astype(np.float32), 0.5))
            scale *= self.factor
        return [np.concatenate(boxes) for boxes in found]

    def _refine(self, images, boxes: list[np.ndarray]) -> list[np.ndarray]:
        """Stage 2: keep the windows that hold a face, and move their edges."""
        offsets, scores = self._classify(images, boxes, 24, self.rnet)
        refined = []
        for box, offset, score in zip(boxes, offsets, scores, strict=True):
            passed = score[:, 1] > self.thresholds[1]
            scored = np.column_stack([box[passed, :4], score[passed, 1], offset[passed]])
            scored = _suppress(scored, 0.7)
            refined.append(_squared(_shifted(scored[:, :5], scored[:, 5:])))
        return refined

    def _locate(self, images, boxes: list[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
        """Stage 3: the final boxes, their scores and the landmarks."""
        outputs = self._classify(images, boxes, 48, self.onet)
        found = []
        for window, offset, point, score in zip(boxes, *outputs, strict=True):
            passed = score[:, 1] > self.thresholds[2]
            scored = np.column_stack([window[passed, :4], score[passed, 1]])
            corner, side = scored[:, None, :2], scored[:, None, 2:4] - scored[:, None, :2]
            landmarks = corner + side * point[passed].reshape(-1, 2, 5).transpose(0, 2, 1)
            scored = _shifted(scored, offset[passed])
            kept = _suppress_nested(scored, 0.7)
            found.append((scored[kept, :4], scored[kept, 4], landmarks[kept]))
        return found

    def _classify(self, images, boxes, side: int, network) -> list[list[np.ndarray]]:
        """Run a network on every window; give each of its outputs split by picture."""
        pairs = [(i, box) for i, some in zip(images, boxes, strict=True) for box in some]
        outputs = []
        for start in range(0, max(len(pairs), 1), self.windows):
            windows = [_window(*pair, side) for pair in pairs[start : start + self.windows]]
            # The networks cannot do with none at all; what they make of a blank is cut off.
            batch = np.stack(windows or [np.zeros((side, side, 3), np.uint8)])
            outputs.append([output.cpu().numpy() for output in network(self._tensor(batch))])
        ends = np.cumsum([len(some) for some in boxes])[:-1]
        joined = [np.concatenate(parts)[: len(pairs)] for parts in zip(*outputs, strict=True)]
        return [np.split(output, ends) for output in joined]

    def _tensor(self, images: np.ndarray) -> torch.Tensor:
        """uint8 (n, h, w, 3) to float32 (n, 3, h, w) near -1..1, channels last in memory."""
        tensor = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2)
        return (tensor.float() - 127.5) / 128


def _mtcnn_networks(device: str) -> list[torch.nn.Module]:
    networks = []
    for kind in (mtcnn.PNet, mtcnn.RNet, mtcnn.ONet):
        path = Path(mtcnn.__file__).parents[1] / "data" / f"{kind.__name__.lower()}.pt"
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except OSError:
            raise GraftError(
                f"{path}: the file cannot be read, which facenet-pytorch ships. Set the "
                "environment up again (make setup)."
            ) from None
        network = kind(pretrained=False)
        network.load_state_dict(state)
        # Channels last: the pooling of PyTorch's CPU build is five times faster that way.
        network = network.eval().requires_grad_(False).to(device)
        networks.append(network.to(memory_format=torch.channels_last))
    return networks


def _rounded(pixels: np.ndarray) -> np.ndarray:
    """To sixteenths of a pixel: finer than the networks are, and coarser than the rounding
    errors that come with another batch size or another number of threads."""
    return np.rint(pixels * 16) / 16


def _window(image: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """Cut a box out of a picture, black beyond its edge, and resize it to `side` x `side`."""
    x1, y1, x2, y2 = np.rint(box[:4]).astype(int).tolist()
    width, height = max(x2 - x1, 1), max(y2 - y1, 1)
    inside = image[max(y1, 0) : max(y1 + height, 0), max(x1, 0) : max(x1 + width, 0)]
    if inside.shape[:2] != (height, width):
        top, left = max(-y1, 0), max(-x1, 0)
        window = np.zeros((height, width, 3), np.uint8)
        window[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        inside = window
    return cv2.resize(inside, (side, side), interpolation=cv2.INTER_AREA)


def _shifted(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Move the edges of (k, 5) boxes by offsets (k, 4) given in box widths and heights."""
    sides = boxes[:, 2:4] - boxes[:, :2]
    moved = boxes.copy()
    moved[:, :4] += offsets * np.concatenate([sides, sides], axis=1)
    return moved


def _squared(boxes: np.ndarray) -> np.ndarray:
    """Grow each of (k, 5) boxes about its centre to a square of its longer side."""
    centres = (boxes[:, :2] + boxes[:, 2:4]) / 2
    half = (boxes[:, 2:4] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.column_stack([centres - half, centres + half, boxes[:, 4:]])


def _suppress(boxes: np.ndarray, threshold: float) -> np.ndarray:
    """Greedy non-maximum suppression by intersection over union, the best score first.

    boxes: (k, >= 5), x1 y1 x2 y2 score and whatever goes with them.
    """

    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    corners, scores = torch.from_numpy(boxes[:, :4]), torch.from_numpy(boxes[:, 4])
    return boxes[np.sort(nms(corners, scores, threshold).numpy())]


def _suppress_nested(boxes: np.ndarray, threshold: float) -> np.ndarray:
    """The same, with the overlap taken as a share of the smaller box: indices of the kept."""
    kept: list[int] = []
    areas = np.prod(boxes[:, 2:4] - boxes[:, :2], axis=1)
    for index in np.argsort(-boxes[:, 4], kind="stable"):
        box, others = boxes[index], boxes[kept]
        sides = np.minimum(box[2:4], others[:, 2:4]) - np.maximum(box[:2], others[:, :2])
        shared = np.prod(np.clip(sides, 0, None), axis=1)
        if (shared <= threshold * np.minimum(areas[index], areas[kept])).all():
            kept.append(index)
    return np.array(kept, int)
