"""IDX: arrays of bytes after a short header, as MNIST publishes pictures and labels.

LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "The IDX file format"
(http://yann.lecun.com/exdb/mnist/). A file begins with two zero bytes, the type of its values
(0x08: unsigned bytes, the only one read here) and the number of dimensions, one byte each; then the
size of every dimension as 32 bits, most significant byte first; then the values in row-major order.
"""

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from graft.core.errors import unreadable
from graft.download.archives import Member

UNSIGNED_BYTES = 0x08


def members(path: str | os.PathLike) -> Iterator[Member]:
    """The pictures of a three-dimensional file in their order, in flat memory.

    Their names are their numbers, from 0, in five digits or more ("00017"). Raises what `shape`
    raises, before the first one.
    """
    count, height, width = shape(path, 3)
    start, size = _header_size(3), height * width
    for number in range(count):
        yield Member(f"{number:05d}", start + number * size, size)


def decoder(path: str | os.PathLike) -> Callable[[bytes], np.ndarray]:
    """The function from a picture's bytes to uint8 (height, width, 3), its grey in all channels.

    Raises what `shape` raises.
    """
    _, height, width = shape(path, 3)

    def decode(data: bytes) -> np.ndarray:
        return np.repeat(np.frombuffer(data, np.uint8), 3).reshape(height, width, 3)

    return decode


def labels(path: str | os.PathLike) -> np.ndarray:
    """The values of a one-dimensional file: uint8 (n,). Raises what `shape` raises."""
    shape(path, 1)
    return np.fromfile(path, np.uint8, offset=_header_size(1))


def shape(path: str | os.PathLike, dimensions: int) -> tuple[int, ...]:
    """The sizes in a file's header, which agree with its length.

    Raises GraftError for a file that cannot be read, is not IDX of unsigned bytes with so many
    dimensions, or is shorter or longer than its header requires.
    """
    start, magic = _header_size(dimensions), _magic(dimensions)
    try:
        length = os.path.getsize(path)
        with open(path, "rb") as file:
            header = file.read(start)
        if header[:4] != magic:
            raise ValueError(
                f"it begins with 0x{header[:4].hex()}, and IDX of {dimensions} dimensions with "
                f"0x{magic.hex()}"
            )
        if length < start:
            raise ValueError("it ends within its header")
        sizes = tuple(np.frombuffer(header[4:], ">u4").tolist())
        expected = start + math.prod(sizes)
        if length != expected:
            raise ValueError(f"it has {length} bytes, and its header requires {expected}")
        if 0 in sizes[1:]:
            raise ValueError(f"its pictures are of {sizes[1]} x {sizes[2]} pixels")
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    return sizes


def encode(values: np.ndarray) -> bytes:
    """The bytes of a file that holds `values`, uint8 of any shape."""
    sizes = np.array(values.shape, ">u4")
    return _magic(values.ndim) + sizes.tobytes() + np.ascontiguousarray(values).tobytes()


def is_images(path: str | os.PathLike) -> bool:
    """Whether a file's name is that of pictures: it ends with `idx3-ubyte`."""
    return Path(path).name.lower().endswith("idx3-ubyte")


def _magic(dimensions: int) -> bytes:
    return bytes([0, 0, UNSIGNED_BYTES, dimensions])


def _header_size(dimensions: int) -> int:
    return 4 + 4 * dimensions
