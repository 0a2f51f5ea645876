"""Packing: from crops to model-ready pictures with encoded labels (see `packs`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
import pandas as pd

from graft.config.patches import Patches
from graft.core import hdf5
from graft.core.errors import damaged
from graft.core.files import JsonValue
from graft.datasets.label_sets import names
from graft.images import patch_rows
from graft.images.align import shrink
from graft.images.packs import LEFT_OUT, class_counts, write_labels
from graft.images.patch_rows import Regions

CHUNK = 256


class Counts(TypedDict):
    """Numbers of pictures, in all and by class (one of several classes counts for each)."""

    rows: int
    classes: dict[str, int]


def write(
    crops: Path,
    destination: Path,
    *,
    kept: int,
    packed_size: int,
    classes: Sequence[str],
    multi: bool = False,
    patches: Patches | None = None,
    regions: pd.DataFrame | None = None,
    grayscale: bool = False,
    equalize: bool = False,
    recipe: JsonValue,
) -> Counts:
    """Write the pack of a part's crops; each picture is prepared by `prepare`.

    kept: the number of crops that the crop stage counted. multi: whether a label holds any number
    of classes (see `label_sets`). regions: where objects are, as `datasets.regions.read` returns
    them; a class of which a picture shows only difficult ones is LEFT_OUT. patches: with them, the
    pictures and their patches are written too.

    Raises GraftError for a damaged or incomplete file of crops and for a label that is not in
    `classes`.
    """
    with hdf5.open(crops, "crop") as source:
        pictures = hdf5.memmap(source["images"], "crop")
        listed = hdf5.read_strings(source, "label").tolist()
        sample_ids = hdf5.read_strings(source, "sample_id").tolist()
        groups = hdf5.read_strings(source, "group").tolist()
    if len(listed) != kept:
        raise damaged(crops, f"it has {len(listed)} of the {kept} crops that were kept", "crop")
    named = [names(label) if multi else [label] for label in listed]
    if unknown := sorted({name for held in named for name in held} - set(classes)):
        problem = f"the label {unknown[0]!r} is none of the {len(classes)} classes in data_file.csv"
        raise damaged(crops, problem, "structure")
    labels = encode(named, classes, multi=multi)
    places = None
    if regions is not None:
        places = Regions(regions, sample_ids, classes)
        labels[places.only_difficult(len(classes)) & (labels == 1)] = LEFT_OUT
    shape = (len(pictures), packed_size, packed_size, 1 if grayscale else 3)
    with hdf5.create(destination, recipe) as file:
        images = hdf5.contiguous(file, "images", shape, np.uint8)
        for start in range(0, len(pictures), CHUNK):
            chunk = [
                prepare(picture, packed_size, grayscale=grayscale, equalize=equalize)
                for picture in pictures[start : start + CHUNK]
            ]
            images[start : start + CHUNK] = np.stack(chunk)
        write_labels(file, labels, sample_ids, groups, classes)
        if patches is not None and places is not None:
            with hdf5.open(crops, "crop") as source:
                side = patches.side or packed_size
                patch_rows.write(file, source, patches, places, classes=len(classes), side=side)
    counts = {name: int(n) for name, n in zip(classes, class_counts(labels, classes), strict=True)}
    return {"rows": len(labels), "classes": counts}


def encode(named: Sequence[Sequence[str]], classes: Sequence[str], *, multi: bool) -> np.ndarray:
    """Labels as a pack holds them, from the names of each picture's classes, which are in
    `classes`; without `multi` each picture has one."""
    codes = {label: code for code, label in enumerate(classes)}
    if not multi:
        return np.array([codes[name] for (name,) in named], np.int64)
    labels = np.zeros((len(named), len(classes)), np.uint8)
    for row, held in enumerate(named):
        labels[row, [codes[name] for name in held]] = 1
    return labels


def prepare(
    image: np.ndarray, size: int, *, grayscale: bool = False, equalize: bool = False
) -> np.ndarray:
    """Prepare a picture: uint8 (h, w, 3) RGB to uint8 (size, size, 1 if grayscale else 3).

    The steps are, in this order:
    - grayscale: the luma of ITU-R BT.601. One channel is stored; readers repeat it.
    - resize: bicubic. A picture at least twice too large is first shrunk by a whole number to the
      means of blocks of pixels, which prevents aliasing.
    - equalize: histogram equalisation, of a colour picture's luma only (YCrCb), because equalising
      red, green and blue separately would shift the hues.
    """
    if grayscale:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    factor = min(image.shape[:2]) // size
    if factor > 1:
        image = shrink(image, factor)
    if image.shape[:2] != (size, size):
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
    if equalize and grayscale:
        image = cv2.equalizeHist(image)
    elif equalize:
        luma, *chroma = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb))
        equalized = cv2.merge([cv2.equalizeHist(luma), *chroma])
        image = cv2.cvtColor(equalized, cv2.COLOR_YCrCb2RGB)
    return image.reshape(size, size, -1)
