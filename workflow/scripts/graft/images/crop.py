"""Crops: one square of fixed size from every picture of a part, or the reason why there is none.

The file of a part holds, in the rows' order: `images` uint8 (n, size, size, 3) RGB, contiguous;
`sample_id`, `label` and `group` (n,), fixed-length UTF-8; `landmarks` float32 (n, 5, 2), `score`
float32 (n,) and `box` float32 (n, 4) in pixels of the upright picture, NaN without a detector;
if a picture had to be turned to be upright, `turn` int16 (n,), by how many degrees clockwise;
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
from pathlib import Path
from typing import BinaryIO, NamedTuple, NotRequired, TypeAlias, TypedDict

import cv2
import h5py
import numpy as np
import pandas as pd
from tqdm import tqdm

from graft.config import datasets
from graft.config.decoding import Decoder
from graft.core import hdf5
from graft.core.errors import GraftError, damaged
from graft.core.files import JsonValue
from graft.datasets import containers
from graft.datasets.table import check_sample, sample_name
from graft.download.archives import Archive, ending
from graft.images import align, jpeg
from graft.images.decode import Decoded, decode, windows
from graft.images.detect import DETECTORS
from graft.images.search import DOUBTFUL, SURE, Face, Search

ENOUGH = 20
"""If none of so many pictures, drawn at random, has a face, the detector fails on all of them."""

COPY_ROWS, COPY_BYTES = 64, 1 << 24


class Crop(NamedTuple):
    """A crop uint8 (size, size, 3), and the face's landmarks, score and box in the picture, once
    that is turned clockwise by so many degrees; and how many faces it shows."""

    image: np.ndarray
    landmarks: np.ndarray
    score: float
    box: np.ndarray
    turn: int = 0
    faces: int = 0


class Counts(TypedDict):
    """Numbers of pictures; `dropped` by reason, and where there are any `unsupported_format` by
    the ending of their names, those that were `turned` by degrees clockwise, and those of
    `several_faces`, of which one was kept."""

    rows: int
    kept: int
    dropped: dict[str, int]
    unsupported_format: NotRequired[dict[str, int]]
    turned: NotRequired[dict[str, int]]
    several_faces: NotRequired[int]


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


_Kept: TypeAlias = tuple[_Row, np.ndarray, float, np.ndarray, int]
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
        self._search: Search | None = None
        if detector is not None:
            try:
                build = DETECTORS[detector.name]
            except KeyError:
                raise GraftError(
                    f"detector.name is {detector.name!r}, but crop: aligned_face needs a detector. "
                    "Set it to yunet or mtcnn, or set crop: whole."
                ) from None
            sizes = {max(detector.min_face, build.MIN_FACE), detector.min_face}
            batch = detector.batch_size
            self._search = Search(
                [
                    build(device, batch_size=batch, file=file, min_face=size)
                    for size in sorted(sizes, reverse=True)
                ],
                min_score=detector.min_score,
                doubtful=DOUBTFUL[detector.name],
                sure=SURE[detector.name],
                template=align.template(size, detector.margin),
            )

    def __call__(
        self,
        images: Sequence[Decoded],
        priors: Sequence[np.ndarray | None] | None = None,
    ) -> list[Crop | str]:
        """The crop of each picture uint8 (h, w, 3), or the reason why there is none.

        images: or the reason why one is not decoded. priors: for each picture the box (4,) in
        which the face is expected, or None. Of several faces that nearest to it is cropped.
        """
        rows = [row for row, image in enumerate(images) if not isinstance(image, str)]
        decoded = [image for image in images if not isinstance(image, str)]
        if self._search is None:
            made: list[Crop | str] = [self._without_face(image) for image in decoded]
        else:
            found = self._search(decoded, [priors[row] if priors else None for row in rows])
            made = [self._of_face(face) if isinstance(face, Face) else face for face in found]
        crops = dict(zip(rows, made, strict=True))
        return [image if isinstance(image, str) else crops[row] for row, image in enumerate(images)]

    def _without_face(self, image: np.ndarray) -> Crop:
        return Crop(
            self._square(image, self.size), np.full((5, 2), np.nan), np.nan, np.full(4, np.nan)
        )

    def _of_face(self, face: Face) -> Crop:
        image = align.crop(face.image, face.matrix, self.size)
        return Crop(image, face.landmarks, face.score, face.box, face.turn, face.faces)


def extract(
    rows: pd.DataFrame,
    archives: Mapping[str, Path],
    destination: Path,
    cropper: Cropper,
    *,
    recipe: JsonValue,
    decoder: Decoder | None = None,
) -> Counts:
    """Write the crops of a part.

    rows: the part's rows of data_file.csv. archives: the archives by the names in it. decoder:
    how pictures are decoded.

    Memory does not grow with the pictures. Raises GraftError if an archive is not the one that
    data_file.csv was made from.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    kept: list[_Kept] = []
    sizes: list[_Size] = []
    dropped: list[_Dropped] = []
    endings: Counter[str] = Counter()
    several = 0
    # A contiguous array cannot grow, and the number of crops is known only at the end: until then
    # they are in a nameless file, which the system removes even if the job is killed.
    with (
        tempfile.TemporaryFile(dir=destination.parent) as spool,
        tempfile.TemporaryFile(dir=destination.parent) as pictures,
        tqdm(total=len(rows), desc=destination.stem, unit=" pictures", mininterval=5) as progress,
    ):
        for window in windows(_read(rows, archives, decoder), cropper.settings.batch_size):
            members, images = zip(*window, strict=True)
            crops = cropper(images, [_prior(row) for row, _ in members])
            for (row, data), image, crop in zip(members, images, crops, strict=True):
                if isinstance(crop, str):
                    dropped.append((row.sample_id, crop))
                    if crop == "unsupported_format":
                        endings[ending(row.member)] += 1
                    continue
                spool.write(crop.image.tobytes())
                kept.append((row, crop.landmarks, crop.score, crop.box, crop.turn))
                several += crop.faces > 1
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
    if turns := Counter(f"{turn} degrees" for *_, turn in kept if turn):
        counts["turned"] = dict(sorted(turns.items()))
    if several:
        counts["several_faces"] = several
    return counts


def check_any(counts: Counts, key: str) -> None:
    """Raise GraftError if `extract` found no face in at least `ENOUGH` pictures."""
    if counts["rows"] >= ENOUGH and not counts["kept"]:
        reasons = ", ".join(f"{number} {reason}" for reason, number in counts["dropped"].items())
        raise GraftError(
            f"{key}: no face was detected in any picture ({reasons}). Look at the pictures, "
            "lower detector.min_score or set crop: whole."
        )


def _read(
    frame: pd.DataFrame,
    archives: Mapping[str, Path],
    decoder: Decoder | None,
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
                yield (row, data), decode(data, decoder)
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
    if any(turn for *_, turn in kept):
        hdf5.write(file, "turn", np.array([turn for *_, turn in kept], np.int16))
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
