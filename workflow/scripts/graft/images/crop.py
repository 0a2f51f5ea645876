"""Crops: one square for every sample of a part, or a reason why there is none.

The file of a part holds, in the rows' order: `images` uint8 (n, size, size, 3) RGB, contiguous;
`sample_id`, `label` and `group` (n,), fixed-length UTF-8; `landmarks` float32 (n, 5, 2), `score`
float32 (n,) and `box` float32 (n, 4) in pixels of the upright picture, NaN where the crop
needs no detector; `dropped_sample_id` and `dropped_reason` (m,); the attributes `recipe` and
`graft_version`.

Reasons: `unreadable` (no whole picture in a known format), `no_face`, `low_detection_score`,
`degenerate_landmarks`.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from graft.core import hdf5
from graft.core.errors import GraftError
from graft.core.errors import nearest as nearest_name
from graft.datasets import containers
from graft.datasets.table import check_sample, sample_name
from graft.download.archives import Archive
from graft.images import align
from graft.images.decode import decode, windows
from graft.images.detect import DETECTORS, Faces

CROPS = ("aligned_face", "whole")
COPY_ROWS = 64


class Crop(NamedTuple):
    """A crop uint8 (size, size, 3), and the face's landmarks, score and box in the picture."""

    image: np.ndarray
    landmarks: np.ndarray
    score: float
    box: np.ndarray


class Cropper:
    """Cuts one square out of each picture, as `extract`'s arguments of the same names say."""

    def __init__(
        self,
        crop: str,
        size: int,
        *,
        detector: str = "mtcnn",
        min_score: float = 0.9,
        margin: float = 1.0,
        batch_size: int = 32,
        device: str = "cpu",
    ):
        if crop not in CROPS:
            raise GraftError(f"crop is {crop!r}. {nearest_name(crop, CROPS)}")
        if crop == "aligned_face" and detector == "none":
            raise GraftError(
                "crop is aligned_face but detector.name is none. Name a detector, or set crop: "
                "whole."
            )
        self.size, self.min_score = size, min_score
        self.detector = None
        if crop == "aligned_face":
            self.template = align.template(size, margin)
            self.detector = DETECTORS[detector](device, batch_size=batch_size)

    def __call__(
        self, images: Sequence[np.ndarray], priors: Sequence[np.ndarray | None]
    ) -> list[Crop | str]:
        """The crop of each picture uint8 (h, w, 3), or why there is none.

        priors: for each, the box (4,) in which the face is expected, or None.
        """
        if self.detector is None:
            return [
                Crop(align.whole(image, self.size), np.full((5, 2), np.nan), np.nan, _NO_BOX)
                for image in images
            ]
        found = self.detector.detect(images)
        return [
            self._aligned(image, faces, prior)
            for image, faces, prior in zip(images, found, priors, strict=True)
        ]

    def _aligned(self, image: np.ndarray, faces: Faces, prior: np.ndarray | None) -> Crop | str:
        if not len(faces):
            return "no_face"
        index = nearest(faces, prior)
        score, landmarks = float(faces.scores[index]), faces.landmarks[index]
        if score < self.min_score:
            return "low_detection_score"
        matrix = align.similarity(landmarks, self.template)
        if align.degenerate(matrix):
            return "degenerate_landmarks"
        cut = align.crop(image, matrix, self.size)
        return Crop(cut, landmarks, score, faces.boxes[index])


def extract(
    rows: pd.DataFrame,
    archives: Mapping[str, Path],
    destination: Path,
    *,
    crop: str,
    size: int,
    detector: str = "mtcnn",
    min_score: float = 0.9,
    margin: float = 1.0,
    batch_size: int = 32,
    device: str = "cpu",
    recipe: dict,
) -> dict:
    """Write the crops of one part; return {"rows": n, "kept": n, "dropped": {reason: n}}.

    rows: the part's rows of data_file.csv. archives: the archives by the names in it.
    crop: `aligned_face` turns the face upright (see `align`), `whole` takes the picture's
        central square and uses no detector.
    size: side of the crops in pixels.
    detector: a name in `detect.DETECTORS`. Where it finds several faces, the one at the
        row's box is taken, or without a box the most confident.
    min_score: a face with a lower score is dropped.
    margin: how much of the surroundings is shown (see `align.template`).

    Memory does not grow with the pictures. Raises GraftError if an archive is not the one that
    data_file.csv was made from.
    """
    cropper = Cropper(
        crop,
        size,
        detector=detector,
        min_score=min_score,
        margin=margin,
        batch_size=batch_size,
        device=device,
    )
    destination = Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    kept, dropped = [], []
    # The number of crops is known only at the end, and a contiguous array cannot grow: the crops
    # wait in a nameless file, which is removed even if the job is killed.
    with (
        tempfile.TemporaryFile(dir=destination.parent) as spool,
        tqdm(total=len(rows), desc=destination.stem, unit=" pictures", mininterval=5) as progress,
    ):
        for window in windows(_pictures(rows, archives), batch_size):
            readable = [(image, _prior(row)) for row, image in window if image is not None]
            results = iter(cropper(*map(list, zip(*readable, strict=True))) if readable else [])
            for row, image in window:
                result = "unreadable" if image is None else next(results)
                if isinstance(result, str):
                    dropped.append((row.sample_id, result))
                else:
                    spool.write(result.image.tobytes())
                    kept.append((row.sample_id, row.label, row.group, *result[1:]))
            progress.update(len(window))
        spool.seek(0)
        _write(destination, spool, size, kept=kept, dropped=dropped, recipe=recipe)
    return _counts(len(kept), [reason for _, reason in dropped])


