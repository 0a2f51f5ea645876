"""Pascal VOC, of 2007 or another year: pictures, an annotation for each, and lists of the splits.

`annotations` describes the folders and the format. The lists are `train.txt`, `val.txt` and
`test.txt`; those with a class in front (also `train_val.txt`, since `train` is a class) say the
same as the annotations, and `trainval.txt` is two of them together.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from graft.core.errors import GraftError, nearest, unreadable
from graft.datasets import annotations
from graft.datasets.annotations import Place
from graft.datasets.label_sets import names
from graft.datasets.samples import LAYOUTS, wrong_files
from graft.datasets.splits import SPLITS
from graft.datasets.table import Candidate
from graft.download.archives import Archive, Member, by_name, check_name, is_picture

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
LISTS = tuple(f"{split}.txt" for split in SPLITS)
SHOWN = 5
"""How many broken annotations are named."""

Key = tuple[str, str]
"""A picture: the root of its kit, and its id."""


class _Found(NamedTuple):
    """An annotation, without the boxes: its label, or the sentence that says why it is broken."""

    archive: str
    member: str
    label: str
    broken: str = ""


@LAYOUTS.register("voc2007")
def rows(
    archives: Mapping[str, Path], *, label: str, classes: Collection[str] | None
) -> Iterator[Candidate]:
    """The pictures in the order of the lists: train, val, test; then those in no list.

    A picture's label is the classes of all its objects, sorted and joined by "|"; it is empty for a
    picture without objects. A picture without an annotation is dropped (`no_annotation`), as are
    those of a test split that is published without them; so is one whose annotation is not as
    `annotations.parse` reads it (`bad_annotation`), and one in no list (`not_listed`). The first
    broken annotations are printed, one sentence each.

    `classes` are the classes there are; None: CLASSES. The tars may be those of several years.

    Raises GraftError for `files` other than tars with lists, for two pictures or annotations of one
    name, for a listed picture of a class that there is not, and if all annotations are broken.
    """
    if not archives or not all(name.endswith(".tar") for name in archives):
        raise wrong_files("voc2007", "one or several tar archives", archives)
    kit = _Kit(archives)
    if not kit.lists:
        where = f"tars with {', '.join(LISTS)} in <root>/ImageSets/Main"
        raise wrong_files("voc2007", where, archives)
    listed = {key for keys in kit.lists.values() for key in keys}
    _check([kit.found[key] for key in kit.found if key in listed], classes or CLASSES, archives)
    for (archive, split), keys in kit.lists.items():
        for key in keys:
            where, member = kit.picture(key, archive)
            found = kit.found.get(key)
            if found is None:
                yield Candidate(where, member, drop_reason="no_annotation", split=split)
            elif found.broken:
                yield Candidate(where, member, drop_reason="bad_annotation", split=split)
            else:
                yield Candidate(where, member, label=found.label, split=split)
    for key in dict.fromkeys((*kit.pictures, *kit.found)):
        if key not in listed:
            archive = "" if key in kit.pictures else kit.found[key].archive
            yield Candidate(*kit.picture(key, archive), drop_reason="not_listed")


class _Kit:
    """What the archives hold: `lists` by archive and split, in the order of SPLITS; `pictures`,
    archive and member of each; and the annotations `found`."""

    def __init__(self, archives: Mapping[str, Path]):
        self.lists: dict[tuple[str, str], list[Key]] = {}
        self.pictures: dict[Key, tuple[str, str]] = {}
        self.found: dict[Key, _Found] = {}
        self._archives = archives
        for name, path in archives.items():
            with Archive(path) as archive:
                for member in by_name(path).values():
                    if place := annotations.place(member.name):
                        self._add(name, archive, member, place)
        self.lists = {
            k: self.lists[k] for k in sorted(self.lists, key=lambda k: SPLITS.index(k[1]))
        }

    def picture(self, key: Key, archive: str) -> tuple[str, str]:
        """The archive and the member of a picture; those it would have that there is not."""
        if key in self.pictures:
            return self.pictures[key]
        return archive, check_name(self._archives[archive], f"{key[0]}JPEGImages/{key[1]}.jpg")

    def _add(self, name: str, archive: Archive, member: Member, place: Place) -> None:
        key, path = (place.root, place.name), archive.path
        if place.folder == "JPEGImages" and is_picture(member.name):
            _once(self.pictures, key, path, member)
            self.pictures[key] = (name, member.name)
        elif place.folder == "Annotations" and place.suffix == "xml":
            _once(self.found, key, path, member)
            self.found[key] = _read(name, archive, member)
        elif place.folder == "ImageSets/Main" and f"{place.name}.{place.suffix}" in LISTS:
            ids = _ids(f"{path}: {member.name}", archive.read(member.offset, member.size))
            self.lists.setdefault((name, place.name), []).extend((place.root, i) for i in ids)


def _once(known: Mapping[Key, object], key: Key, path: Path, member: Member) -> None:
    if key in known:
        raise GraftError(
            f"{path}: {member.name!r} is there twice, or in another of the data set's `files` too. "
            "Leave one of them out."
        )


def _read(name: str, archive: Archive, member: Member) -> _Found:
    data = archive.read(member.offset, member.size)
    try:
        label = annotations.parse(data, f"{archive.path}: {member.name}").label
    except GraftError as error:
        return _Found(name, member.name, "", str(error))
    return _Found(name, member.name, label)


def _ids(source: str, data: bytes) -> list[str]:
    """The first word of each line that has one."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise unreadable(source, error) from error
    return [line.split()[0] for line in lines if line.strip()]


def _check(found: list[_Found], classes: Collection[str], archives: Mapping[str, Path]) -> None:
    broken = [item.broken for item in found if item.broken]
    if broken and len(broken) == len(found):
        raise GraftError(
            f"{broken[0]} All {len(broken)} annotations of listed pictures are broken: choose "
            "another layout than voc2007 if this is not its format."
        )
    for sentence in broken[:SHOWN]:
        print(f"warning: {sentence}")
    if len(broken) > SHOWN:
        print(f"warning: {len(broken) - SHOWN} more annotations cannot be used.")
    for item in found:
        for name in names(item.label):
            if name not in classes:
                raise GraftError(
                    f"{archives[item.archive]}: {item.member} has an object of the class {name!r}, "
                    f"which is none of the {len(classes)} known. {nearest(name, classes)} If the "
                    "classes are others, list them in `options.classes`."
                )
