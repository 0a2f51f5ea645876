"""HDF5 files that a reader can map: written whole, with equal bytes for equal contents.

Arrays lie contiguous and uncompressed, so `memmap` hands them to any number of processes
through one page cache, and HDF5 itself is needed only to find out where they start.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np

from graft.core.errors import GraftError
from graft.core.files import atomic, canonical_json
from graft.core.version import VERSION

# One version of the format for all writers, or the bytes would depend on the library's.
# Locks are needless, as no file is ever changed, and fail on some network file systems.
FORMAT = ("v110", "v110")


@contextlib.contextmanager
def create(path: str | os.PathLike, recipe: dict | None = None) -> Iterator[h5py.File]:
    """Yield a new file; it appears at `path`, complete, when the block succeeds.

    Its attributes are `graft_version` and, if given, `recipe` as canonical JSON.
    """
    with (
        atomic(path) as temporary,
        h5py.File(temporary, "w", libver=FORMAT, locking=False, track_order=False) as file,
    ):
        file.attrs["graft_version"] = VERSION
        if recipe is not None:
            file.attrs["recipe"] = canonical_json(recipe)
        yield file


def contiguous(
    file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.typing.DTypeLike
) -> h5py.Dataset:
    """Make a contiguous, uncompressed dataset, to be filled in whole by slices."""
    return file.create_dataset(name, shape, dtype, track_times=False, fill_time="never")


def write(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Write a whole array as a contiguous dataset."""
    contiguous(file, name, values.shape, values.dtype)[...] = values


def write_strings(file: h5py.File, name: str, values: Iterable[str]) -> None:
    """Write strings as fixed-length UTF-8 (n,), as many bytes each as the longest has."""
    encoded = [value.encode() for value in values]
    dtype = h5py.string_dtype("utf-8", max(map(len, encoded), default=0) or 1)
    contiguous(file, name, (len(encoded),), dtype)[...] = np.array(encoded, dtype=dtype)


def read_strings(file: h5py.File, name: str) -> np.ndarray:
    """Strings that `write_strings` wrote: unicode (n,)."""
    return np.char.decode(file[name][...], "utf-8")


@contextlib.contextmanager
def open(path: str | os.PathLike, stage: str = "") -> Iterator[h5py.File]:
    """Open a file for reading; raise GraftError if it is missing, damaged or of another kind.

    `stage` names who makes such files, for the message. A missing dataset or attribute that
    is asked for within the block counts as another kind of file.
    """
    remedy = f"run the {stage} stage again (-R {stage})" if stage else "make it again"
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except FileNotFoundError:
        raise GraftError(f"{path} is missing: {remedy}.") from None
    except OSError as error:
        raise GraftError(f"{path} is damaged or no HDF5 file ({error}): {remedy}.") from error
    except KeyError as error:
        raise GraftError(f"{path} lacks what this stage reads ({error}): {remedy}.") from error


def memmap(dataset: h5py.Dataset) -> np.ndarray:
    """Map a contiguous dataset of an open file, read only; stays valid when the file closes.

    Raises GraftError if the dataset is stored in another way, or ends beyond the file.
    """
    path, offset = Path(dataset.file.filename), dataset.id.get_offset()
    if dataset.size == 0:
        return np.zeros(dataset.shape, dataset.dtype)
    end = (offset or 0) + dataset.size * dataset.dtype.itemsize
    if offset is None or path.stat().st_size < end:
        raise GraftError(
            f"{path}: {dataset.name} is not stored contiguous and whole; make the file again."
        )
    return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)
