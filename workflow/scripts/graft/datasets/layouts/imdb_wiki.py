"""IMDB-WIKI: faces from IMDb or Wikipedia, with a MATLAB file of dates, names, sex and scores.

Rothe, Timofte and Van Gool, "DEX: Deep EXpectation of apparent age from a single image", ICCV
Workshops 2015. `imdb_crop.tar` holds `imdb_crop/imdb.mat` and the pictures beside it
(`wiki_crop.tar` likewise). The file holds a 1 x 1 struct `imdb` or `wiki`, whose fields are 1 x n:
`dob` (MATLAB datenum), `photo_taken` (year), `full_path`, `gender` (0 female, 1 male, NaN unknown),
`name`, `face_location` ([x1 y1 x2 y2] in the picture before it was cropped, from 1), `face_score`
(-Inf: no face) and `second_face_score` (NaN: no second face); for `imdb` also `celeb_names` and
`celeb_id`.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.io

from graft.core.errors import GraftError, unreadable
from graft.datasets.samples import LAYOUTS, wrong_files
from graft.datasets.table import Candidate, format_box
from graft.download.archives import Archive, check_name, members

DATABASES = ("imdb", "wiki")
SEXES = {0.0: "female", 1.0: "male"}
NUMBERS = ("dob", "photo_taken", "gender", "face_score", "second_face_score")


@LAYOUTS.register("imdb_wiki")
def rows(
    archives: Mapping[str, Path],
    *,
    label: str,
    min_face_score: float,
    max_second_face_score: float | None,
    min_age: int,
    max_age: int,
    crop_margin: float | None,
    age_groups: Sequence[int],
) -> Iterator[Candidate]:
    """The pictures in the order of the MATLAB file, which may also be beside the tar.

    The first of these that holds drops a picture: its face score is below `min_face_score` or not
    finite (`low_face_score`); it has a second face, with a score above `max_second_face_score` if
    that is given (`second_face`); the age is not within `min_age` to `max_age` (`bad_age`); with
    label `sex`, the sex is unknown (`no_label`). The group is the person: the celeb_id in `imdb`,
    the name in `wiki`, the picture itself where there is none.

    With label `age_group` the classes are the spans of years that begin at `min_age` and at each
    age in `age_groups` and end before the next, the last with `max_age`: 00-19, 20-29, ...

    `crop_margin` is the border around the face that the crops were published with, as a share of
    the face's size; None if the pictures are whole, so that `face_location` is a place in them.
    With the MATLAB file alone (for the metadata) the candidates' archive is the tar that would hold
    them.

    Raises GraftError for archives without the MATLAB file, for one that is not of the format, and
    for age groups that do not rise.
    """
    spans = _spans(min_age, max_age, age_groups) if label == "age_group" else None
    archive, folder, table = _load(archives)
    ages = age(table["dob"].to_numpy(), table["photo_taken"].to_numpy())
    score, second_score = table["face_score"], table["second_face_score"]
    # Written so that NaN counts as a low score and as a bad age.
    low = ~((score >= min_face_score) & np.isfinite(score))
    second = np.isfinite(second_score)
    if max_second_face_score is not None:
        second &= second_score > max_second_face_score
    bad_age = ~((ages >= min_age) & (ages <= max_age))
    if spans is None:
        labels = [SEXES.get(gender, "") for gender in table["gender"]]
    else:
        places = np.searchsorted([first for first, _ in spans], ages, side="right") - 1
        labels = [
            "" if bad else "{:02d}-{:02d}".format(*spans[place])
            for place, bad in zip(places.tolist(), bad_age.tolist(), strict=True)
        ]
    unknown = np.array([label == "" for label in labels], dtype=bool)
    reasons = np.select(
        [low, second, bad_age, unknown],
        ["low_face_score", "second_face", "bad_age", "no_label"],
        default="",
    ).tolist()
    columns = [table[name].tolist() for name in ("full_path", "person", "face_location")]
    for name, reason, file, person, face in zip(labels, reasons, *columns, strict=True):
        yield Candidate(
            archive,
            check_name(archives.get(archive, archive), f"{folder}/{file}"),
            label=name,
            group=person,
            box="" if reason == "low_face_score" else _box(face, crop_margin),
            drop_reason=reason,
        )


def age(dob: np.ndarray, photo_taken: np.ndarray) -> np.ndarray:
    """Age in years when the picture was taken, from a MATLAB datenum and a year.

    The day of the picture is unknown and taken to be the middle of its year: who is born in July or
    later has not had that year's birthday. Day 367 is 1 January of the year 1; earlier ones count
    as that day, which gives an age far from any real one. float64 (n,), NaN where a date is not
    finite.
    """
    known = np.isfinite(dob) & np.isfinite(photo_taken)
    days = np.where(known, np.clip(np.floor(dob), 367, 4_000_000), 367).astype(np.int64) - 367
    born = np.datetime64("0001-01-01", "D") + days
    year = born.astype("datetime64[Y]").astype(np.int64) + 1970
    month = born.astype("datetime64[M]").astype(np.int64) % 12 + 1
    return np.where(known, photo_taken - year - (month >= 7), np.nan)


def _spans(min_age: int, max_age: int, starts: Sequence[int]) -> list[tuple[int, int]]:
    """The spans of whole years, first and last, that `starts` divide the ages into."""
    edges = [min_age, *starts, max_age + 1]
    if any(low >= high for low, high in zip(edges, edges[1:], strict=False)):
        raise GraftError(
            f"config: options.age_groups is {list(starts)}. Let it rise, from above min_age "
            f"({min_age}) to at most max_age ({max_age})."
        )
    return [(low, high - 1) for low, high in zip(edges, edges[1:], strict=False)]


def _load(archives: Mapping[str, Path]) -> tuple[str, str, pd.DataFrame]:
    """The archive of the pictures, their folder in it, and the metadata (see `_table`)."""
    tars = [name for name in archives if name.endswith(".tar")]
    loose = [name for name in archives if name.endswith(".mat")]
    if len(tars) > 1 or len(loose) > 1 or not tars + loose:
        raise wrong_files("imdb_wiki", "one tar archive and at most one .mat file", archives)
    source = archives[loose[0]] if loose else archives[tars[0]]
    file = source if loose else io.BytesIO(_metadata(source))
    try:
        content = scipy.io.loadmat(file, appendmat=False, variable_names=DATABASES)
    except Exception as error:  # scipy raises errors of many classes for damaged files
        raise unreadable(source, ValueError(f"MATLAB v5: {error}")) from error
    try:
        folder, table = _table(content)
    except ValueError as error:
        raise unreadable(source, error) from error
    return (tars[0] if tars else f"{folder}.tar"), folder, table


def _metadata(path: Path) -> bytes:
    """The bytes of the MATLAB file in an archive."""
    names = [f"{database}_crop/{database}.mat" for database in DATABASES]
    found = [member for member in members(path) if member.name in names]
    if not found:
        raise GraftError(
            f"{path}: it holds neither {' nor '.join(names)}. Fetch it again, or choose another "
            "layout than imdb_wiki."
        )
    with Archive(path) as archive:  # of several the last, as tar unpacks them
        return archive.read(found[-1].offset, found[-1].size)


def _table(content: Mapping[str, np.ndarray]) -> tuple[str, pd.DataFrame]:
    """The pictures' folder, and one row for each: NUMBERS as float64, `full_path`, `person` ("" if
    unknown), and `face_location` as float64 arrays. ValueError for another struct."""
    database = next((name for name in DATABASES if name in content), "")
    names = content[database].dtype.names if database else None
    if not names or content[database].size != 1:
        raise ValueError(f"it holds no struct named {' or '.join(DATABASES)}")
    person = "celeb_id" if database == "imdb" else "name"
    fields = dict.fromkeys((*NUMBERS, "full_path", "face_location", "name", person))
    missing = [name for name in fields if name not in names]
    if missing:
        raise ValueError(f"the struct {database} lacks {', '.join(missing)}")
    record = content[database].reshape(-1)[0]
    columns = {name: np.asarray(record[name]).reshape(-1) for name in fields}
    if len({len(column) for column in columns.values()}) != 1:
        raise ValueError(f"the fields of {database} differ in length")
    table = pd.DataFrame({name: _numbers(name, columns[name]) for name in NUMBERS})
    paths = [_text(cell) for cell in columns["full_path"]]
    boxes = [_numbers("face_location", box) for box in columns["face_location"]]
    table["full_path"] = pd.Series(paths, dtype=object)  # may not be Unicode
    table["face_location"] = pd.Series(boxes, dtype=object)
    if database == "imdb":
        ids = _numbers("celeb_id", columns["celeb_id"])
        table["person"] = [f"{number:.0f}" if np.isfinite(number) else "" for number in ids]
    else:
        # A name is only compared with others: what is not Unicode in it may be replaced.
        texts = map(_text, columns["name"])
        table["person"] = [text.encode(errors="replace").decode() for text in texts]
    return f"{database}_crop", table


def _numbers(field: str, values: object) -> np.ndarray:
    try:
        return np.asarray(values, np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the field {field} does not hold numbers ({error})") from error


def _text(cell: object) -> str:
    """The string in a MATLAB cell: an array of one string, or an empty array."""
    parts = np.asarray(cell).reshape(-1)
    return str(parts[0]).strip() if parts.size else ""


def _box(edges: np.ndarray, margin: float | None) -> str:
    """The face's box in the published picture, from 0; "" for a location that is not a box.

    The publishers cut the face out with a border of `margin` times its size on every side,
    beginning at a whole pixel, and repeat the last pixel where the picture ends; so the place of
    the face in the crop does not depend on its place in the picture.
    """
    if edges.size != 4 or not np.isfinite(edges).all() or (edges[2:] <= edges[:2]).any():
        return ""
    if margin is None:
        start = np.array([1.0, 1.0])
    else:
        start = np.round(edges[:2] - margin * (edges[2:] - edges[:2] + 1))
    return format_box(*(edges - np.tile(start, 2)))
