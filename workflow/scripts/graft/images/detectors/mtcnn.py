"""The face detector MTCNN: Zhang, Zhang, Li and Qiao (2016), arXiv:1604.02878."""

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from torch import nn
from torchvision.ops import nms

from graft.images.align import shrink
from graft.images.detect import DETECTORS, Faces, areas, intersections, rounded

Pictures: TypeAlias = Sequence[np.ndarray]
Arrays: TypeAlias = list[np.ndarray]


@DETECTORS.register("mtcnn")
class MTCNN:
    """The cascade of three networks, with the weights of the facenet-pytorch package (the authors'
    own, converted).

    The package's cascade is not used: it needs pictures of equal size, lets the pictures of a batch
    influence each other's non-maximum suppression, fails on pictures smaller than the smallest
    face, stretches faces that the picture's edge cuts, and is slow (pooling, resizing).

    min_face: the smallest face that is detected, as a share of the picture's shorter side, but at
        least `MIN_PIXELS`. The first network sees the picture shrunk until it is `CELL` pixels.
    batch_size: how many pictures of one size the first network sees at a time.
    file: none is needed.
    """

    MIN_FACE = 0.15
    MIN_PIXELS, CELL, STRIDE = 20, 12, 2
    THRESHOLDS = (0.6, 0.7, 0.7)  # scores above which a window passes the three stages
    FACTOR = 0.709  # of one scale of the pyramid to the next

    def __init__(
        self,
        device: str = "cpu",
        *,
        min_face: float = MIN_FACE,
        batch_size: int = 32,
        file: Path | None = None,
    ):
        self.min_face, self.batch_size = min_face, batch_size
        self.device = device
        # Windows at a time: few enough for a core's cache, or enough to keep a GPU busy.
        self.windows = 32 if device == "cpu" else 1024
        self.pnet, self.rnet, self.onet = (_on(device, net) for net in (PNet(), RNet(), ONet()))

    def detect(self, images: Pictures) -> list[Faces]:
        if not images:
            return []
        factors = [self._reduction(image) for image in images]
        images = [shrink(i, f) if f > 1 else i for i, f in zip(images, factors, strict=True)]
        exact = torch.backends.cudnn.flags(deterministic=True, benchmark=False, allow_tf32=False)
        with torch.inference_mode(), exact:
            faces = self._locate(images, self._refine(images, self._propose(images)))
        return [
            # The first pixel starts at 0 for a box and at -0.5 for a landmark.
            Faces(rounded(f.boxes * s), f.scores.round(4), rounded(f.landmarks * s - 0.5))
            for f, s in zip(faces, factors, strict=True)
        ]

    def _smallest(self, image: np.ndarray) -> float:
        return max(self.min_face * min(image.shape[:2]), self.MIN_PIXELS)

    def _reduction(self, image: np.ndarray) -> int:
        """The factor by which a picture can be shrunk with its smallest faces still 48 pixels wide,
        the input of the last network."""
        return max(int(self._smallest(image) / 48), 1)

    def _propose(self, images: Pictures) -> Arrays:
        """Stage 1: square windows (k, 5) of each picture, from a pyramid of its scales."""
        by_shape = defaultdict(list)
        for index, image in enumerate(images):
            by_shape[image.shape[:2]].append(index)
        proposed = [np.zeros((0, 5), np.float32)] * len(images)
        for members in by_shape.values():
            for start in range(0, len(members), self.batch_size):
                batch = members[start : start + self.batch_size]
                windows = self._pyramid([images[index] for index in batch])
                for index, scored in zip(batch, windows, strict=True):
                    best = _suppress(scored, 0.7)
                    proposed[index] = _squared(_shifted(best[:, :5], best[:, 5:]))
        return proposed

    def _pyramid(self, images: Pictures) -> Arrays:
        """The windows (k, 9) of each of several pictures of one size: corners, score, and the
        offsets of the edges."""
        height, width = images[0].shape[:2]
        windows = [[np.zeros((0, 9), np.float32)] for _ in images]
        scale = self.CELL / self._smallest(images[0])
        while min(height, width) * scale >= self.CELL:
            size = (math.ceil(width * scale), math.ceil(height * scale))
            small = np.stack([cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in images])
            offsets, scores = self.pnet(self._tensor(small))
            offsets, scores = offsets.permute(0, 2, 3, 1).cpu().numpy(), scores[:, 1].cpu().numpy()
            stretch = np.array([width / size[0], height / size[1]] * 2)
            for boxes, score, offset in zip(windows, scores, offsets, strict=True):
                rows, columns = np.nonzero(score >= self.THRESHOLDS[0])
                corners = self.STRIDE * np.stack([columns, rows, columns, rows], axis=1)
                corners = (corners + np.array([0, 0, self.CELL, self.CELL])) * stretch
                scored = np.column_stack([corners, score[rows, columns], offset[rows, columns]])
                boxes.append(_suppress(scored.astype(np.float32), 0.5))
            scale *= self.FACTOR
        return [np.concatenate(boxes) for boxes in windows]

    def _refine(self, images: Pictures, boxes: Arrays) -> Arrays:
        """Stage 2: keep the windows with a face, and move their edges."""
        offsets, scores = self._classify(images, boxes, 24, self.rnet)
        refined = []
        for box, offset, score in zip(boxes, offsets, scores, strict=True):
            passed = score[:, 1] > self.THRESHOLDS[1]
            scored = np.column_stack([box[passed, :4], score[passed, 1], offset[passed]])
            scored = _suppress(scored, 0.7)
            refined.append(_squared(_shifted(scored[:, :5], scored[:, 5:])))
        return refined

    def _locate(self, images: Pictures, boxes: Arrays) -> list[Faces]:
        """Stage 3: the faces, in pixels of the (shrunk) pictures."""
        outputs = self._classify(images, boxes, 48, self.onet)
        faces = []
        for window, offset, point, score in zip(boxes, *outputs, strict=True):
            passed = score[:, 1] > self.THRESHOLDS[2]
            scored = np.column_stack([window[passed, :4], score[passed, 1]])
            corner, side = scored[:, None, :2], scored[:, None, 2:4] - scored[:, None, :2]
            landmarks = corner + side * point[passed].reshape(-1, 2, 5).transpose(0, 2, 1)
            scored = _shifted(scored, offset[passed])
            kept = _suppress_nested(scored, 0.7)
            faces.append(Faces(scored[kept, :4], scored[kept, 4], landmarks[kept]))
        return faces

    def _classify(
        self, images: Pictures, boxes: Arrays, side: int, network: nn.Module
    ) -> list[Arrays]:
        """Run a network on every window; return each of its outputs, split by picture."""
        pairs = [(i, box) for i, some in zip(images, boxes, strict=True) for box in some]
        outputs = []
        for start in range(0, max(len(pairs), 1), self.windows):
            windows = [_window(*pair, side) for pair in pairs[start : start + self.windows]]
            # The networks need at least one window; the output for the blank one is dropped.
            batch = np.stack(windows or [np.zeros((side, side, 3), np.uint8)])
            outputs.append([output.cpu().numpy() for output in network(self._tensor(batch))])
        ends = np.cumsum([len(some) for some in boxes])[:-1]
        joined = [np.concatenate(parts)[: len(pairs)] for parts in zip(*outputs, strict=True)]
        return [np.split(output, ends) for output in joined]

    def _tensor(self, images: np.ndarray) -> torch.Tensor:
        """uint8 (n, h, w, 3) to float32 (n, 3, h, w) near -1..1, channels last in memory."""
        tensor = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2)
        return (tensor.float() - 127.5) / 128


def _on(device: str, network: nn.Module) -> nn.Module:
    """The network, ready for inference; channels last, with which pooling is five times faster."""
    network = network.eval().requires_grad_(False).to(device)
    return network.to(memory_format=torch.channels_last)


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

    boxes: (k, >= 5), x1 y1 x2 y2 score, and more columns.
    """
    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    corners, scores = torch.from_numpy(boxes[:, :4]), torch.from_numpy(boxes[:, 4])
    return boxes[np.sort(nms(corners, scores, threshold).numpy())]


def _suppress_nested(boxes: np.ndarray, threshold: float) -> np.ndarray:
    """The same, by intersection over the area of the smaller box: indices of the kept boxes."""
    kept: list[int] = []
    area = areas(boxes)
    for index in np.argsort(-boxes[:, 4], kind="stable"):
        shared = intersections(boxes[kept], boxes[index])
        if (shared <= threshold * np.minimum(area[index], area[kept])).all():
            kept.append(index)
    return np.array(kept, int)
