"""The face detector YuNet: Wu, Peng and Yu (2023), doi:10.1007/s11633-023-1423-y."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from graft.config.detectors import YUNET, YUNET_FILE
from graft.core.errors import GraftError, unreadable
from graft.images.detect import DETECTORS, Faces, overlaps, rounded

SMALL, LARGE, LONG = 192, 320, 640
"""Pixels that the network is given (see `scale`)."""

LEAST, SIDE = 10, 2000
"""Pixels of the smallest faces that it is trained for, and of the shorter side of a picture at
most, which memory grows with."""

SAME_FACE, AVERAGED = 0.3, 0.7
"""Overlaps, from which on cells of the network see the same face, and are averaged (see
`merged`)."""


@DETECTORS.register("yunet")
class YuNet:
    """The network of OpenCV's zoo, which OpenCV runs (`cv2.FaceDetectorYN`), always on the CPU.

    floor: faces with a lower score are left out.
    min_face: the smallest face, as a share of the picture's shorter side. For smaller ones than
        `MIN_FACE` pictures are shrunk less, and faces that fill them are not found.
    batch_size: of no effect, since pictures are of different sizes.
    file: the published file (see `config.detectors`).

    Raises GraftError if there is no file or if it is another one.
    """

    MIN_FACE = LEAST / LARGE

    def __init__(
        self,
        device: str = "cpu",
        *,
        min_face: float = MIN_FACE,
        floor: float = 0.3,
        batch_size: int = 1,
        file: Path | None = None,
    ):
        self._large = max(round(LEAST / max(min_face, LEAST / SIDE)), LARGE)
        network = np.frombuffer(_verified(file), np.uint8)
        # Its non-maximum suppression keeps all cells; `merged` takes its place.
        with _quiet():
            self._network = cv2.FaceDetectorYN.create(
                "onnx",
                network,
                np.empty(0, np.uint8),
                (32, 32),
                score_threshold=floor,
                nms_threshold=1.0,
                top_k=5000,
            )

    def detect(self, images: Sequence[np.ndarray]) -> list[Faces]:
        return [self._faces(image) for image in images]

    def _faces(self, image: np.ndarray) -> Faces:
        height, width = image.shape[:2]
        factor = scale(height, width, self._large)
        size = (max(round(width * factor), 1), max(round(height * factor), 1))
        if factor != 1:
            method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
            image = cv2.resize(image, size, interpolation=method)
        self._network.setInputSize(size)
        _, cells = self._network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        faces = merged(np.zeros((0, 15), np.float32) if cells is None else cells)
        stretch = np.array([width / size[0], height / size[1]], np.float32)
        # The first pixel starts at 0 for the network and for a box, at -0.5 for a landmark.
        return Faces(
            rounded(faces[:, :4] * np.tile(stretch, 2)),
            faces[:, 14].round(4),
            rounded(faces[:, 4:14].reshape(-1, 5, 2) * stretch - np.float32(0.5)),
        )


def scale(height: int, width: int, large: int = LARGE) -> float:
    """By how much a picture is enlarged or shrunk before detection.

    The network is trained for faces of some 10 to 300 pixels. If the shorter side is longer than
    `large` it becomes that: then a face that fills the picture is found, and one of a thirtieth of
    it. If it is shorter than SMALL it becomes that, unless the longer one became longer than LONG.
    """
    shorter, longer = sorted((height, width))
    return min(large / shorter, max(min(SMALL / shorter, LONG / longer), 1))


def merged(cells: np.ndarray) -> np.ndarray:
    """The faces (k, 15) that cells (n, 15) of the network see, both float32, the best first.

    A row is x y width height (of a face: x1 y1 x2 y2), x y of the landmarks in the order of
    `LANDMARKS` (the person's right eye is the viewer's left one) and the score.

    Several cells see one face. Its box and landmarks are the means of theirs, weighted by score,
    and its score is the best, as in BlazeFace (Bazarevsky et al. 2019, arXiv:1907.05047, section
    3.4). The landmarks of the best cell alone move nearly twice as far if the picture is moved by
    some pixels (docs/faces.md).
    """
    cells = cells[np.argsort(-cells[:, 14], kind="stable")]
    cells[:, 2:4] += cells[:, :2]
    faces = []
    while len(cells):
        overlap = overlaps(cells, cells[0])
        seen = cells[overlap > AVERAGED]
        face = np.average(seen, axis=0, weights=seen[:, 14])
        face[14] = cells[0, 14]
        faces.append(face)
        cells = cells[overlap <= SAME_FACE]
    return np.array(faces, np.float32).reshape(-1, 15)


def _verified(file: Path | None) -> bytes:
    """The bytes of the published file, if `file` is that."""
    if file is None:
        raise GraftError(
            f"detector.name is yunet, which needs the file {YUNET}, but none is given. To predict "
            "with a model file, set predict.detector to it."
        )
    try:
        data = file.read_bytes()
    except OSError as error:
        raise unreadable(file, error) from error
    if hashlib.sha256(data).hexdigest() != YUNET_FILE.sha256:
        raise GraftError(
            f"{file}: the file is not the published {YUNET}, whose sha256 is {YUNET_FILE.sha256}. "
            f"Get that ({YUNET_FILE.manual})."
        )
    return data


@contextmanager
def _quiet() -> Iterator[None]:
    """Without OpenCV's warning that its new engine has no choice of targets."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
