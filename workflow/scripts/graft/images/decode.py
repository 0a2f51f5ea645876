"""Decoding image files, and going through many pictures with bounded memory."""

import io
import re
from collections.abc import Iterable, Iterator
from typing import TypeVar

import cv2
import numpy as np
from PIL import Image

FORMATS = ("PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF")
"""The formats that are decoded besides JPEG, by Pillow's names."""

WINDOW_BATCHES = 8
"""Enough pictures at a time that those of one size fill batches."""

WINDOW_BYTES = 2**28
"""Enough bytes at a time, since photographs may be large."""

# A marker of a JPEG; 0xFF00 is a stuffed byte, 0xFFFF filling, 0xFFD0 to 0xFFD7 restarts in a scan.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

K = TypeVar("K")


def decode(data: bytes) -> np.ndarray | None:
    """Decode an image file: uint8 (height, width, 3) RGB, or None if it is damaged or unknown.

    The EXIF orientation is applied. OpenCV decodes two to three times as fast as Pillow, but fills
    the missing part of a truncated file with grey, so completeness is checked first.
    """
    if not _is_complete(data):
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None


def windows(
    pictures: Iterable[tuple[K, np.ndarray | None]], batch_size: int
) -> Iterator[list[tuple[K, np.ndarray | None]]]:
    """Split (key, picture) pairs, in their order, into lists that fit in memory.

    pictures: read one by one; None for a picture that cannot be decoded. A list ends after
    `WINDOW_BATCHES` batches of `batch_size` pictures, or when its pictures reach `WINDOW_BYTES`.
    """
    window: list[tuple[K, np.ndarray | None]] = []
    size = 0
    for key, image in pictures:
        window.append((key, image))
        size += 0 if image is None else image.nbytes
        if len(window) >= WINDOW_BATCHES * batch_size or size >= WINDOW_BYTES:
            yield window
            window, size = [], 0
    if window:
        yield window


def _is_complete(data: bytes) -> bool:
    if data.startswith(b"\xff\xd8"):
        return _has_end_marker(data)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()
    except Exception:  # Pillow's decoders raise exceptions of many types for damaged files
        return False
    return True


def _has_end_marker(data: bytes) -> bool:
    """Whether a JPEG has its marker EOI (ITU-T T.81, annex B).

    Segments are skipped by their length, so the EOI of an embedded thumbnail does not count.
    """
    position = 2
    while match := _MARKER.search(data, position):
        position, marker = match.end(), match.group()[1]
        if marker == 0xD9:
            return True
        position += int.from_bytes(data[position : position + 2])
    return False
