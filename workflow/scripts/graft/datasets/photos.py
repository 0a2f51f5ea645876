"""A first config for a folder of one's own photographs, one sub-folder for each class.

What it chooses suits a CPU: few epochs of small pictures. Every choice is a line of the file that
can be edited.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from graft.core.errors import GraftError
from graft.datasets import class_folders
from graft.datasets.class_folders import Tree
from graft.download.archives import is_picture
from graft.download.junk import junk

NAME = "my_photos"
SPLIT = {"train": 0.5, "val": 0.2, "test": 0.3}
"""Of few pictures many are needed to choose by and to be sure of a result."""

SIZES = (20, 50, 100, 200, 500, 1000)
"""Numbers of training samples to try, as far as there are clearly more."""

BUDGET = 1500
"""Pictures that a training passes over, roughly: minutes on two cores."""

EPOCHS = (4, 12)
FEW = 500
"""Training pictures below which batches are small."""
SIDE = 96


def count(folder: Path) -> Counter[str]:
    """Class -> number of its pictures, hidden ones left out.

    The classes are those that the layout `folder` will read (see `class_folders`); of folders that
    it will ask about, the top ones. Raises GraftError if it is no folder, or has fewer than two
    classes of two pictures or more.
    """
    if not folder.is_dir():
        raise GraftError(
            f"{folder}: there is no such folder. Give the one with your classes in it."
        )
    pictures: list[str] = []
    for place, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not (name.startswith(".") or junk(f"{name}/")))
        shown = (name for name in files if not (name.startswith(".") or junk(name)))
        pictures += [
            (Path(place).relative_to(folder) / name).as_posix()
            for name in shown
            if is_picture(name)
        ]
    tree = Tree(pictures)
    try:
        found = class_folders.classes(tree, folder)
    except GraftError:  # a question, which the config can answer once it is written
        found = class_folders.classes(tree, folder, "none")
    classes = Counter(label[0] for name in pictures if (label := found.of(name)))
    if len(classes) < 2:
        held = f"only {', '.join(classes)}" if classes else "none"
        raise GraftError(
            f"{folder}: it needs a sub-folder with pictures for each of two classes or more, and "
            f"has {held}. Sort the pictures into one folder per class."
        )
    for name, number in classes.items():
        if number < 2:
            raise GraftError(
                f"{folder}/{name}: one picture cannot be both learnt from and tested on. Add more, "
                "or move the folder away."
            )
    return classes


def config(
    folder: Path,
    classes: Mapping[str, int],
    *,
    weights: Path | None = None,
    architecture: str = "resnet18",
) -> str:
    """The overlay as YAML with comments; without `weights` torchvision's of the architecture."""
    train = int(SPLIT["train"] * sum(classes.values()))
    sizes = [size for size in SIZES if 2 * len(classes) <= size <= 0.6 * train]
    batch = 8 if train < FEW else 32
    epochs = max(EPOCHS[0], min(EPOCHS[1], BUDGET // max(1, train)))
    source, described = f"imagenet_{architecture}", ""
    if weights is not None:
        source = "my_weights"
        described = f"""
sources:
  my_weights:
    architecture: {architecture}
    weights: {{file: {json.dumps(str(weights))}}}
"""
    listed = ", ".join([*map(str, sizes), "all"])
    split = ", ".join(f"{name}: {share}" for name, share in SPLIT.items())
    return f"""\
# yaml-language-server: $schema=../workflow/schemas/config.schema.json
# {sum(classes.values()):,} photographs of {len(classes)} classes. Edit what you like; \
config/README.md has every key.
#
#   make run CONFIG=config/{NAME}.yaml

run: [{NAME}]

compute:
  reproducible: fast    # all that this CPU has; portable: the same bytes on every CPU

datasets:
  {NAME}:
    layout: folder
    files:
      {NAME}.tar: {{folder: {json.dumps(str(folder))}}}
    label: class
    # Several pictures of one person or thing belong into one split. If their names begin with
    # its name and an underscore:
    # options: {{group: "^([^_]+)_"}}
    crop: whole             # aligned_face: detect one face in each picture, and cut it out
    packed_size: {SIDE}         # pixels a side; 224 shows more and takes five times as long
    split: {{{split}, seed: 0}}
{described}
experiments:
  {NAME}:
    dataset: {NAME}
    source: {source}
    modes: [from_scratch, logistic_probe, feature_extraction, fine_tuning]
    seeds: [0, 1, 2]        # one seed is three times as fast, and shows no variation
    train_sizes: [{listed}]  # from how many labels on does what pay?
    # More epochs are better and slower, `auto` for a GPU; small batches, so that few pictures
    # give enough updates.
    train: {{epochs: {epochs}, batch_size: {batch}}}
"""
