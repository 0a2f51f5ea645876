"""Rows of patches: every patch of the pictures of a data set as a sample of one class.

A pack of `crop: patches` holds, besides what all packs do, the pictures' files and where their
patches are (see `packs.PatchArrays`): patches are cut when they are read, never stored as pixels.
"""

import copy
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from graft.config.patches import Patches
from graft.core import hdf5
from graft.core.errors import damaged
from graft.images import patches
from graft.images.jpeg import plain
from graft.images.packs import Packs, PatchArrays, open_parts

BACKGROUND = "background"
"""The last class of patches: those that show no object, or several."""

COPY_BYTES = 1 << 24


class Regions:
    """The objects of a part's pictures: for each of its rows boxes float64 (r, 4), classes int (r,)
    and which are difficult, bool (r,)."""

    def __init__(self, table: pd.DataFrame, sample_ids: Sequence[str], classes: Sequence[str]):
        codes = {name: code for code, name in enumerate(classes)}
        by_sample = dict(iter(table.groupby("sample_id", sort=False)))
        self.rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for sample in sample_ids:
            own = by_sample.get(sample, table.iloc[:0])
            boxes = own[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
            numbers = np.array([codes[name] for name in own["label"]], np.int64)
            self.rows.append((boxes, numbers, own["difficult"].to_numpy(bool)))

    def only_difficult(self, classes: int) -> np.ndarray:
        """bool (n, classes): whether all objects of a class in a picture are difficult ones."""
        found = np.zeros((len(self.rows), classes), bool)
        for row, (_, numbers, difficult) in enumerate(self.rows):
            found[row, numbers[difficult]] = True
            found[row, numbers[~difficult]] = False
        return found


def write(
    file: h5py.File,
    crops: h5py.File,
    settings: Patches,
    regions: Regions,
    *,
    classes: int,
    side: int,
) -> None:
    """Copy the pictures of a file of crops into its pack, and write where their patches are.

    classes: how many there are. side: of the patches in pixels, once they are resized.
    """
    encoded = hdf5.memmap(crops["encoded"], "crop")
    target = hdf5.contiguous(file, "encoded", encoded.shape, np.uint8)
    for start in range(0, len(encoded), COPY_BYTES):
        target[start : start + COPY_BYTES] = encoded[start : start + COPY_BYTES]
    hdf5.write(file, "ends", crops["ends"][...])
    boxes, labels = [np.empty((0, 4), np.float32)], [np.empty(0, np.int16)]
    starts = [0]
    for (width, height), (objects, numbers, _) in zip(
        crops["sizes"][...].tolist(), regions.rows, strict=True
    ):
        own = patches.grid(
            width, height, settings.scales, enough=settings.enough, after=settings.after
        )
        labels.append(
            patches.labels(
                own,
                objects,
                numbers,
                background=classes,
                of_patch=settings.of_patch,
                of_region=settings.of_object,
            ).astype(np.int16)
        )
        boxes.append(own.astype(np.float32))
        starts.append(starts[-1] + len(own))
    _write_arrays(file, np.array(starts), np.concatenate(labels), np.concatenate(boxes), side)


def copy_arrays(arrays: PatchArrays, file: h5py.File) -> None:
    """Write into a file of features where its patches are."""
    _write_arrays(file, arrays.starts, arrays.labels, arrays.boxes, arrays.side)


class PatchRows:
    """The patches of the pictures of several parts, concatenated; samples like those of `Packs`.

    pictures: the packs, with labels of whole pictures. starts: the first row of each picture, and
    the number of rows; int64 (n + 1,). labels: int64 (p,), positions in `classes`, whose last one
    is BACKGROUND. side: of the patches in pixels.
    """

    def __init__(self, pictures: Packs):
        arrays = [pack.patches for pack in pictures.packs]
        first = pictures.packs[0].path
        self._parts = [one for one in arrays if one is not None]
        if len(self._parts) < len(arrays):
            raise damaged(first, "it holds no patches", "pack")
        self.pictures, self.side = pictures, self._parts[0].side
        self.classes = [*pictures.classes, BACKGROUND]
        sizes = np.concatenate([np.diff(one.starts) for one in self._parts])
        # Of each picture its part, its number there, and its first patch there.
        self._part = np.repeat(np.arange(len(arrays)), [len(p) for p in pictures.packs])
        self._number = np.concatenate([np.arange(len(p)) for p in pictures.packs])
        self._first = np.concatenate([one.starts[:-1] for one in self._parts])
        self._choose(np.arange(len(sizes)), [np.arange(size) for size in sizes])

    @property
    def is_cut(self) -> bool:
        """Whether rows are pictures, and not features."""
        return self._parts[0].encoded is not None

    def of_pictures(self, rows: np.ndarray) -> "PatchRows":
        """The patches of some pictures (distinct), in that order."""
        chosen = copy.copy(self)
        chosen.pictures = self.pictures.subset(rows)
        chosen._part, chosen._number, chosen._first = (
            values[rows] for values in (self._part, self._number, self._first)
        )
        kept = [self._patch[self.starts[row] : self.starts[row + 1]] for row in rows]
        chosen._choose(np.arange(len(rows)), kept)
        return chosen

    def thinned(self, count: int | None) -> "PatchRows":
        """At most so many patches of each picture, evenly spaced over its grid."""
        if count is None:
            return self
        chosen = copy.copy(self)
        kept = []
        for start, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            size = end - start
            places = np.unique(np.linspace(0, size - 1, min(count, size)).round().astype(np.int64))
            kept.append(self._patch[start:end][places])
        chosen._choose(np.arange(len(kept)), kept)
        return chosen

    def __len__(self) -> int:
        return len(self.labels)

    def epoch_rows(self, per_picture: int, order: str, rng: np.random.Generator) -> np.ndarray:
        """The rows of an epoch, int64 (m,): of each picture those of `patches.choose`.

        order: `mixed`, all in a random order; `picture`, those of a picture follow one another.
        """
        pieces = []
        for start, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            background = len(self.classes) - 1
            own = patches.choose(self.labels[start:end], per_picture, rng, background)
            pieces.append(start + own)
        if order == "picture":
            return np.concatenate([pieces[i] for i in rng.permutation(len(pieces))])
        return rng.permutation(np.concatenate(pieces))

    def epoch_length(self, per_picture: int) -> int:
        """How many rows `epoch_rows` gives, the same in every epoch."""
        return int(np.minimum(np.diff(self.starts), per_picture).sum())

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The rows at `indices` (any order, repeats allowed), as a new array: patches uint8 (m,
        side, side, 3), or features float16 (m, views, ...). Each picture is decoded once."""
        indices = np.asarray(indices, np.int64)
        pictures = np.searchsorted(self.starts, indices, side="right") - 1
        places = self._first[pictures] + self._patch[indices]
        if not self.is_cut:
            first = self.pictures.packs[0].array
            block = np.empty((len(indices), *first.shape[1:]), first.dtype)
            for part in np.unique(self._part[pictures]):
                (own,) = np.nonzero(self._part[pictures] == part)
                own = own[np.argsort(places[own], kind="stable")]
                block[own] = self.pictures.packs[part].array[places[own]]
            return block
        block = np.empty((len(indices), self.side, self.side, 3), np.uint8)
        order = np.argsort(pictures, kind="stable")
        bounds = np.flatnonzero(np.diff(pictures[order], prepend=-1))
        for own in np.split(order, bounds[1:]) if len(order) else []:
            picture = pictures[own[0]]
            boxes = self._parts[self._part[picture]].boxes[places[own]]
            block[own] = patches.cut(self.decoded(picture), boxes, self.side)
        return block

    def decoded(self, picture: int) -> np.ndarray:
        """A picture, uint8 (height, width, 3)."""
        arrays, number = self._parts[self._part[picture]], self._number[picture]
        assert arrays.encoded is not None and arrays.ends is not None
        start = arrays.ends[number - 1] if number else 0
        image = plain(arrays.encoded[start : arrays.ends[number]].tobytes())
        if image is None:
            path = self.pictures.packs[self._part[picture]].path
            raise damaged(path, f"its picture {number} cannot be decoded", "pack")
        return image

    def boxes(self, picture: int) -> np.ndarray:
        """Where the patches of a picture are, float32 (m, 4), in the order of its rows."""
        own = self._patch[self.starts[picture] : self.starts[picture + 1]]
        return self._parts[self._part[picture]].boxes[self._first[picture] + own]

    def _choose(self, pictures: np.ndarray, kept: Sequence[np.ndarray]) -> None:
        """Take these patches, numbered within each picture."""
        self.starts = np.concatenate([[0], np.cumsum([len(own) for own in kept])]).astype(np.int64)
        self._patch = np.concatenate([np.empty(0, np.int64), *kept])
        labels = [
            self._parts[self._part[picture]].labels[self._first[picture] + own]
            for picture, own in zip(pictures, kept, strict=True)
        ]
        self.labels = np.concatenate([np.empty(0, np.int16), *labels]).astype(np.int64)


def open_patches(paths: Sequence[str | Path]) -> PatchRows:
    """The patches of the packs, or of the files of features, of several parts."""
    return PatchRows(open_parts(paths))


def _write_arrays(
    file: h5py.File, starts: np.ndarray, labels: np.ndarray, boxes: np.ndarray, side: int
) -> None:
    hdf5.write(file, "starts", np.asarray(starts, np.int64))
    hdf5.write(file, "patch_labels", np.asarray(labels, np.int16))
    hdf5.write(file, "boxes", np.asarray(boxes, np.float32))
    file.attrs["patch_side"] = side
