"""Packs: model-ready pictures with encoded labels, one file per part.

A pack holds `images` uint8 (n, height, width, channels), contiguous; `labels`; `sample_id` and
`group` (n,), fixed-length UTF-8; and the attributes `recipe`, `graft_version` and `classes`, a JSON
list. Labels are int64 (n,), positions in `classes`, or where a picture may have several uint8 (n,
classes): 1 of that class, 0 not, LEFT_OUT neither to be learnt from nor to be counted. A file of
features has `features` float16 (n, views, ...) instead of `images`, and is read by the same
classes.
"""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from graft.core import hdf5
from graft.core.errors import GraftError, damaged


class PatchArrays(NamedTuple):
    """What a pack of `crop: patches` holds besides, or a file of features of its patches.

    starts: the first patch of each picture, and the number of patches; int64 (n + 1,). labels: of
    the patches, positions in `classes` or, for background, their number; int16 (p,). boxes: float32
    (p, 4), pixels. side: of the patches, once resized. encoded, ends: the pictures' files (see
    `crop`); None in a file of features, whose `features` are those of the patches, float16 (p,
    views, ...).
    """

    starts: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    side: int
    encoded: np.ndarray | None
    ends: np.ndarray | None

    @classmethod
    def read(cls, file: h5py.File) -> "PatchArrays":
        pictures = "encoded" in file
        return cls(
            starts=file["starts"][...],
            labels=hdf5.memmap(file["patch_labels"], "pack"),
            boxes=hdf5.memmap(file["boxes"], "pack"),
            side=int(file.attrs["patch_side"]),
            encoded=hdf5.memmap(file["encoded"], "pack") if pictures else None,
            ends=file["ends"][...] if pictures else None,
        )


LEFT_OUT = 2
"""The label of a picture that shows only objects of a class that its publisher calls difficult."""


class Pack:
    """A pack or a file of features, read through a memory map.

    array: the images uint8 (n, h, w, c) or features float16 (n, views, ...), read only.
    labels: as above. sample_ids, groups: unicode (n,). classes: list of str.

    Can be pickled: another process maps the file again. Raises GraftError for a file that is
    missing, damaged or not a pack.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        with hdf5.open(self.path, "pack") as file:
            self.array = hdf5.memmap(file["features" if "features" in file else "images"], "pack")
            self.labels = file["labels"][...]
            self.sample_ids = hdf5.read_strings(file, "sample_id")
            self.groups = hdf5.read_strings(file, "group")
            self.classes: list[str] = list(json.loads(file.attrs["classes"]))
            self.patches = PatchArrays.read(file) if "starts" in file else None
        of_patches = self.patches is not None and self.patches.encoded is None
        rows = len(self.labels) if of_patches else len(self.array)
        lengths = {rows, len(self.labels), len(self.sample_ids), len(self.groups)}
        multi = self.labels.ndim == 2
        known = (self.labels >= 0) & (self.labels <= (LEFT_OUT if multi else len(self.classes) - 1))
        shaped = self.labels.shape[1:] == ((len(self.classes),) if multi else ())
        if len(lengths) > 1 or not shaped or not known.all():
            raise damaged(path, "its labels do not match its samples or classes", "pack")

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple[type["Pack"], tuple[Path]]:
        return Pack, (self.path,)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The samples at `indices`, in that order, as a new array."""
        return np.array(self.array[indices])

    def copy_labels(self, file: h5py.File) -> None:
        """Write labels, sample ids, groups and classes into a file of the same samples."""
        ids, groups = self.sample_ids.tolist(), self.groups.tolist()
        write_labels(file, self.labels, ids, groups, self.classes)


class Packs:
    """The packs of several parts, concatenated.

    labels, sample_ids, groups, classes: as in `Pack`, over all parts. Raises GraftError if there
    is no part, or if the parts differ in their classes or in the shape or type of their samples.
    """

    def __init__(self, packs: Sequence[Pack]):
        if not packs:
            raise GraftError("packs: there is none to read. Give at least one part.")
        first, *others = self.packs = list(packs)
        for other in others:
            for what, equal in (
                ("classes", first.classes == other.classes),
                ("shapes", first.array.shape[1:] == other.array.shape[1:]),
                ("types", first.array.dtype == other.array.dtype),
            ):
                if not equal:
                    problem = f"its {what} differ from {first.path}"
                    raise damaged(other.path, problem, "pack")
        self.classes = first.classes
        self.labels = np.concatenate([pack.labels for pack in self.packs])
        self.sample_ids = np.concatenate([pack.sample_ids for pack in self.packs])
        self.groups = np.concatenate([pack.groups for pack in self.packs])
        self._ends = np.cumsum([len(pack) for pack in self.packs])
        self._rows: np.ndarray | None = None

    def subset(self, rows: np.ndarray) -> "Packs":
        """The samples at `rows` (distinct, of all parts), in that order."""
        chosen = copy.copy(self)
        chosen._rows = rows if self._rows is None else self._rows[rows]
        chosen.labels, chosen.groups = self.labels[rows], self.groups[rows]
        chosen.sample_ids = self.sample_ids[rows]
        return chosen

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The samples at `indices` (0 <= index < n, any order, repeats allowed), as a new array.

        Each part is read in ascending order, which is faster on a disk. Raises IndexError for an
        index out of range.
        """
        indices = np.asarray(indices, np.int64)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"the samples are numbered 0 to {len(self) - 1}")
        if self._rows is not None:
            indices = self._rows[indices]
        first = self.packs[0].array
        block = np.empty((len(indices), *first.shape[1:]), first.dtype)
        order = np.argsort(indices, kind="stable")
        starts = self._ends - [len(pack) for pack in self.packs]
        bounds = np.searchsorted(indices[order], np.append(starts, self._ends[-1]))
        for pack, start, low, high in zip(self.packs, starts, bounds[:-1], bounds[1:], strict=True):
            chosen = order[low:high]
            block[chosen] = pack.array[indices[chosen] - start]
        return block


def open_parts(paths: Sequence[str | Path]) -> Packs:
    """Open the packs, or the files of features, of several parts."""
    return Packs([Pack(path) for path in paths])


def class_counts(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """How many samples are of each class: int64 (classes,)."""
    if labels.ndim == 2:
        return (labels == 1).sum(axis=0)
    return np.bincount(labels, minlength=len(classes))


def write_labels(
    file: h5py.File,
    labels: np.ndarray,
    sample_ids: Sequence[str],
    groups: Sequence[str],
    classes: Sequence[str],
) -> None:
    """Write what packs and files of features have in common."""
    hdf5.write(file, "labels", np.asarray(labels))
    hdf5.write_strings(file, "sample_id", sample_ids)
    hdf5.write_strings(file, "group", groups)
    file.attrs["classes"] = json.dumps(list(classes))
