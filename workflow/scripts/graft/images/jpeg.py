"""JPEG files: what their markers say (ITU-T T.81, annex B), and pixels with the decoder's warnings.

OpenCV decodes two to three times as fast as Pillow, but fills what is missing or damaged with grey
or with other pixels. libjpeg warns about damaged data on the standard error stream only, in OpenCV,
Pillow and torchvision alike, so the stream is read while a picture is decoded.
"""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import numpy as np

START = b"\xff\xd8"
"""What a JPEG begins with."""

DAMAGE = (
    b"Corrupt JPEG data",
    b"Premature end of JPEG file",
    b"Inconsistent progression sequence",
)
"""How libjpeg's warnings of damaged data begin (jerror.h); it prints the first warning only."""

# A marker; 0xFF00 is a stuffed byte, 0xFFFF filling, 0xFFD0 to 0xFFD7 restarts in a scan.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

# The markers of frames: all of 0xFFC0 to 0xFFCF but the tables and the reserved one among them.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

_STDERR = 2
_one_at_a_time = threading.Lock()


class Header(NamedTuple):
    """The width and height of the frame in pixels, and whether the file has its end marker EOI."""

    width: int
    height: int
    is_whole: bool


def header(data: bytes) -> Header:
    """What the markers of a file that begins with `START` say; sizes are 0 without a frame.

    Segments are skipped by their length, so those of an embedded thumbnail do not count.
    """
    position, width, height = 2, 0, 0
    while match := _MARKER.search(data, position):
        position, marker = match.end(), match.group()[1]
        if marker == 0xD9:
            return Header(width, height, True)
        if marker in _FRAMES and not width:
            height = int.from_bytes(data[position + 3 : position + 5])
            width = int.from_bytes(data[position + 5 : position + 7])
        position += int.from_bytes(data[position : position + 2])
    return Header(width, height, False)


def pixels(data: bytes) -> tuple[np.ndarray | None, bool]:
    """(uint8 (height, width, 3) RGB or None, whether the decoder saw damage).

    The EXIF orientation is applied. What others write to the standard error stream meanwhile is
    passed on.
    """
    with _one_at_a_time, _standard_error() as written:
        image = plain(data)
    if not written:
        return image, False
    lines = bytes(written).splitlines(keepends=True)
    others = [line for line in lines if not line.startswith(DAMAGE)]
    os.write(_STDERR, b"".join(others))
    return image, len(others) < len(lines)


def plain(data: bytes) -> np.ndarray | None:
    """The pixels uint8 (height, width, 3) RGB as OpenCV decodes them, or None if it cannot.

    Of all formats; transparency is ignored and damage too, so this is for pictures that
    `decode.decode` has seen.
    """
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None


@contextmanager
def _standard_error() -> Iterator[bytearray]:
    """What is written to the standard error stream within the block, there once it ends."""
    written = bytearray()
    before = os.dup(_STDERR)
    caught = os.memfd_create("stderr")
    try:
        os.dup2(caught, _STDERR)
        try:
            yield written
        finally:
            os.dup2(before, _STDERR)
        written += os.pread(caught, os.fstat(caught).st_size, 0)
    finally:
        os.close(caught)
        os.close(before)
