"""Image files as people have them: other formats, transparency, depths and damage."""

import io
import zlib

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 40
_Y, _X = np.mgrid[:HEIGHT, :WIDTH]
COLOURS = np.stack([_X * 6, _Y * 10, (_X + _Y) * 3], axis=2).astype(np.uint8)
"""A picture uint8 (24, 40, 3) without symmetry, whose values are 0 to 240."""

GREY = COLOURS[..., [0, 0, 0]]
SEEN = (_X >= WIDTH // 2)[..., None]
"""Where it is opaque, in files with transparency; elsewhere its colours are there, but hidden."""

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
JPEG_XL = b"\xff\x0a" + bytes(40)


def file_of(image, format, **options):
    """The bytes of an image file; `image` is an array or Pillow's."""
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, format, **options)
    return file.getvalue()


def deep(values, ending=".png"):
    """A file of 16 bits a sample, of values uint16 (h, w), (h, w, 3) RGB or (h, w, 4) RGBA."""
    order = {2: values, 3: values[..., [2, 1, 0, 3][: values.shape[-1]]]}[values.ndim]
    ok, data = cv2.imencode(ending, order)
    assert ok
    return data.tobytes()


def with_bits(png, bits, channels):
    """A PNG that states how many bits are significant, by the chunk sBIT behind its header."""
    chunk = b"sBIT" + bytes([bits] * channels)
    checksum = zlib.crc32(chunk).to_bytes(4)
    return png[:33] + channels.to_bytes(4) + chunk + checksum + png[33:]


def of_bits(image, bits):
    """uint16: an 8-bit picture in so many bits."""
    return (image.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)


def portable(kind, image, most, *, comment=False):
    """A PNM file: kind 2 and 3 as text, 5 and 6 binary; grey or RGB by it."""
    values = (image if kind in (3, 6) else image[..., 0]).astype(np.uint32)
    values = (values * most + 127) // 255
    note = "# a comment\n" if comment else ""
    header = f"P{kind}\n{note}{image.shape[1]} {image.shape[0]}\n{most}\n".encode()
    if kind in (2, 3):
        return header + " ".join(map(str, values.ravel().tolist())).encode()
    return header + values.astype(">u2" if most > 255 else np.uint8).tobytes()


def transparent(mode, format, **options):
    """COLOURS (or its grey) with transparency in the left half, under which colours are hidden."""
    opacity = np.where(SEEN, 255, 0).astype(np.uint8)
    if mode == "P":  # a palette, of which the colours of the left half are transparent
        halves = Image.fromarray(np.where(SEEN[..., 0], 1, 0).astype(np.uint8), "L").convert("P")
        halves.putpalette([0, 0, 0, 10, 200, 30])
        return file_of(halves, format, transparency=0, **options)
    base = GREY[..., :1] if mode == "LA" else COLOURS
    return file_of(np.concatenate([base, opacity], axis=2), format, **options)


def damaged_scan(data, where=0.6, replace=b"\xff\xd9"):
    """A JPEG whose entropy-coded data is damaged from a share of the file on: it ends there, and
    the end marker follows, so that it looks whole."""
    return data[: int(len(data) * where)] + replace
