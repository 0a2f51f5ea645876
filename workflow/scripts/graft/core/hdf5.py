"""HDF5 files with equal bytes for equal contents, whose arrays can be memory-mapped.

Arrays are contiguous and uncompressed, so any number of processes share one page cache (`memmap`),
and HDF5 is needed only for the offsets.
"""

import contextlib
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np

from graft.core.errors import GraftError, damaged
from graft.core.files import JsonValue, atomic, bytes_text, canonical_json
from graft.core.version import VERSION

FORMAT = ("v110", "v110")
"""The version of the format; the bytes would otherwise depend on the version of the library."""


@contextlib.contextmanager
def create(path: str | os.PathLike, recipe: JsonValue) -> Iterator[h5py.File]:
    """Yield a new file, with the attributes `graft_version` and `recipe` (canonical JSON).

    It appears at `path` when the block succeeds.
    """
    with (
        atomic(path) as temporary,
        # Without locks: files never change, and some network file systems have none.
        h5py.File(temporary, "w", libver=FORMAT, locking=False, track_order=False) as file,
    ):
        file.attrs["graft_version"] = VERSION
        file.attrs["recipe"] = canonical_json(recipe)
        yield file


def contiguous(
    file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.typing.DTypeLike
) -> h5py.Dataset:
    """A new contiguous, uncompressed dataset, of which every element has to be written.

    Raises GraftError if the disk has no room for it.
    """
    folder = Path(file.filename).parent
    size, free = math.prod(shape) * np.dtype(dtype).itemsize, shutil.disk_usage(folder).free
    if size > free:
        raise GraftError(
            f"{folder}: {name} {tuple(shape)} takes {bytes_text(size)}, and {bytes_text(free)} are "
            "free. Make room, then run again."
        )
    return file.create_dataset(name, shape, dtype, track_times=False, fill_time="never")


def write(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Write a whole array as a contiguous dataset."""
    contiguous(file, name, values.shape, values.dtype)[...] = values


def write_strings(file: h5py.File, name: str, values: Iterable[str]) -> None:
    """Write strings as UTF-8 (n,) of the length of the longest."""
    encoded = [value.encode() for value in values]
    dtype = h5py.string_dtype("utf-8", max(map(len, encoded), default=0) or 1)
    contiguous(file, name, (len(encoded),), dtype)[...] = np.array(encoded, dtype=dtype)


def read_strings(file: h5py.File, name: str) -> np.ndarray:
    """Read strings that `write_strings` wrote: unicode (n,)."""
    return np.char.decode(file[name][...], "utf-8")


@contextlib.contextmanager
def open(path: str | os.PathLike, stage: str) -> Iterator[h5py.File]:
    """Open a file that a stage wrote; raise GraftError if it is missing or damaged, or lacks a
    dataset or an attribute that the block reads."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except FileNotFoundError:
        raise damaged(path, "the file is missing", stage) from None
    except OSError as error:
        raise damaged(path, f"the file is damaged or not HDF5 ({error})", stage) from error
    except KeyError as error:
        raise damaged(path, f"the file lacks an entry ({error})", stage) from error


def memmap(dataset: h5py.Dataset, stage: str) -> np.ndarray:
    """Map a contiguous dataset of an open file, read only; stays valid when the file is closed.

    Raises GraftError if the dataset is not contiguous or ends beyond the file.
    """
    path, offset = Path(dataset.file.filename), dataset.id.get_offset()
    if dataset.size == 0:
        return np.zeros(dataset.shape, dataset.dtype)
    end = (offset or 0) + dataset.size * dataset.dtype.itemsize
    if offset is None or path.stat().st_size < end:
        raise damaged(path, f"{dataset.name} is not stored contiguously and completely", stage)
    return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)
