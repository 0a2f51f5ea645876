"""IMDB-WIKI: faces from IMDb or Wikipedia, with a MATLAB file of dates, names, sex and scores.

Rothe, Timofte and Van Gool, "DEX: Deep EXpectation of apparent age from a single image", ICCV
Workshops 2015. `imdb_crop.tar` holds `imdb_crop/imdb.mat` and the pictures beside it
(`wiki_crop.tar` likewise). The file holds a 1 x 1 struct `imdb` or `wiki`, whose fields are
1 x n: `dob` (MATLAB datenum), `photo_taken` (year), `full_path`, `gender` (0 female, 1 male,
NaN unknown), `name`, `face_location` ([x1 y1 x2 y2] in the picture before it was cropped, from
1), `face_score` (-Inf: no face found) and `second_face_score` (NaN: no second face); for `imdb`
also `celeb_names` and `celeb_id`.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io

from graft.core.errors import GraftError
from graft.datasets.table import Candidate, format_box
from graft.download.archives import Archive, check_name, members

LABELS = ("sex", "age_group")
DATABASES = ("imdb", "wiki")
SEXES = {0.0: "female", 1.0: "male"}
FIELDS = (
    "dob",
    "photo_taken",
    "full_path",
    "gender",
    "name",
    "face_location",
    "face_score",
    "second_face_score",
)


def rows(
    archives: Mapping[str, Path],
    *,
    label: str,
    min_face_score: float = 1.0,
    max_second_face_score: float | None = None,
    min_age: int = 0,
    max_age: int = 100,
    crop_margin: float | None = 0.4,
    age_groups: Sequence[int] = (20, 30, 40, 50, 60),
) -> Iterator[Candidate]:
    """Yield the pictures in the order of the MATLAB file, which may also lie beside the tar.

    The first of these that holds drops a picture: its face score is below `min_face_score` or
    not finite (`low_face_score`); a second face was found, with a score above
    `max_second_face_score` if that is given (`second_face`); the age is not within `min_age` to
    `max_age` (`bad_age`); with label `sex`, the sex is unknown (`no_label`). The group is the
    person: the celeb_id in `imdb`, the name in `wiki`, the picture itself where there is none.

    With label `age_group` the classes are the spans of years that begin at `min_age` and at each
    age in `age_groups` and end before the next, the last with `max_age`: 00-19, 20-29, ...

    `crop_margin` is the border around the face that the crops were published with, as a share
    of the face's size; None if the pictures are whole, so that `face_location` holds as it is.
    With the MATLAB file alone, for a look at the metadata, the archive of the candidates is the
    tar that would hold them.

    Raises GraftError for another label, for archives without the MATLAB file, and for a file
    that is not of the format.
    """
    if label not in LABELS:
        raise GraftError(
            f"config: the layout imdb_wiki offers the labels {' and '.join(LABELS)}, not "
            f"{label!r}; change the dataset's `label`."
        )
    spans = _spans(min_age, max_age, age_groups) if label == "age_group" else None
    archive, table = _load(archives)
    ages = age(table.dob, table.photo_taken)
    # Written so that NaN counts as a low score and as a bad age.
    low = ~((table.face_score >= min_face_score) & np.isfinite(table.face_score))
    second = np.isfinite(table.second_face_score)
    if max_second_face_score is not None:
        second &= table.second_face_score > max_second_face_score
    bad_age = ~((ages >= min_age) & (ages <= max_age))
    if spans is None:
        labels = [SEXES.get(gender, "") for gender in table.gender.tolist()]
    else:
        places = np.searchsorted([first for first, _ in spans], ages, side="right") - 1
        labels = [
            "" if bad else f"{spans[place][0]:02d}-{spans[place][1]:02d}"
            for place, bad in zip(places.tolist(), bad_age.tolist(), strict=True)
        ]
    unknown = np.array([label == "" for label in labels], dtype=bool)
    reasons = np.select(
        [low, second, bad_age, unknown],
        ["low_face_score", "second_face", "bad_age", "no_label"],
        default="",
    ).tolist()
    for i, reason in enumerate(reasons):
        yield Candidate(
            archive,
            check_name(archives.get(archive, archive), f"{table.folder}/{table.full_path[i]}"),
            label=labels[i],
            group=table.person[i] or table.full_path[i],
            box=_box(table.face_location[i], crop_margin) if not low[i] else "",
            drop_reason=reason,
        )


def age(dob: np.ndarray, photo_taken: np.ndarray) -> np.ndarray:
    """Age in years when the picture was taken, from a MATLAB datenum and a year.

    The day of the picture is unknown and taken to be the middle of its year: who is born in
    July or later has not had that year's birthday. Day 367 is 1 January of the year 1; what is
    before it counts as that day, so it gives an age far from any real one. float64 (n,), NaN
    where a date is not finite.
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
            f"config: options.age_groups {list(starts)} must rise, from above min_age ({min_age}) "
            f"to at most max_age ({max_age}); correct them."
        )
    return [(low, high - 1) for low, high in zip(edges, edges[1:], strict=False)]


