"""Containers: the files that hold many pictures, each of them a range of bytes.

A file's name tells its kind: IDX (`*idx3-ubyte`, see `idx`), a table of pixels (`*.csv`, see
`pixel_tables`), or else an uncompressed tar (see `archives`). A tar holds image files; the
others hold the pixels themselves.
"""

import os
from collections.abc import Callable, Iterator

import numpy as np

from graft.datasets import idx, pixel_tables
from graft.download import archives
from graft.download.archives import Member


def members(path: str | os.PathLike) -> Iterator[Member]:
    """Walk a container's pictures in their order, in flat memory.

    Raises GraftError, at the latest where the walk ends, for a container that is not whole.
    """
    if idx.is_images(path):
        return idx.members(path)
    if pixel_tables.is_table(path):
        return pixel_tables.members(path)
    return archives.members(path)


def is_numbered(path: str | os.PathLike) -> bool:
    """Whether a container's name says that its pictures are called by their numbers in it."""
    return idx.is_images(path) or pixel_tables.is_table(path)


def decoder(path: str | os.PathLike) -> Callable[[bytes], np.ndarray | None] | None:
    """How to turn a picture's bytes into its pixels, uint8 (height, width, 3) RGB.

    None where they are an image file, which says itself what format it has. The function
    returns None for bytes that are no picture. Raises GraftError for a container whose header
    is not sound.
    """
    if idx.is_images(path):
        return idx.decoder(path)
    if pixel_tables.is_table(path):
        return pixel_tables.decode
    return None