def counts(path: Path) -> dict:
    """What `extract` returned for a file that it wrote."""
    with hdf5.open(path, "crop") as file:
        return _counts(len(file["images"]), hdf5.read_strings(file, "dropped_reason").tolist())


def check_any(parts: Iterable[Mapping], where: str) -> None:
    """Raise GraftError if `extract` kept no crop in any of the parts that it counted."""
    total = sum((Counter(part["dropped"]) for part in parts), Counter())
    if not any(part["kept"] for part in parts):
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(total.items())) or "no picture"
        raise GraftError(
            f"{where}: no face was detected in any picture ({reasons}). Look at the pictures, "
            "lower detector.min_score or set crop: whole."
        )


def nearest(faces: Faces, prior: np.ndarray | None) -> int:
    """Index of the face that overlaps the prior box most (intersection over union), or whose
    centre is nearest to it where none overlaps; without a prior, of the most confident."""
    if prior is None:
        return int(np.argmax(faces.scores))
    boxes, prior = faces.boxes.astype(np.float64), np.asarray(prior, np.float64)
    sides = np.minimum(boxes[:, 2:], prior[2:]) - np.maximum(boxes[:, :2], prior[:2])
    shared = np.prod(np.clip(sides, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(prior[2:] - prior[:2])
    distances = np.linalg.norm((boxes[:, :2] + boxes[:, 2:] - prior[:2] - prior[2:]) / 2, axis=1)
    return int(np.lexsort((distances, -shared / (areas - shared)))[0])


_NO_BOX = np.full(4, np.nan)


def _pictures(
    rows: pd.DataFrame, archives: Mapping[str, Path]
) -> Iterator[tuple[Any, np.ndarray | None]]:
    """(row, picture or None if it is unreadable) in the rows' order."""
    with ExitStack() as stack:
        opened, decoders = {}, {}
        for name in rows["archive"].unique():
            if name not in archives:
                raise GraftError(
                    f"{name}: data_file.csv names this file, but the data set's files do not. Add "
                    "it there, or run the structure stage again (-R structure)."
                )
            opened[name] = stack.enter_context(Archive(archives[name]))
            decoders[name] = containers.decoder(archives[name]) or decode
        for row in rows.itertuples(index=False):
            data = opened[row.archive].read(row.offset, row.size)
            check_sample(row.sample_id, sample_name(row.archive, row.member), data)
            yield row, decoders[row.archive](data)


def _prior(row) -> np.ndarray | None:
    if not row.box:
        return None
    try:
        x1, y1, x2, y2 = map(float, row.box.split())
    except ValueError:
        raise GraftError(
            f"data_file.csv: the box {row.box!r} of {row.member} is not four numbers. Run the "
            "structure stage again (-R structure)."
        ) from None
    return np.array([x1, y1, x2, y2])


def _write(
    destination: Path,
    spool,
    size: int,
    *,
    kept: Sequence[tuple],
    dropped: Sequence[tuple[str, str]],
    recipe: dict,
) -> None:
    with hdf5.create(destination, recipe) as file:
        images = hdf5.contiguous(file, "images", (len(kept), size, size, 3), np.uint8)
        for start in range(0, len(kept), COPY_ROWS):
            stop = min(start + COPY_ROWS, len(kept))
            block = np.frombuffer(spool.read((stop - start) * size * size * 3), np.uint8)
            images[start:stop] = block.reshape(stop - start, size, size, 3)
        for column, name in enumerate(("sample_id", "label", "group")):
            hdf5.write_strings(file, name, [row[column] for row in kept])
        for column, name, shape in ((3, "landmarks", (5, 2)), (4, "score", ()), (5, "box", (4,))):
            values = np.array([row[column] for row in kept], np.float32)
            hdf5.write(file, name, values.reshape(len(kept), *shape))
        hdf5.write_strings(file, "dropped_sample_id", [sample for sample, _ in dropped])
        hdf5.write_strings(file, "dropped_reason", [reason for _, reason in dropped])


def _counts(kept: int, reasons: Sequence[str]) -> dict:
    return {
        "rows": kept + len(reasons),
        "kept": kept,
        "dropped": dict(sorted(Counter(reasons).items())),
    }
