"""Which folders of a collection of pictures are classes, and which are published splits.

    <root>/<class>/...                      pictures at any depth below the class
    <root>/{train,val,test}/<class>/...     splits, by the names that `split_names` knows

There may be no root, or several single folders inside one another (`PetImages/PetImages/<class>`),
and a split's folder may be repeated (`seg_train/seg_train/<class>`). Names of folders end with "/",
but for the top, which is "".
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from graft.core.errors import GraftError
from graft.datasets import split_names
from graft.datasets.split_names import Options

ALIKE = 0.5
"""From this share of common sub-folders on, of all that two folders have, they may be splits."""

SHOWN = 6
"""How many names a message has."""


class Tree:
    """The folders that have pictures in them or below: `below`, by folder, the names of the folders
    in it; `flat`, the folders with pictures of their own."""

    def __init__(self, pictures: Iterable[str]):
        self.below: dict[str, dict[str, None]] = {"": {}}
        self.flat: set[str] = set()
        for name in pictures:
            folder = ""
            *folders, _ = name.split("/")
            for inner in folders:
                self.below[folder][inner] = None
                folder += f"{inner}/"
                self.below.setdefault(folder, {})
            self.flat.add(folder)

    def single(self, folder: str) -> str | None:
        """The only folder in a folder, unless that has pictures of its own; strays at the top of
        everything do not count."""
        if len(self.below[folder]) == 1 and (folder == "" or folder not in self.flat):
            (name,) = self.below[folder]
            return f"{folder}{name}/"
        return None


class Place(NamedTuple):
    """A folder whose folders are classes, and the published split of its pictures, or ""."""

    folder: str
    split: str


class Classes(NamedTuple):
    """Where the classes are. Pictures in none of the places have the drop reason `otherwise`."""

    places: Sequence[Place]
    otherwise: str = "no_label"

    def of(self, name: str) -> tuple[str, str] | None:
        """The class and the split of a file or a folder, or None."""
        for folder, split in self.places:
            if name.startswith(folder):
                label, slash, _ = name[len(folder) :].partition("/")
                return (label, split) if slash else None
        return None

    def is_class(self, folder: str) -> bool:
        """Whether a folder is that of a class itself."""
        return any(
            folder.startswith(f) and folder.count("/") == f.count("/") + 1 for f, _ in self.places
        )


def classes(tree: Tree, source: object, options: Options = None) -> Classes:
    """Where the classes are; `options` is the layout's option `splits` (see `split_names.named`).

    Raises GraftError, which names `source`, for folders of which only some are named like splits,
    for ones that may be splits by what is in them, and for names that are not there.
    """
    top = _top(tree)
    given = split_names.named(options)
    if given:
        return Classes(_named(tree, top, given, source), "no_split")
    if given is None:
        splits = _known(tree, top, source)
        places = [Place(f"{top}{name}/", split) for name, split in splits.items() if split]
        if places:
            return Classes(_unrepeated(tree, places))
        _check_alike(tree, top, source)
    return Classes([Place(top, "")])


def _top(tree: Tree) -> str:
    """The folder of the classes or the splits."""
    top = folder = ""
    while (inner := tree.single(folder)) is not None and tree.below[inner]:
        if _is_train(inner) and not _known(tree, inner, ""):
            return folder  # the only split
        # Deeper than the root, a folder with one folder or with pictures of its own is a class.
        if folder == "" or (len(tree.below[inner]) > 1 and inner not in tree.flat):
            top = inner
        folder = inner
    return top


def _is_train(folder: str) -> bool:
    return split_names.meaning(_name(folder)) == ("train", ())


def _known(tree: Tree, top: str, source: object) -> dict[str, str]:
    """The folders in `top` by the split that they are named like; none if they are classes."""
    names = tree.below[top]
    splits = split_names.known_splits(names)
    kinds = {split for split in splits.values() if split}
    others = [name for name in names if name not in splits]
    if others and len(kinds) > 1:
        raise GraftError(
            f"{source}: the folder {others[0]} is beside the splits {', '.join(splits)}, "
            "which could be classes too. Move it, or rename them, or set options.splits to none or "
            f"to {split_names.example(names)}."
        )
    # Two folders of one split are rather two classes, or splits by another rule.
    several = len(kinds) == 1 < sum(map(bool, splits.values()))
    return {} if others or several else splits


def _unrepeated(tree: Tree, places: Sequence[Place]) -> list[Place]:
    """The places, or the folders in them where these only repeat a name or are single ones."""
    moved = [Place(_repeated(tree, folder), split) for folder, split in places]
    singles = [tree.single(folder) for folder, _ in moved]
    inner = [Place(s, place.split) for s, place in zip(singles, moved, strict=True) if s]
    alike = len(inner) == len(moved) and len({_name(folder) for folder, _ in inner}) == 1
    # A single folder with one folder or none in it is a class that the splits have alone.
    return inner if alike and all(len(tree.below[f]) > 1 for f, _ in inner) else moved


def _repeated(tree: Tree, folder: str) -> str:
    """The innermost of folders of one name, each alone in the one before."""
    inner = tree.single(folder)
    if inner is None or not _same(inner, folder) or not tree.below[inner]:
        return folder
    return _repeated(tree, inner)


def _named(tree: Tree, top: str, given: Mapping[str, str], source: object) -> list[Place]:
    places = []
    for name, split in given.items():
        path = f"{name.strip('/')}/"
        folder = next((f for f in (top + path, path) if f in tree.below), None)
        if folder is None:
            raise split_names.missing(name, tree.below[top], source)
        places.append(Place(folder, split))
    if "train" not in given.values():
        raise GraftError(
            f"config: options.splits names no train. Add it: {split_names.example(given)}."
        )
    places = [*_unrepeated(tree, places)]
    for place in places:
        if any(place.folder.startswith(o.folder) and place != o for o in places):
            raise GraftError(
                f"config: options.splits names {place.folder}, which lies in or is another of "
                "them. Name each folder once."
            )
    return places


def _check_alike(tree: Tree, top: str, source: object) -> None:
    """GraftError where all folders hold the same folders: they may be splits."""
    inner = [frozenset(map(str.casefold, tree.below[f"{top}{name}/"])) for name in tree.below[top]]
    if len(inner) < 2 or not all(_alike(inner[0], other) for other in inner[1:]):
        return
    common = sorted(frozenset.intersection(*inner))
    example = split_names.example(tree.below[top])
    raise GraftError(
        f"{source}: the folders {_listed(tree.below[top])} all hold folders of the same names "
        f"({_listed(common)}), so these may be the classes, and those splits. Set options.splits "
        f"to none if those are the classes, or to the splits: {example}."
    )


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    common = len(one & other)
    return common > 1 and common >= ALIKE * len(one | other)


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more


def _same(one: str, other: str) -> bool:
    return _name(one).casefold() == _name(other).casefold()


def _name(folder: str) -> str:
    return folder.rstrip("/").rpartition("/")[2]
