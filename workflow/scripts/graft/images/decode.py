"""Decoding image files, and reading pictures a window at a time in bounded memory."""

import io
import re
from collections.abc import Iterable, Iterator
from typing import TypeVar

import cv2
import numpy as np
from PIL import Image

FORMATS = ("PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF")

# Enough pictures at a time that those of one size fill batches, and bounded in bytes as well,
# since photographs may be large.
WINDOW_BATCHES = 8
WINDOW_BYTES = 2**28

Key = TypeVar("Key")


def decode(data: bytes) -> np.ndarray | None:
    """Decode an image file: uint8 (height, width, 3) RGB, or None if it is damaged or unknown.

    The picture comes upright: its EXIF orientation is applied. OpenCV decodes, being two to
    three times as quick as Pillow; but it fills what a truncated file lacks with grey, so
    that a file is whole is made sure of before.
    """
    if not _is_whole(data):
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None


def windows(
    pictures: Iterable[tuple[Key, np.ndarray | None]], batch_size: int
) -> Iterator[list[tuple[Key, np.ndarray | None]]]:
    """Group (key, picture or None if it is unreadable), in order, as memory allows."""
    window: list[tuple[Key, np.ndarray | None]] = []
    held = 0
    for key, picture in pictures:
        window.append((key, picture))
        held += 0 if picture is None else picture.nbytes
        if len(window) >= WINDOW_BATCHES * batch_size or held >= WINDOW_BYTES:
            yield window
            window, held = [], 0
    if window:
        yield window


# A marker of JPEG: neither a stuffed byte, nor filling, nor a restart within a scan.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def _is_whole(data: bytes) -> bool:
    """Whether an image file is complete, down to its last pixels."""
    if data.startswith(b"\xff\xd8"):
        return _reaches_end(data)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()
    except Exception:  # decoders raise whatever damaged bytes lead them to
        return False
    return True


def _reaches_end(data: bytes) -> bool:
    """Whether a JPEG goes on to its marker EOI (ITU-T T.81, annex B).

    Segments are skipped by their length, so the end of a thumbnail within one does not count.
    """
    at = 2
    while found := _MARKER.search(data, at):
        at, marker = found.end(), found.group()[1]
        if marker == 0xD9:
            return True
        at += int.from_bytes(data[at : at + 2])
    return False
