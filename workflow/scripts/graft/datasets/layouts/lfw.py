"""Labeled Faces in the Wild: `<root>/<Name>/<Name>_0001.jpg` in one tar.

Huang et al., "Labeled Faces in the Wild", University of Massachusetts, Amherst, Technical Report
07-49, 2007. The directory names the person; for the label `sex` there are two lists of file names,
`female_names.txt` and `male_names.txt`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from graft.core.errors import GraftError, unreadable
from graft.datasets.samples import LAYOUTS, wrong_files
from graft.datasets.table import Candidate, format_box
from graft.download.archives import by_name, normal

LISTS = {"female": "female_names.txt", "male": "male_names.txt"}
_PICTURE = re.compile(r"[^/]+/(?P<name>[^/]+)/(?P=name)_\d{4}\.jpe?g", re.IGNORECASE)
_JPEG = (".jpg", ".jpeg")
_OTHER = (".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")


@LAYOUTS.register("lfw")
def rows(
    archives: Mapping[str, Path], *, label: str, min_pictures: int, box: Sequence[float] | None
) -> Iterator[Candidate]:
    """The pictures in archive order; other files are skipped.

    Pictures of other formats than JPEG, which LFW does not have, are dropped (`not_jpeg`).

    With label `identity` the label is the name, and each picture is a group of its own, because
    every class must be in every split; names with fewer than `min_pictures` are dropped
    (`too_few_pictures`). With label `sex` the group is the name. A picture in both lists is dropped
    (`ambiguous_label`), and so are all pictures of a person with pictures of both sexes in the
    archive; a picture in neither list is dropped (`no_label`).

    `box` is the place of the named person's face in every picture: LFW centred its pictures on that
    face, at 68, 68, 182, 182 of 250 pixels, and other people may be beside it.

    Raises GraftError for `files` other than one tar (and the two lists, for `sex`), and for a JPEG
    with another name.
    """
    tars = [name for name in archives if name.endswith(".tar")]
    if len(tars) != 1:
        raise wrong_files("lfw", "one tar archive", archives)
    pictures = _pictures(archives[tars[0]])
    named = [(member, name) for member, name in pictures if name]
    if label == "identity":
        candidates = _by_identity(tars[0], named, min_pictures)
    else:
        lists = {sex: _names(archives, file) for sex, file in LISTS.items()}
        candidates = _by_sex(tars[0], named, lists)
    place = "" if box is None else format_box(*box)
    for candidate in candidates:
        yield candidate._replace(box=place)
    for member, name in pictures:
        if not name:
            yield Candidate(tars[0], member, drop_reason="not_jpeg")


def _by_identity(
    archive: str, pictures: list[tuple[str, str]], min_pictures: int
) -> Iterator[Candidate]:
    published = Counter(name for _, name in pictures)
    for member, name in pictures:
        reason = "too_few_pictures" if published[name] < min_pictures else ""
        yield Candidate(archive, member, label=name, drop_reason=reason)


def _by_sex(
    archive: str, pictures: list[tuple[str, str]], lists: Mapping[str, set[str]]
) -> Iterator[Candidate]:
    sexes = {
        member: [sex for sex in LISTS if member.rpartition("/")[2] in lists[sex]]
        for member, _ in pictures
    }
    of_person = defaultdict(set)
    for member, name in pictures:
        if len(sexes[member]) == 1:
            of_person[name].update(sexes[member])
    for member, name in pictures:
        if len(sexes[member]) > 1 or len(of_person[name]) > 1:
            yield Candidate(archive, member, group=name, drop_reason="ambiguous_label")
        elif not sexes[member]:
            yield Candidate(archive, member, group=name, drop_reason="no_label")
        else:
            yield Candidate(archive, member, label=sexes[member][0], group=name)


def _pictures(path: Path) -> list[tuple[str, str]]:
    """(member, name of the person) of every picture; the name is "" if it is no JPEG."""
    pictures = []
    for member in by_name(path).values():
        if member.name.lower().endswith(_OTHER):
            pictures.append((member.name, ""))
        elif member.name.lower().endswith(_JPEG):
            match = _PICTURE.fullmatch(member.name)
            if match is None:
                raise GraftError(
                    f"{path}: {member.name!r} is not named <root>/<Name>/<Name>_0001.jpg. Rename "
                    "it, or choose another layout than lfw."
                )
            pictures.append((member.name, match["name"]))
    return pictures


def _names(archives: Mapping[str, Path], file: str) -> set[str]:
    """The file names in a list, one a line, as `archives.normal` writes them."""
    if file not in archives:
        raise wrong_files("lfw", f"one tar archive and, for the label sex, {file}", archives)
    try:
        lines = Path(archives[file]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(archives[file], error) from error
    return {normal(line.strip()) for line in lines if line.strip()}
