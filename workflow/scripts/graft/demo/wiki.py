"""Drawn portraits in the layout of WIKI (of IMDB-WIKI), with the defects of the real set."""

import io
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from scipy.io import savemat
from tqdm import tqdm

from graft.demo.archive import portrait_archive
from graft.demo.drawings import DRAWINGS
from graft.demo.identity import Identity, draw_identity
from graft.demo.names import invented_names
from graft.demo.portrait import Portrait, check_numbers, encode, render
from graft.demo.seeds import WIKI_ROWS, WIKI_SCORES, generator
from graft.demo.shot import Shot, draw_shot

DEFECTS = {
    "unknown_sex": 0.015,
    "no_face": 0.015,
    "second_face": 0.015,
    "low_score": 0.010,
    "bad_age": 0.010,
    "truncated": 0.005,
    "zero_byte": 0.0025,
    "duplicate": 0.005,
    "twice": 0.005,
}
"""Share of the people with each defect of the real set (at least one person each)."""

YEAR_ZERO = 366
"""The last MATLAB datenum of year 0: datenum = date.toordinal() + 366."""

FIELDS: dict[str, type] = {
    "dob": np.int32,
    "photo_taken": np.uint16,
    "full_path": object,
    "gender": np.float64,
    "name": object,
    "face_location": object,
    "face_score": np.float64,
    "second_face_score": np.float64,
}
"""The fields of the struct in the published order; `object` is a MATLAB cell."""


@dataclass(frozen=True)
class WikiRow:
    """One row of wiki.mat: what it records, and the person and the picture that are drawn."""

    name: str
    file_id: int
    dob: int
    taken: int
    person: int
    picture: int = 0
    defect: str = ""

    @property
    def full_path(self) -> str:
        if self.dob <= YEAR_ZERO:  # Python's calendar begins with year 1, MATLAB's with 0
            day = date(4, 1, 1) + timedelta(days=self.dob - 1)
            born = f"0-{day:%m-%d}"
        else:
            day = date.fromordinal(self.dob - YEAR_ZERO)
            born = f"{day.year}-{day:%m-%d}"
        return f"{self.file_id % 100:02d}/{self.file_id}_{born}_{self.taken}.jpg"


def plan_wiki(people: int, seed: int, defects: bool) -> list[WikiRow]:
    """The rows of wiki.mat: one per person, two for the people with the defect `twice`."""
    rng = generator(seed, WIKI_ROWS)
    rows = []
    for person, name in enumerate(invented_names(people, seed)):
        taken, age = int(rng.integers(1950, 2015)), int(rng.integers(16, 85))
        born = date(taken - age, 1, 1) + timedelta(days=int(rng.integers(365)))
        file_id = 100_000 + 137 * person + int(rng.integers(137))
        rows.append(WikiRow(name, file_id, born.toordinal() + YEAR_ZERO, taken, person))
    if not defects:
        return rows
    order = iter(rng.permutation(people).tolist())
    second: dict[int, WikiRow] = {}
    for defect, share in DEFECTS.items():
        for count in range(max(1, round(share * people))):
            index = next(order, None)
            if index is None:
                break
            row = replace(rows[index], defect=defect)
            if defect == "bad_age":
                row = spoil_age(row, count, rng)
            elif defect == "duplicate":
                other = next(order, None)
                if other is None:
                    break
                row = replace(row, person=rows[other].person)
            elif defect == "twice":
                second[index] = replace(row, taken=row.taken + int(rng.integers(1, 5)), picture=1)
            rows[index] = row
    return [row for i, first in enumerate(rows) for row in (first, second.get(i)) if row]


def spoil_age(row: WikiRow, count: int, rng: np.random.Generator) -> WikiRow:
    """Birth in year 0 (the first row), else in turn after the picture and a century too early."""
    if count == 0:
        return replace(row, dob=int(rng.integers(1, YEAR_ZERO + 1)))
    if count % 2:
        return replace(row, dob=row.dob + 366 * int(rng.integers(90, 100)))
    return replace(row, dob=row.dob - 366 * int(rng.integers(100, 140)))


