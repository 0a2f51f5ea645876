"""Contact sheet: the predictions for a folder of pictures on one page.

The page needs no other file, no network and no script: the crops are small JPEGs within it. They
are grouped by the predicted class, the most confident first; pictures without a prediction follow,
with the reason.
"""

import base64
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np

from graft.core.assets import Asset
from graft.reporting.pages import write_page

PAGE = Asset(__file__, "templates/contact_sheet.html")

SIDE = 96
"""Side of a crop on the page, in pixels; larger ones are shrunk."""

QUALITY = 80
"""Of the JPEGs, in libjpeg's 0 to 100."""

MOST = 1000
"""Crops shown of one class: a browser still opens the page; the table has them all."""

REASONS = {
    "unreadable": "not a readable picture",
    "corrupt": "the picture is damaged",
    "too_large": "the picture is too large",
    "unsupported_format": "pictures of this format are not read",
    "no_face": "no face detected",
    "low_detection_score": "the detection score is too low",
    "degenerate_landmarks": "the face cannot be aligned",
}

INTENDED_USE = (
    "Predictions may be wrong, and a confidence is not a probability of being right: accuracy was "
    "measured on the test samples of the model's data set and may be lower on these pictures. Look "
    "at them; do not use them for decisions about people, such as selection, access, prices, "
    "surveillance or identification, and do not infer anything about a person from them."
)


class _Entry(NamedTuple):
    """A picture on the page, and where its JPEG lies in the spool."""

    picture: str
    confidence: float | None
    offset: int
    size: int


class _Figure(NamedTuple):
    """A picture as the template needs it; `jpeg` is base64, or empty without a picture."""

    picture: str
    name: str
    jpeg: str
    percent: str


class _Section(NamedTuple):
    anchor: str
    heading: str
    pictures: int
    note: str
    figures: Iterator[_Figure]


class ContactSheet:
    """Collects pictures one by one and writes the page; use as `with ContactSheet(...) as sheet`.

    The crops are kept in a temporary file beside the page: memory grows by a short record per
    picture.
    """

    def __init__(self, folder: Path, classes: Sequence[str]):
        folder.mkdir(parents=True, exist_ok=True)
        self._spool = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._predicted: dict[str, list[_Entry]] = {name: [] for name in classes}
        self._dropped: dict[str, list[_Entry]] = {}

    def __enter__(self) -> "ContactSheet":
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def add(self, picture: str, image: np.ndarray, predicted: str, confidence: float) -> None:
        """A picture (its path in the folder), its crop uint8 (h, w, 3) RGB, and its class."""
        self._predicted[predicted].append(self._keep(picture, image, confidence))

    def add_dropped(self, picture: str, image: np.ndarray | None, reason: str) -> None:
        """A picture without a prediction; `image` is the whole of it if it could be read."""
        self._dropped.setdefault(reason, []).append(self._keep(picture, image, None))

    def write(
        self, path: str | os.PathLike, facts: Mapping[str, str], skipped: Mapping[str, int]
    ) -> None:
        """Write the page, whole or not at all.

        `facts` (name -> text) are shown at its top; `skipped` are the files that are not pictures,
        kind -> number.
        """
        write_page(
            path,
            PAGE,
            title="Predictions",
            facts=facts,
            intended_use=INTENDED_USE,
            skipped=", ".join(f"{number} {kind}" for kind, number in skipped.items()),
            contents=list(self._sections()),
            side=SIDE,
        )

    def _keep(self, picture: str, image: np.ndarray | None, confidence: float | None) -> _Entry:
        data = b"" if image is None else jpeg(image)
        offset = self._spool.seek(0, os.SEEK_END)
        self._spool.write(data)
        return _Entry(picture, confidence, offset, len(data))

    def _sections(self) -> Iterator[_Section]:
        for number, (name, entries) in enumerate(self._predicted.items()):
            entries.sort(key=lambda entry: (-(entry.confidence or 0), entry.picture))
            yield self._section(f"class{number}", name, entries)
        for reason, entries in sorted(self._dropped.items()):
            text = REASONS.get(reason, reason.replace("_", " "))
            yield self._section(reason, f"No prediction: {text}", entries)

    def _section(self, anchor: str, heading: str, entries: Sequence[_Entry]) -> _Section:
        note = "1 picture" if len(entries) == 1 else f"{len(entries):,} pictures"
        if len(entries) > MOST:
            note += f", of which the first {MOST:,} are shown; predictions.csv has all"
        figures = map(self._figure, entries[:MOST])
        return _Section(anchor, heading, len(entries), note, figures)

    def _figure(self, entry: _Entry) -> _Figure:
        self._spool.seek(entry.offset)
        jpeg = base64.b64encode(self._spool.read(entry.size)).decode()
        percent = "" if entry.confidence is None else f"{100 * entry.confidence:.0f}"
        return _Figure(entry.picture, PurePosixPath(entry.picture).name, jpeg, percent)


def jpeg(image: np.ndarray) -> bytes:
    """A picture uint8 (h, w, 3) RGB, shrunk to fit into `SIDE` x `SIDE`, as a JPEG file."""
    scale = SIDE / max(image.shape[:2])
    if scale < 1:
        height, width = (max(1, round(scale * side)) for side in image.shape[:2])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(image[..., ::-1])
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
