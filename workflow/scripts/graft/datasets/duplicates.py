"""Pictures that are there more than once: under two labels, or as near duplicates.

Two tables list them, each with its header alone where there are none (UTF-8, Unix newlines):

conflicts.csv, one row for each sample whose picture has another label elsewhere:

    picture      16 hex digits of the sha256 of its content, the same for all copies
    sample_id, label, group, archive, member, drop_reason   as in data_file.csv

near_duplicates.csv, one row for each sample whose picture is much like another one's:

    cluster      a number from 1, the same for all that are linked
    similarity   the highest with another picture (see `thumbnails`), 0.97 to 1; exact copies have
                 that of their picture
    sample_id, split, label, group, archive, member, drop_reason   as in data_file.csv

The contact sheet near_duplicates.png has a row for each of the first clusters, after its number.
"""

import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from graft.core.files import atomic
from graft.datasets.table import quoted
from graft.datasets.thumbnails import Near, Thumbnails

CONFLICTS = ("picture", "sample_id", "label", "group", "archive", "member", "drop_reason")
NEAR = (
    *("cluster", "similarity", "sample_id", "split", "label", "group", "archive", "member"),
    "drop_reason",
)

ROWS, COLUMNS = 200, 8
"""Clusters on the contact sheet, and pictures of each; the table has all."""

CELL, MARGIN = 96, 40
"""Side of a picture on the sheet, and the room for the cluster's number, in pixels."""


def conflicting(rows: pd.DataFrame) -> pd.Series:
    """Whether a row's picture (with the same `box`, where several faces are in it) is there under
    another label too: bool, by the rows' index."""
    return rows.groupby(["content", "box"])["label"].transform("nunique") > 1


def joined_groups(rows: pd.DataFrame) -> pd.Series:
    """The groups, where those that share a `cluster` (-1 for none) become one of the name that
    sorts first; not those that published splits divide."""
    clustered = rows["cluster"] >= 0
    codes, names = pd.factorize(rows["group"], sort=True)
    ends = codes[clustered], len(names) + rows["cluster"][clustered].to_numpy()
    nodes = len(names) + int(rows["cluster"].max()) + 1
    matrix = coo_matrix((np.ones(len(ends[0]), bool), ends), (nodes, nodes))
    _, numbers = connected_components(matrix, directed=False)
    component = pd.Series(numbers[codes], rows.index)
    published = rows["split"].where(rows["split"] != "")
    divided = published.groupby(component).transform("nunique") > 1
    first = rows["group"].groupby(component).transform("min")
    return rows["group"].where(divided, first)


def notices(
    conflicts: int, near: Near, rows: pd.DataFrame, across: int, *, drop: bool, grouped: bool
) -> list[str]:
    """Sentences on what was found; `rows` are the kept ones, with `cluster`, and `across` the
    number of training and validation samples with a near duplicate in a later split."""
    sentences = []
    if conflicts:
        done = "were dropped" if drop else "stay"
        sentences.append(
            f"{conflicts:,} samples, whose picture is there under another label too, {done} "
            "(conflicts.csv)."
        )
    if near.alike:
        sentences.append(
            f"{len(near.clusters):,} pictures are so alike, and few of them so much as copies are, "
            "that it may be their nature: no split follows from it (near_duplicates.csv)."
        )
    if across and not grouped:
        sentences.append(
            f"{across:,} training or validation samples stay that are near duplicates of "
            "samples to be tested or validated on (near_duplicates.csv)."
        )
    clustered = rows[rows["cluster"] >= 0]
    mixed = clustered.groupby("cluster")["label"].transform("nunique") > 1
    if mixed.any() and not near.alike:
        sentences.append(
            f"{int(mixed.sum()):,} samples are near duplicates of samples of other classes "
            "(near_duplicates.csv)."
        )
    return sentences


def write_conflicts(path: str | os.PathLike, rows: pd.DataFrame) -> None:
    """conflicts.csv; `rows` have `content`, and those of data_file.csv."""
    listed = rows.assign(picture=[content.hex()[:16] for content in rows["content"]])
    _write(path, CONFLICTS, listed.sort_values(["picture", "archive", "member"]))


def write_near(path: str | os.PathLike, rows: pd.DataFrame) -> None:
    """near_duplicates.csv; `rows` have `cluster` from 0, and `similarity`."""
    listed = rows.assign(
        cluster=rows["cluster"] + 1, similarity=[f"{value:.4f}" for value in rows["similarity"]]
    )
    _write(path, NEAR, listed.sort_values(["cluster", "archive", "member"]))


def write_sheet(path: str | os.PathLike, rows: pd.DataFrame, thumbnails: Thumbnails) -> None:
    """The contact sheet: grey thumbnails, a row for each cluster; as large as it has to be."""
    shown = rows.sort_values(["archive", "member"]).drop_duplicates("content")
    clusters = [list(own)[:COLUMNS] for _, own in shown.groupby("cluster")["content"]][:ROWS]
    size = (MARGIN + CELL * max(map(len, clusters), default=0), CELL * max(1, len(clusters)))
    sheet = Image.new("L", size, 255)
    draw = ImageDraw.Draw(sheet)
    for row, contents in enumerate(clusters):
        draw.text((4, row * CELL + CELL // 2 - 6), str(row + 1), fill=0)
        for column, content in enumerate(contents):
            picture = Image.fromarray(thumbnails.picture(content))
            side = CELL - 2
            picture = picture.resize((side, side), Image.Resampling.BICUBIC)
            sheet.paste(picture, (MARGIN + column * CELL, row * CELL))
    with atomic(path) as temporary, open(temporary, "wb") as file:
        sheet.save(file, "PNG")


def _write(path: str | os.PathLike, columns: Sequence[str], rows: pd.DataFrame) -> None:
    cells = rows[list(columns)].astype("str")
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(",".join(columns) + "\n")
        file.writelines(
            ",".join(map(quoted, row)) + "\n" for row in cells.itertuples(index=False, name=None)
        )
