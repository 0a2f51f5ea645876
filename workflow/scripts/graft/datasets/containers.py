"""Containers: the files that hold many pictures, each of them a range of bytes.

The file's name gives the kind: IDX (`*idx3-ubyte`, see `idx`), a table of pixels (`*.csv`, see
`pixel_tables`), or else an uncompressed tar (see `archives`). A tar holds image files; the others
hold the pixels themselves.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from graft.datasets import idx, pixel_tables
from graft.download import archives
from graft.download.archives import Member


def members(
    path: str | os.PathLike, *, passed_over: Counter[str] | None = None
) -> Iterator[Member]:
    """A container's pictures in their order, in flat memory; `passed_over` as in
    `archives.members`.

    Raises GraftError, at the latest where the iteration ends, for a container that is not whole.
    """
    if idx.is_images(path):
        return idx.members(path)
    if pixel_tables.is_table(path):
        return pixel_tables.members(path)
    return archives.members(path, passed_over=passed_over)


def is_numbered(path: str | os.PathLike) -> bool:
    """Whether the names of a container's pictures are their numbers in it."""
    return idx.is_images(path) or pixel_tables.is_table(path)


def decoder(path: str | os.PathLike) -> Callable[[bytes], np.ndarray | None] | None:
    """The function from a picture's bytes to its pixels, uint8 (height, width, 3) RGB, or to None
    for bytes that are no picture; None for a tar, whose image files have formats of their own.

    Raises GraftError for a container with a bad header.
    """
    if idx.is_images(path):
        return idx.decoder(path)
    return pixel_tables.decode if pixel_tables.is_table(path) else None
