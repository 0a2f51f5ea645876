"""Decoding image files, and going through many pictures with bounded memory."""

import io
from collections.abc import Iterable, Iterator
from typing import TypeAlias, TypeVar

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps

from graft.config.decoding import Decoder, Decoding
from graft.core.errors import GraftError
from graft.images import depth, jpeg

try:
    import pillow_heif

    pillow_heif.register_heif_opener()
except ImportError:
    pillow_heif = None

FORMATS = ("PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF", "JPEG2000", "AVIF")
"""The formats that are decoded besides JPEG, by Pillow's names; HEIF needs a package more."""

HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
"""The brands of HEIF files (ISO/IEC 23008-12), in the box ftyp that begins them."""

AVIF = {b"avif", b"avis"}
"""Those of AVIF files, which may be HEIF's in name too."""

JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
"""What a JPEG XL file begins with (ISO/IEC 18181); nothing installed decodes it."""

ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
"""Pillow's modes with transparency."""

WINDOW_BATCHES = 8
"""Enough pictures at a time that those of one size fill batches."""

WINDOW_BYTES = 2**28
"""Enough bytes at a time, since photographs may be large."""

# The limit is the config's, and is checked before a picture is decoded.
Image.MAX_IMAGE_PIXELS = None

K = TypeVar("K")

Decoded: TypeAlias = np.ndarray | str
"""A picture uint8 (height, width, 3) RGB, or the reason why there is none."""


def decode(data: bytes, settings: Decoder | None = None) -> Decoded:
    """Decode an image file: its first picture, upright by its EXIF orientation.

    settings: None for the defaults, with which no HEIF file is decoded.

    Reasons: `unreadable` (no picture, or one that cannot be decoded whole), `corrupt` (a JPEG in
    which the decoder meets damaged data), `too_large` (more than `settings.max_pixels`),
    `unsupported_format` (of a kind that is known and not decoded). Raises GraftError if
    `settings.heif` names a package that is missing.
    """
    settings = settings or Decoder()
    if data.startswith(jpeg.START):
        return _jpeg(data, settings)
    if _is_heif(data):
        return "unsupported_format" if settings.heif is None else _heif(data, settings)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _other(image, data, settings)
    except Image.UnidentifiedImageError:
        return "unsupported_format" if data.startswith(JPEG_XL) else "unreadable"
    except Exception:  # Pillow's decoders raise exceptions of many types for damaged files
        return "unreadable"


def windows(
    pictures: Iterable[tuple[K, Decoded]], batch_size: int
) -> Iterator[list[tuple[K, Decoded]]]:
    """Split (key, picture) pairs, in their order, into lists that fit in memory.

    pictures: read one by one. A list ends after `WINDOW_BATCHES` batches of `batch_size` pictures,
    or when its pictures reach `WINDOW_BYTES`.
    """
    window: list[tuple[K, Decoded]] = []
    size = 0
    for key, image in pictures:
        window.append((key, image))
        size += 0 if isinstance(image, str) else image.nbytes
        if len(window) >= WINDOW_BATCHES * batch_size or size >= WINDOW_BYTES:
            yield window
            window, size = [], 0
    if window:
        yield window


def _jpeg(data: bytes, settings: Decoding) -> Decoded:
    header = jpeg.header(data)
    if not header.is_whole:
        return "unreadable"
    if header.width * header.height > settings.max_pixels:
        return "too_large"
    image, damaged = jpeg.pixels(data)
    if image is None:
        return "unreadable"
    return "corrupt" if damaged else image


def _is_heif(data: bytes) -> bool:
    size = int.from_bytes(data[:4])
    brands = {data[start : start + 4] for start in range(8, min(size, 256), 4)}
    return data[4:8] == b"ftyp" and bool(brands & HEIF) and not brands & AVIF


def _heif(data: bytes, settings: Decoding) -> Decoded:
    if pillow_heif is None:
        raise GraftError(
            "pillow-heif: the package was installed where the workflow started, and is not here. "
            "Install it on every machine, or on none."
        )
    try:
        with Image.open(io.BytesIO(data), formats=("HEIF",)) as image:
            return _other(image, data, settings)
    except Exception:  # as in `decode`
        return "unreadable"


def _other(image: ImageFile.ImageFile, data: bytes, settings: Decoding) -> Decoded:
    """A picture that Pillow has opened, of any format but JPEG."""
    if image.width * image.height > settings.max_pixels:
        return "too_large"
    if depth.is_portable_map(image):
        return _colours(depth.portable_map(image, data))
    if depth.is_deep(image, data):
        return _deep(image, data, settings)
    if image.mode[0] in "IF":
        return _wide(image, settings)
    upright = ImageOps.exif_transpose(image)
    if image.mode not in ALPHA and "transparency" not in image.info:
        return np.array(upright.convert("RGB"))
    return _over(np.array(upright.convert("RGBA")), settings.background)


def _wide(image: ImageFile.ImageFile, settings: Decoding) -> Decoded:
    """A grey picture of more than 8 bits, all of which Pillow keeps."""
    if image.format not in ("PPM", "JPEG2000"):
        return "unsupported_format"  # a TIFF of 32 bits, whose white is anywhere
    values = np.asarray(image)
    # A PGM is scaled by its maximum; a JPEG 2000 may hold 12 bits in 16.
    bits = 16 if image.format == "PPM" else settings.bits
    return _colours(depth.scaled(values, depth.white(values, bits=bits, stated=None)))


def _deep(image: ImageFile.ImageFile, data: bytes, settings: Decoding) -> Decoded:
    """A PNG or a TIFF of more than 8 bits a sample, of which Pillow keeps the upper 8 only."""
    image.load()  # OpenCV may fill what is missing
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        return "unsupported_format"
    stated = depth.stated_bits(image, data)
    values = depth.scaled(values, depth.white(values, bits=settings.bits, stated=stated))
    if image.format == "PNG":  # of a TIFF OpenCV has applied the orientation
        values = _upright(values, image.getexif().get(ExifTags.Base.Orientation, 1))
    if values.ndim == 3 and values.shape[2] == 4:
        return _over(cv2.cvtColor(values, cv2.COLOR_BGRA2RGBA), settings.background)
    return _colours(values[..., ::-1] if values.ndim == 3 else values)


def _colours(pixels: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 3) of grey pixels (h, w) or colours (h, w, 3)."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (h, w[, c]) by their EXIF orientation, 1 to 8."""
    mirrored = pixels[:, ::-1] if orientation in (2, 4, 5, 7) else pixels
    turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(mirrored, turns))


def _over(pixels: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """Pixels uint8 (h, w, 4), RGB and opacity, over a colour: uint8 (h, w, 3)."""
    opacity = pixels[..., 3:].astype(np.uint16)
    behind = np.array(background, np.uint16) * (255 - opacity)
    return ((pixels[..., :3] * opacity + behind + 127) // 255).astype(np.uint8)
