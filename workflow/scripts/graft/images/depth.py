"""Pictures of other than 8 bits a sample: from their values to 0..255."""

import numpy as np
from PIL import ImageFile

SHALLOW = 12
"""The bits that are taken to be significant in 16 if no sample of a picture needs more, and nothing
states them: what microscopes, scanners and cameras write."""


def scaled(values: np.ndarray, most: int) -> np.ndarray:
    """uint8 of values whose white is `most`; larger ones are white."""
    return ((np.minimum(values, most).astype(np.uint32) * 255 + most // 2) // most).astype(np.uint8)


def white(values: np.ndarray, *, bits: int | None, stated: int | None) -> int:
    """The value of white in samples uint16 of one picture, 2 ** n - 1.

    bits: the significant bits n that the config gives. stated: those that the file gives (PNG's
    chunk sBIT, TIFF's BitsPerSample), or None. PNG's standard has samples shifted to the top of
    the 16 bits, some writers leave them at the bottom: they are at the top if the others are 0, or
    if the samples need more bits than stated. Without either, n is 16, or `SHALLOW` if that is
    enough for every sample.
    """
    if bits is not None:
        return 2**bits - 1
    most = int(values.max(initial=0))
    if stated is None:
        return 2 ** (SHALLOW if most < 2**SHALLOW else 16) - 1
    at_top = most >= 2**stated or not np.bitwise_or.reduce(values, axis=None) % 2 ** (16 - stated)
    return 2 ** (16 if at_top else stated) - 1


def stated_bits(image: ImageFile.ImageFile, data: bytes) -> int | None:
    """The significant bits that a PNG or a TIFF of more than 8 bits a sample states, if any."""
    if image.format == "TIFF":
        depth = max(image.tag_v2.get(258, (16,)))  # type: ignore[attr-defined]
        return None if depth == 16 else depth
    at = data.find(b"sBIT", 0, max(data.find(b"IDAT"), 0))
    length = int.from_bytes(data[at - 4 : at]) if at >= 4 else 0
    bits = max(data[at + 4 : at + 4 + length]) if 1 <= length <= 4 else 0
    return bits if 8 <= bits <= 16 else None


def is_deep(image: ImageFile.ImageFile, data: bytes) -> bool:
    """Whether a PNG or a TIFF has more than 8 bits a sample."""
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (1,))) > 8  # type: ignore[attr-defined]
    return image.format == "PNG" and data[24] == 16


def is_portable_map(image: ImageFile.ImageFile) -> bool:
    """Whether it is a binary PGM or PPM whose white is not 255."""
    return any(tile.codec_name == "ppm" for tile in image.tile)


def portable_map(image: ImageFile.ImageFile, data: bytes) -> np.ndarray:
    """The pixels of such a file, whose header Pillow has read: uint8 (height, width, 1 or 3).

    Pillow itself scales them one by one in Python. Raises EOFError for a file that is cut short.
    """
    offset, arguments = image.tile[0][2:]
    most = int(arguments[1])  # type: ignore[index]
    kind, channels = np.dtype(">u2" if most > 255 else np.uint8), 3 if image.mode == "RGB" else 1
    count = image.width * image.height * channels
    if len(data) - offset < count * kind.itemsize:
        raise EOFError("the file is cut short")
    values = np.frombuffer(data, kind, count, offset).reshape(image.height, image.width, channels)
    return scaled(values, most)