@DRAWINGS.register("wiki")
def render_wiki(
    path: Path,
    *,
    people: int,
    seed: int,
    size: int = 160,
    defects: bool = True,
) -> None:
    """Write a tar as the WIKI half of IMDB-WIKI is published (https://data.vision.ee.ethz.ch/).

    `wiki_crop/NN/<id>_<birth>_<year>.jpg`, pictures of `size` by `size` pixels; then
    `wiki_crop/wiki.mat`, a MATLAB 5 struct `wiki` of row vectors dob (datenum), photo_taken (year),
    full_path, gender (1 male, 0 female, NaN unknown), name, face_location (x1 y1 x2 y2 from 1),
    face_score and second_face_score (NaN: none); last `wiki_crop/landmarks.csv`, the ground truth
    (see `archive`).

    With `defects`, the shares DEFECTS of the people (at least one person each, while there are
    people left) have what the real set has: unknown sex, no face (score -Inf, background only), a
    second face, a face score below 1, an impossible age (the first one is born in year 0, a
    datenum <= 366), a JPEG cut in half, an empty file, the bytes of another person's picture (of
    the same recorded sex), and two pictures of one person.
    Raises GraftError for people below 1, a size below MIN_SIZE and a seed below 0.
    """
    check_numbers(people=people, size=size, seed=seed)
    rows = plan_wiki(people, seed, defects)
    rng = generator(seed, WIKI_SCORES)
    records = []
    with portrait_archive(path, "wiki_crop", compressed=False) as archive:
        for row in tqdm(rows, desc="portraits", unit="picture", mininterval=1):
            identity = draw_identity(seed, row.person)
            shot = draw_shot(seed, row.person, row.picture)
            second = bystander(seed, people + row.person) if row.defect == "second_face" else None
            drawn = None if row.defect == "no_face" else identity
            portrait = render(drawn, shot, size, beside=second)
            data = encode(portrait, shot)
            keep = {"truncated": len(data) // 2, "zero_byte": 0}.get(row.defect, len(data))
            archive.add_portrait(row.full_path, data[:keep], identity.sex, portrait.landmarks)
            records.append(record(row, identity, portrait, rng))
        archive.add("wiki.mat", wiki_mat(records))


def bystander(seed: int, person: int) -> tuple[Identity, Shot]:
    """A smaller person at the left or right edge of the picture."""
    shot = draw_shot(seed, person, 0)
    side = 0.36 if shot.x > 0 else -0.36
    return draw_identity(seed, person), replace(shot, x=side, y=-0.1, scale=0.75 * shot.scale)


def record(
    row: WikiRow, identity: Identity, portrait: Portrait, rng: np.random.Generator
) -> dict[str, object]:
    """The values of FIELDS of one row; the scores are in the range of the real ones."""
    usual = np.clip(rng.normal(3.2, 1.2), 1.02, 7.0)
    low, other = rng.uniform((0.1, 0.8), (0.99, 4))
    scores = {"low_score": low, "no_face": -np.inf}
    genders = {"male": 1.0, "female": 0.0}
    location = (portrait.box + 1)[None]
    if row.defect == "no_face":  # the real set gives the whole picture, in MATLAB's smallest type
        side = portrait.image.shape[0]
        location = np.array([[1, 1, side, side]], dtype=np.min_scalar_type(side))
    return {
        "dob": row.dob,
        "photo_taken": row.taken,
        "full_path": row.full_path,
        "gender": np.nan if row.defect == "unknown_sex" else genders[identity.sex],
        "name": row.name,
        "face_location": location,
        "face_score": scores.get(row.defect, usual),
        "second_face_score": other if row.defect == "second_face" else np.nan,
    }


def wiki_mat(records: list[dict[str, object]]) -> bytes:
    """The struct `wiki` as a MATLAB 5 file, with a fixed date in the header."""
    struct = {}
    for field, dtype in FIELDS.items():
        column: np.ndarray = np.empty((1, len(records)), dtype=dtype)
        for index, row in enumerate(records):
            column[0, index] = row[field]
        struct[field] = column
    file = io.BytesIO()
    savemat(file, {"wiki": struct}, do_compression=True)
    data = file.getvalue()
    header = b"MATLAB 5.0 MAT-file, Platform: GLNXA64, Created on: Thu Jan  1 00:00:00 1970"
    return header.ljust(116) + data[116:]
