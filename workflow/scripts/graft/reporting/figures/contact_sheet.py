"""The first crops of each part, with their labels."""

import math
import textwrap
from collections.abc import Sequence
from itertools import pairwise

import h5py
import numpy as np
from matplotlib.figure import Figure

from graft.core.errors import GraftError
from graft.reporting.figures.style import style
from graft.reporting.plots import FIGURES
from graft.reporting.results import Results

SHEET = 32
"""Crops on the sheet."""


@FIGURES.register("contact_sheet")
def draw(results: Results) -> Figure:
    """The first crops of parts of all splits."""
    pictures, labels = [], []
    files = results.samples.crop_files
    for path, share in zip(files, shares(len(files)), strict=True):
        if not share:
            continue
        with h5py.File(path) as file:
            pictures += list(file["images"][:share])
            labels += [label.decode() for label in file["label"][:share]]
    if not pictures:
        raise GraftError(
            f"{results.title}: no face was detected in any picture. Check crop and detector of "
            "the data set."
        )
    return contact_sheet(pictures, labels, title=results.title)


def shares(parts: int) -> list[int]:
    """How many crops of each part are on the sheet: as equal as they can be, SHEET in all."""
    ends = [-(-SHEET * part // parts) for part in range(parts + 1)]
    return [end - start for start, end in pairwise(ends)]


@style()
def contact_sheet(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    columns: int = 8,
    title: str = "",
) -> Figure:
    """Pictures (uint8 (height, width, 3) RGB or (height, width) grey) in rows of `columns`, each
    with its title below; a title may have several lines."""
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    wrapped = [
        "\n".join(textwrap.fill(line, 19) for line in str(text).split("\n")) for text in titles
    ]
    most = max((text.count("\n") + 1) if text else 0 for text in wrapped)
    cell, gap, head = 1.25, 0.08, 0.4 if title else 0.05  # inches
    below = 0.12 * most + (0.1 if most else 0.03)
    width = max(columns * (cell + gap) + gap, 0.09 * len(title) + 0.2)
    height = head + rows * (cell + below) + gap
    figure = Figure(figsize=(width, height))
    if title:
        figure.suptitle(title, x=gap / width, y=1 - 0.08 / height, ha="left", va="top", fontsize=11)
    for position, (picture, text) in enumerate(zip(images, wrapped, strict=True)):
        row, column = divmod(position, columns)
        left = gap + column * (cell + gap)
        top = head + row * (cell + below)
        axes = figure.add_axes(
            (left / width, 1 - (top + cell) / height, cell / width, cell / height)
        )
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axes.axis("off")
        axes.text(0.5, -0.04, text, transform=axes.transAxes, ha="center", va="top", fontsize=7.5)
    return figure
