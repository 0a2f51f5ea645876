"""Crops: one square of fixed size from every picture of a part, or the reason why there is none.

The file of a part holds, in the rows' order: `images` uint8 (n, size, size, 3) RGB, contiguous;
`sample_id`, `label` and `group` (n,), fixed-length UTF-8; `landmarks` float32 (n, 5, 2), `score`
float32 (n,) and `box` float32 (n, 4) in pixels of the upright picture, NaN without a detector;
`dropped_sample_id` and `dropped_reason` (m,); the attributes `recipe` and `graft_version`. With
`crop: patches` the pictures themselves are kept too: `encoded` uint8 (bytes,), their files one
after another (as PNG, where OpenCV alone gives other pixels), `ends` int64 (n,), where each ends,
and `sizes` int64 (n, 2), their width and height.

Reasons: those of `decode.decode`, `no_face`, `low_detection_score`, `degenerate_landmarks`.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, NotRequired, TypeAlias, TypedDict

import cv2
import h5py
import numpy as np
import pandas as pd
from tqdm import tqdm

from graft.config import datasets
from graft.config.decoding import Decoding
from graft.core import hdf5
from graft.core.errors import GraftError, damaged
from graft.core.files import JsonValue
from graft.datasets import containers
from graft.datasets.table import check_sample, sample_name
from graft.download.archives import Archive
from graft.images import align, jpeg
from graft.images.decode import Decoded, decode, windows
from graft.images.detect import DETECTORS, Detector, Faces, overlaps

ENOUGH = 20
"""If none of so many pictures, drawn at random, has a face, the detector fails on all of them."""

COPY_ROWS, COPY_BYTES = 64, 1 << 24


class Crop(NamedTuple):
    """A crop uint8 (size, size, 3), and the face's landmarks, score and box in the picture."""

    image: np.ndarray
    landmarks: np.ndarray
    score: float
    box: np.ndarray


class Counts(TypedDict):
    """Numbers of pictures; `dropped` by reason, and where there are any `unsupported_format` by
    the ending of their names."""

    rows: int
    kept: int
    dropped: dict[str, int]
    unsupported_format: NotRequired[dict[str, int]]


class _Row(NamedTuple):
    """What is read of a row of data_file.csv."""

    sample_id: str
    label: str
    group: str
    archive: str
    member: str
    offset: int
    size: int
    box: str


_Kept: TypeAlias = tuple[_Row, np.ndarray, float, np.ndarray]
_Size: TypeAlias = tuple[int, int, int]
"""Of a picture that is kept: its bytes, width and height."""

_Dropped: TypeAlias = tuple[str, str]


