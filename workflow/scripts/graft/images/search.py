"""The search for one face in each picture: upright and turned, large and small.

Cameras without a sensor, scanners and lost EXIF data leave pictures turned by a quarter or a half.
Detectors find few faces in them, and upside down they may take the mouth for the eyes, with a lower
score than the upright face has: so where a face is doubtful, the other turns are tried, and a sure
one is taken instead.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from graft.images import align
from graft.images.detect import Detector, Faces, overlaps

DOUBTFUL = {"mtcnn": 0.95, "yunet": 0.89}
"""Detector -> the score below which an upright face may be a turned one ..."""

SURE = {"mtcnn": 0.995, "yunet": 0.89}
"""... and the score from which on a face in another turn is taken instead (docs/faces.md)."""

QUARTERS = (1, 2, 3)
"""The turns that are tried besides, counter-clockwise."""


class Face(NamedTuple):
    """A face: the picture uint8 (h, w, 3) turned so that it is upright, landmarks float32 (5, 2),
    score and box float32 (4,) in its pixels, the matrix to its crop, by how many degrees the
    picture was turned clockwise, and how many faces it shows with a high enough score."""

    image: np.ndarray
    landmarks: np.ndarray
    score: float
    box: np.ndarray
    matrix: np.ndarray
    turn: int
    faces: int


Found: TypeAlias = Face | str
"""A face, or the reason why there is none."""


class Search:
    """detectors: for large faces and, if those are looked for too, for small ones: each sees the
    pictures in which the one before has found no face. min_score: of a face. doubtful, sure: the
    scores below which other turns are tried, and from which on they win. template: the landmarks
    in the crop, (5, 2)."""

    def __init__(
        self,
        detectors: Sequence[Detector],
        *,
        min_score: float,
        doubtful: float,
        sure: float,
        template: np.ndarray,
    ):
        self.detectors, self.min_score, self.template = detectors, min_score, template
        self.doubtful, self.sure = doubtful, sure

    def __call__(
        self, images: Sequence[np.ndarray], priors: Sequence[np.ndarray | None]
    ) -> list[Found]:
        """The face of each picture (h, w, 3): the one `nearest` to its prior box, or the reason:
        `no_face`, `low_detection_score`, `degenerate_landmarks`."""
        found: list[Found] = ["no_face"] * len(images)
        by: list[Detector | None] = [None] * len(images)

        def look(detector: Detector, quarters: int, rows: Iterable[int]) -> None:
            rows = list(rows)
            turned = [np.ascontiguousarray(np.rot90(images[row], quarters)) for row in rows]
            for row, image, faces in zip(rows, turned, detector.detect(turned), strict=True):
                prior = _turned(priors[row], images[row].shape[:2], quarters)
                face, before = self._best(image, faces, prior, quarters), found[row]
                if isinstance(face, Face):
                    if self._is_better(face, before):
                        found[row], by[row] = face, detector
                elif not quarters and detector is self.detectors[0]:
                    found[row] = face

        for detector in self.detectors:
            if rows := _where(found, lambda face: face == "no_face"):
                look(detector, 0, rows)
        for number, detector in enumerate(self.detectors):
            larger = self.detectors[:number]
            rows = [row for row in _where(found, self._is_doubtful) if by[row] not in larger]
            if larger:  # small faces are looked for where there is none
                rows = [row for row in rows if found[row] == "no_face" or by[row] is detector]
            for quarters in QUARTERS if rows else ():
                look(detector, quarters, rows)
        return found

    def _is_better(self, face: Face, before: Found) -> bool:
        """Whether a face takes the place of what was found before: an upright one yields only to a
        sure one, since scores of drawn or blurred faces are near each other in all turns."""
        if isinstance(before, str):
            return True
        return face.score > before.score and (before.turn != 0 or face.score >= self.sure)

    def _is_doubtful(self, face: Found) -> bool:
        return isinstance(face, str) or face.score < self.doubtful

    def _best(
        self, image: np.ndarray, faces: Faces, prior: np.ndarray | None, quarters: int
    ) -> Found:
        if not len(faces):
            return "no_face"
        index = nearest(faces, prior)
        score, landmarks = float(faces.scores[index]), faces.landmarks[index]
        if score < self.min_score:
            return "low_detection_score"
        matrix = align.similarity(landmarks, self.template)
        if align.degenerate(matrix) or not is_upright(landmarks):
            return "degenerate_landmarks"
        return Face(
            image,
            landmarks,
            score,
            faces.boxes[index],
            matrix,
            (360 - 90 * quarters) % 360,
            int((faces.scores >= self.min_score).sum()),
        )


def nearest(faces: Faces, prior: np.ndarray | None) -> int:
    """Index of the face with the highest intersection over union with the prior box (4,).

    If none overlaps it, of the face whose centre is nearest to its centre; without a prior, of the
    face with the highest score.
    """
    if prior is None:
        return int(np.argmax(faces.scores))
    boxes, prior = faces.boxes.astype(np.float64), np.asarray(prior, np.float64)
    distances = np.linalg.norm((boxes[:, :2] + boxes[:, 2:] - prior[:2] - prior[2:]) / 2, axis=1)
    return int(np.lexsort((distances, -overlaps(boxes, prior)))[0])


def is_upright(landmarks: np.ndarray) -> bool:
    """Whether the eyes (of landmarks (5, 2), see `detect.LANDMARKS`) are above the mouth."""
    return bool(landmarks[:2, 1].mean() < landmarks[3:, 1].mean())


def _where(found: Sequence[Found], chosen: Callable[[Found], bool]) -> list[int]:
    return [row for row, face in enumerate(found) if chosen(face)]


def _turned(box: np.ndarray | None, shape: tuple[int, ...], quarters: int) -> np.ndarray | None:
    """A box (4,) in a picture (height, width), once that is turned counter-clockwise."""
    if box is None:
        return None
    height, width = shape
    x1, y1, x2, y2 = box
    for _ in range(quarters):
        x1, y1, x2, y2 = y1, width - x2, y2, width - x1
        height, width = width, height
    return np.array([x1, y1, x2, y2])