class _Table(NamedTuple):
    """The metadata of n pictures: float64 (n,) arrays and lists of n strings."""

    folder: str
    dob: np.ndarray
    photo_taken: np.ndarray
    gender: np.ndarray
    face_score: np.ndarray
    second_face_score: np.ndarray
    face_location: list[np.ndarray]
    full_path: list[str]
    person: list[str]


def _load(archives: Mapping[str, Path]) -> tuple[str, _Table]:
    """The name of the archive that holds the pictures, and the metadata."""
    tars = [name for name in archives if name.endswith(".tar")]
    loose = [name for name in archives if name.endswith(".mat")]
    if len(tars) > 1 or len(loose) > 1 or not tars + loose:
        raise GraftError(
            "config: the layout imdb_wiki reads one tar archive and at most one .mat file, but the "
            f"dataset's `files` list {', '.join(tars + loose) or 'none'}; correct them."
        )
    if loose:
        path = Path(archives[loose[0]])
        try:
            table = _parse(str(path), path.read_bytes())
        except OSError as error:
            raise GraftError(
                f"{path}: cannot be read ({error.strerror}); fetch it again."
            ) from error
    else:
        path = Path(archives[tars[0]])
        member, data = _metadata(path)
        table = _parse(f"{path}: {member}", data)
    return (tars[0] if tars else f"{table.folder}.tar"), table


def _metadata(path: Path) -> tuple[str, bytes]:
    """The name and bytes of the MATLAB file in an archive."""
    names = [f"{database}_crop/{database}.mat" for database in DATABASES]
    with closing(members(path)) as walk, Archive(path) as archive:
        for name, offset, size in walk:
            if name in names:
                return name, archive.read(offset, size)
    raise GraftError(
        f"{path}: holds neither {' nor '.join(names)}, as the layout imdb_wiki does; fetch it "
        "again, or choose another `layout`."
    )


def _parse(source: str, data: bytes) -> _Table:
    """Read a MATLAB v5 file; `source` names it in errors."""
    try:
        content = scipy.io.loadmat(io.BytesIO(data), variable_names=DATABASES)
    except Exception as error:  # scipy raises whatever the damage leads to
        raise GraftError(
            f"{source}: not a readable MATLAB v5 file ({error}); fetch it again."
        ) from error
    database = next((name for name in DATABASES if name in content), None)
    if database is None or not content[database].dtype.names or content[database].size != 1:
        raise GraftError(
            f"{source}: holds no struct named {' or '.join(DATABASES)}; fetch it again, or choose "
            "another `layout`."
        )
    record = content[database].reshape(-1)[0]
    fields = (*FIELDS, "celeb_id") if database == "imdb" else FIELDS
    missing = [name for name in fields if name not in content[database].dtype.names]
    if missing:
        raise GraftError(
            f"{source}: the struct {database} lacks {', '.join(missing)}; fetch it again, or "
            "choose another `layout`."
        )
    columns = {name: np.asarray(record[name]).reshape(-1) for name in fields}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1:
        raise GraftError(f"{source}: the fields of {database} differ in length; fetch it again.")
    return _table(source, database, columns)


def _table(source: str, database: str, columns: Mapping[str, np.ndarray]) -> _Table:
    paths = [_text(cell) for cell in columns["full_path"]]
    numbers = ("dob", "photo_taken", "gender", "face_score", "second_face_score")
    try:
        values = {name: columns[name].astype(np.float64) for name in numbers}
        boxes = [np.asarray(box, np.float64).reshape(-1) for box in columns["face_location"]]
        if database == "imdb":
            ids = columns["celeb_id"].astype(np.float64)
            person = [f"{number:.0f}" if np.isfinite(number) else "" for number in ids]
        else:
            # A name is only compared with others: what is not Unicode in it may be replaced.
            person = [_text(cell).encode(errors="replace").decode() for cell in columns["name"]]
    except (TypeError, ValueError) as error:
        raise GraftError(
            f"{source}: a field of {database} does not hold numbers ({error}); fetch it again."
        ) from error
    return _Table(
        folder=f"{database}_crop",
        face_location=boxes,
        full_path=paths,
        person=person,
        **values,
    )


def _text(cell) -> str:
    """The string in a MATLAB cell: an array of one string, or an empty array."""
    parts = np.asarray(cell).reshape(-1)
    return str(parts[0]).strip() if parts.size else ""


def _box(edges: np.ndarray, margin: float | None) -> str:
    """The face's box in the published picture, from 0; "" for a location that is not a box.

    The publishers cut the face out with a border of `margin` times its size on every side,
    beginning at a whole pixel, and continue the last pixel where the picture ends; so where the
    face lies in the crop does not depend on where it lay in the picture.
    """
    if edges.size != 4 or not np.isfinite(edges).all() or (edges[2:] <= edges[:2]).any():
        return ""
    if margin is None:
        start = np.array([1.0, 1.0])
    else:
        start = np.round(edges[:2] - margin * (edges[2:] - edges[:2] + 1))
    return format_box(*(edges - np.tile(start, 2)))