class Cropper:
    """Cuts one square of `size` x `size` pixels out of each picture.

    detector: the settings of the detector that finds the face to align (see `align.crop`), or None
    for a square without one: by `kind` the central one of the whole picture, or the picture
    `stretched` into one, which `patches` takes too. device: where the detector runs, `cpu` or
    `cuda`. file: the detector's, if it needs one.

    Raises GraftError if the detector is `none` or unknown.
    """

    def __init__(
        self,
        size: int,
        detector: datasets.Detector | None = None,
        *,
        kind: str = "whole",
        device: str = "cpu",
        file: Path | None = None,
    ):
        self.keeps_pictures = kind == "patches"
        self._square = align.whole if kind == "whole" else align.stretched
        self.size, self.settings = size, detector or datasets.Detector(name="none")
        self._detector: Detector | None = None
        if detector is not None:
            self._template = align.template(size, detector.margin)
            try:
                build = DETECTORS[detector.name]
            except KeyError:
                raise GraftError(
                    f"detector.name is {detector.name!r}, but crop: aligned_face needs a detector. "
                    "Set it to yunet or mtcnn, or set crop: whole."
                ) from None
            self._detector = build(device, batch_size=detector.batch_size, file=file)

    def __call__(
        self,
        images: Sequence[Decoded],
        priors: Sequence[np.ndarray | None] | None = None,
    ) -> list[Crop | str]:
        """The crop of each picture uint8 (h, w, 3), or the reason why there is none.

        images: or the reason why one is not decoded. priors: for each picture the box (4,) in
        which the face is expected, or None. Of several faces the one `nearest` to it is cropped.
        """
        faces: Iterator[Faces | None] = iter(())
        if self._detector is not None:
            faces = iter(self._detector.detect([i for i in images if not isinstance(i, str)]))
        return [
            image if isinstance(image, str) else self._crop(image, next(faces, None), prior)
            for image, prior in zip(images, priors or [None] * len(images), strict=True)
        ]

    def _crop(self, image: np.ndarray, faces: Faces | None, prior: np.ndarray | None) -> Crop | str:
        if faces is None:
            return Crop(
                self._square(image, self.size), np.full((5, 2), np.nan), np.nan, np.full(4, np.nan)
            )
        if not len(faces):
            return "no_face"
        index = nearest(faces, prior)
        score, landmarks = float(faces.scores[index]), faces.landmarks[index]
        if score < self.settings.min_score:
            return "low_detection_score"
        matrix = align.similarity(landmarks, self._template)
        if align.degenerate(matrix):
            return "degenerate_landmarks"
        return Crop(align.crop(image, matrix, self.size), landmarks, score, faces.boxes[index])


def extract(
    rows: pd.DataFrame,
    archives: Mapping[str, Path],
    destination: Path,
    cropper: Cropper,
    *,
    recipe: JsonValue,
    decoding: Decoding | None = None,
    heif: str | None = None,
) -> Counts:
    """Write the crops of a part.

    rows: the part's rows of data_file.csv. archives: the archives by the names in it. decoding,
    heif: as of `decode.decode`.

    Memory does not grow with the pictures. Raises GraftError if an archive is not the one that
    data_file.csv was made from.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    kept: list[_Kept] = []
    sizes: list[_Size] = []
    dropped: list[_Dropped] = []
    endings: Counter[str] = Counter()
    # A contiguous array cannot grow, and the number of crops is known only at the end: until then
    # they are in a nameless file, which the system removes even if the job is killed.
    with (
        tempfile.TemporaryFile(dir=destination.parent) as spool,
        tempfile.TemporaryFile(dir=destination.parent) as pictures,
        tqdm(total=len(rows), desc=destination.stem, unit=" pictures", mininterval=5) as progress,
    ):
        for window in windows(_read(rows, archives, decoding, heif), cropper.settings.batch_size):
            members, images = zip(*window, strict=True)
            crops = cropper(images, [_prior(row) for row, _ in members])
            for (row, data), image, crop in zip(members, images, crops, strict=True):
                if isinstance(crop, str):
                    dropped.append((row.sample_id, crop))
                    if crop == "unsupported_format":
                        endings[PurePosixPath(row.member).suffix.lower()] += 1
                    continue
                spool.write(crop.image.tobytes())
                kept.append((row, crop.landmarks, crop.score, crop.box))
                if cropper.keeps_pictures:
                    stored = _stored(data, image)
                    pictures.write(stored)
                    sizes.append((len(stored), image.shape[1], image.shape[0]))
            progress.update(len(window))
        spool.seek(0)
        with hdf5.create(destination, recipe) as file:
            _write(file, spool, cropper.size, kept, dropped)
            if cropper.keeps_pictures:
                pictures.seek(0)
                _write_pictures(file, pictures, sizes)
    reasons = Counter(reason for _, reason in dropped)
    counts = Counts(rows=len(rows), kept=len(kept), dropped=dict(sorted(reasons.items())))
    if endings:
        counts["unsupported_format"] = dict(sorted(endings.items()))
    return counts


def check_any(counts: Counts, key: str) -> None:
    """Raise GraftError if `extract` found no face in at least `ENOUGH` pictures."""
    if counts["rows"] >= ENOUGH and not counts["kept"]:
        reasons = ", ".join(f"{number} {reason}" for reason, number in counts["dropped"].items())
        raise GraftError(
            f"{key}: no face was detected in any picture ({reasons}). Look at the pictures, "
            "lower detector.min_score or set crop: whole."
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


def _read(
    frame: pd.DataFrame,
    archives: Mapping[str, Path],
    decoding: Decoding | None,
    heif: str | None,
) -> Iterator[tuple[tuple[_Row, bytes], Decoded]]:
    """Each row and its picture's bytes, with the picture, or why that is not decoded."""
    with ExitStack() as stack:
        opened, decoders = {}, {}
        for name in frame["archive"].unique():
            if name not in archives:
                raise GraftError(
                    f"{name}: data_file.csv names this file, but the data set's files do not. Add "
                    "it there, or run the structure stage again (-R structure)."
                )
            opened[name] = stack.enter_context(Archive(archives[name]))
            decoders[name] = containers.decoder(archives[name])
        columns = list(_Row._fields)
        for row in map(_Row._make, frame[columns].itertuples(index=False, name=None)):
            data = opened[row.archive].read(row.offset, row.size)
            check_sample(row.sample_id, sample_name(row.archive, row.member), data)
            if (of_container := decoders[row.archive]) is None:
                yield (row, data), decode(data, decoding, heif=heif)
            else:
                pixels = of_container(data)
                yield (row, data), "unreadable" if pixels is None else pixels


