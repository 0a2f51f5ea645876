"""Labeled Faces in the Wild: `<root>/<Name>/<Name>_0001.jpg` in one tar.

Huang et al., "Labeled Faces in the Wild", University of Massachusetts, Amherst, Technical
Report 07-49, 2007. The directory says who is on the picture; for `sex` two lists of file
names, `female_names.txt` and `male_names.txt`, say it in addition.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from graft.core.errors import GraftError
from graft.datasets.table import Candidate, format_box
from graft.download.archives import members

LABELS = ("identity", "sex")
LISTS = {"female": "female_names.txt", "male": "male_names.txt"}
_PICTURE = re.compile(r"[^/]+/(?P<name>[^/]+)/(?P=name)_\d{4}\.jpe?g", re.IGNORECASE)
_JPEG = (".jpg", ".jpeg")
_OTHER = (".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def rows(
    archives: Mapping[str, Path],
    *,
    label: str,
    min_pictures: int = 2,
    box: Sequence[float] | None = None,
) -> Iterator[Candidate]:
    """Yield the pictures in archive order; files that are no pictures are passed over.

    Pictures of other formats than JPEG, which LFW does not have, are dropped as `not_jpeg`.

    With label `identity` a picture's label is the name, and each picture is a group of its own,
    because every class must stand in every split; names with fewer than `min_pictures` are
    dropped (`too_few_pictures`). With label `sex` the label is female or male and the group is
    the name. A picture that both lists name is dropped as `ambiguous_label`, as are all
    pictures of a person whose pictures in the archive are not of one sex; one that neither
    names is dropped as `no_label`.

    `box` says where in every picture the named person's face is: LFW centred its pictures on
    that face, at 68, 68, 182, 182 of 250 pixels, and other people may stand beside it.

    Raises GraftError for another label, for `files` other than one tar (and the two lists, for
    `sex`), and for a .jpg that lies elsewhere than the layout says.
    """
    if label not in LABELS:
        raise GraftError(
            f"config: the layout lfw offers the labels {' and '.join(LABELS)}, not {label!r}; "
            "change the dataset's `label`."
        )
    archive = _archive(archives)
    pictures = _pictures(archives[archive])
    named = [(member, name) for member, name in pictures if name]
    if label == "identity":
        found = _by_identity(archive, named, min_pictures)
    else:
        listed = {sex: _names(archives, file) for sex, file in LISTS.items()}
        found = _by_sex(archive, named, listed)
    where = "" if box is None else format_box(*box)
    for candidate in found:
        candidate.box = where
        yield candidate
    for member, name in pictures:
        if not name:
            yield Candidate(archive, member, drop_reason="not_jpeg")


def _by_identity(
    archive: str, pictures: list[tuple[str, str]], min_pictures: int
) -> Iterator[Candidate]:
    published = Counter(name for _, name in pictures)
    for member, name in pictures:
        few = published[name] < min_pictures
        reason = "too_few_pictures" if few else ""
        yield Candidate(archive, member, label=name, group=member, drop_reason=reason)


def _by_sex(
    archive: str, pictures: list[tuple[str, str]], listed: Mapping[str, set[str]]
) -> Iterator[Candidate]:
    found = {
        member: [sex for sex in LISTS if member.rpartition("/")[2] in listed[sex]]
        for member, _ in pictures
    }
    of_person = defaultdict(set)
    for member, name in pictures:
        if len(found[member]) == 1:
            of_person[name].update(found[member])
    for member, name in pictures:
        sexes = found[member]
        if len(sexes) > 1 or len(of_person[name]) > 1:
            yield Candidate(archive, member, group=name, drop_reason="ambiguous_label")
        elif not sexes:
            yield Candidate(archive, member, group=name, drop_reason="no_label")
        else:
            yield Candidate(archive, member, label=sexes[0], group=name)


def _pictures(path: Path) -> list[tuple[str, str]]:
    """(member, name of the person) of every JPEG; the name is empty for other pictures."""
    pictures = []
    for member in members(path):
        if member.name.lower().endswith(_OTHER):
            pictures.append((member.name, ""))
        if not member.name.lower().endswith(_JPEG):
            continue
        match = _PICTURE.fullmatch(member.name)
        if match is None:
            raise GraftError(
                f"{path}: {member.name!r} is not named <root>/<Name>/<Name>_0001.jpg, as in the "
                "layout lfw; rename it or choose another `layout`."
            )
        pictures.append((member.name, match["name"]))
    return pictures


def _archive(archives: Mapping[str, Path]) -> str:
    tars = [name for name in archives if name.endswith(".tar")]
    if len(tars) != 1:
        raise GraftError(
            f"config: the layout lfw reads one tar archive, but the dataset's `files` list "
            f"{', '.join(tars) or 'none'}; correct them."
        )
    return tars[0]


def _names(archives: Mapping[str, Path], file: str) -> set[str]:
    """The file names in a list, one a line."""
    if file not in archives:
        raise GraftError(
            f"config: the layout lfw reads {file} for the label sex, but the dataset's `files` do "
            "not list it; add it."
        )
    try:
        lines = Path(archives[file]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GraftError(
            f"{archives[file]}: cannot be read as UTF-8 text ({error}); fetch it again."
        ) from error
    return {line.strip() for line in lines if line.strip()}