def _stored(data: bytes, image: np.ndarray) -> bytes:
    """A picture's file, or another one that `jpeg.plain` decodes to its pixels."""
    if data.startswith(jpeg.START):
        return data
    plain = jpeg.plain(data)
    if plain is not None and np.array_equal(plain, image):
        return data
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def _prior(row: _Row) -> np.ndarray | None:
    if not row.box:
        return None
    try:
        x1, y1, x2, y2 = map(float, row.box.split())
    except ValueError:
        problem = f"the box {row.box!r} of {row.member} is not four numbers"
        raise damaged("data_file.csv", problem, "structure") from None
    return np.array([x1, y1, x2, y2])


def _write(
    file: h5py.File, spool: BinaryIO, size: int, kept: Sequence[_Kept], dropped: Sequence[_Dropped]
) -> None:
    images = hdf5.contiguous(file, "images", (len(kept), size, size, 3), np.uint8)
    for start in range(0, len(kept), COPY_ROWS):
        block = np.frombuffer(spool.read(COPY_ROWS * size * size * 3), np.uint8)
        images[start : start + COPY_ROWS] = block.reshape(-1, size, size, 3)
    hdf5.write_strings(file, "sample_id", [row.sample_id for row, *_ in kept])
    hdf5.write_strings(file, "label", [row.label for row, *_ in kept])
    hdf5.write_strings(file, "group", [row.group for row, *_ in kept])
    for column, name, shape in ((1, "landmarks", (5, 2)), (2, "score", ()), (3, "box", (4,))):
        values = np.array([row[column] for row in kept], np.float32)
        hdf5.write(file, name, values.reshape(len(kept), *shape))
    hdf5.write_strings(file, "dropped_sample_id", [sample for sample, _ in dropped])
    hdf5.write_strings(file, "dropped_reason", [reason for _, reason in dropped])


def _write_pictures(file: h5py.File, spool: BinaryIO, sizes: Sequence[_Size]) -> None:
    table = np.array(sizes, np.int64).reshape(-1, 3)
    ends = np.cumsum(table[:, 0])
    encoded = hdf5.contiguous(file, "encoded", (int(table[:, 0].sum()),), np.uint8)
    start = 0
    while data := spool.read(COPY_BYTES):
        encoded[start : start + len(data)] = np.frombuffer(data, np.uint8)
        start += len(data)
    hdf5.write(file, "ends", ends)
    hdf5.write(file, "sizes", table[:, 1:])
