"""Names that publishers give to splits: of folders, of files and in tables.

The words and separators are those of Hugging Face's `datasets` (its documentation, "File names and
splits"), and what else public sets have around them: `seg_train`, `training_set`, `TestImages`.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from graft.core.errors import GraftError, nearest

WORDS = (
    dict.fromkeys(("train", "training"), "train")
    | dict.fromkeys(("val", "valid", "validation", "dev"), "val")
    | dict.fromkeys(("test", "testing", "eval", "evaluation", "t10k"), "test")
)
"""`t10k` is MNIST's name of its test pictures."""

UNLABELLED = ("pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled")
"""Pictures published without classes, beside the splits."""

_FILLERS = (
    *("set", "data", "dataset", "image", "images", "img", "imgs", "picture", "pictures"),
    *("photo", "photos", "folder", "dir", "split", "files"),
)
_SEPARATORS = re.compile(r"[-_. ]+|(?<=[a-z])(?=[A-Z])")
_GLUED = re.compile(rf"({'|'.join((*WORDS, *UNLABELLED))})({'|'.join(_FILLERS)})")

Options = Mapping[str, Sequence[str] | None] | str | None
"""The option `splits` of a layout: the names of each split, or "none" for no published splits."""

Meaning = tuple[str, tuple[str, ...]]
"""The split that a name stands for ("" of UNLABELLED), and the words of its own that it has."""


def meaning(name: str) -> Meaning | None:
    """Of a name that has one word for a split, or None: `seg_train` is ("train", ("seg",)).

    Case, numbers at a word's end (`train2017`) and words for pictures and sets do not count.
    """
    words = []
    for written in _SEPARATORS.split(unicodedata.normalize("NFC", name)):
        word = written.lower()
        bare = word if word in WORDS else word.strip("0123456789")
        glued = _GLUED.fullmatch(bare)
        words.append(glued[1] if glued else bare)
    meant = [word for word in words if word in WORDS or word in UNLABELLED]
    if len(meant) != 1:
        return None
    rest = tuple(word for word in words if word and word not in (*meant, *_FILLERS))
    return WORDS.get(meant[0], ""), rest


def known_splits(names: Collection[str]) -> dict[str, str]:
    """The splits of names that belong together, as far as they are known; {} without a train.

    Those belong together that have the same words of their own: `seg_train` and `seg_test`, but
    not `steam_train` and `test_tube`; UNLABELLED ones without any go with all. Where both a test
    and an `eval` are there, and no other validation, the `eval` is the validation split.
    """
    known = by_words(names)
    trained = [words for words, splits in known.items() if "train" in splits.values()]
    if () in trained:
        trained = [()]
    if len(trained) != 1:
        return {}
    unlabelled = {name: split for name, split in known.get((), {}).items() if not split}
    splits = unlabelled | known[trained[0]]
    return {name: splits[name] for name in names if name in splits} | _validation(splits)


def by_words(names: Iterable[str]) -> dict[tuple[str, ...], dict[str, str]]:
    """The names that have a meaning by their own words, each with its split."""
    known: defaultdict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name in names:
        if (meant := meaning(name)) is not None:
            known[meant[1]][name] = meant[0]
    return dict(known)


def split(name: str, named: Mapping[str, str]) -> str:
    """The split of a cell of a table: `named` by the config, or else known; "" for "".

    Raises ValueError for a name that is neither.
    """
    if not name or name in named:
        return named.get(name, "")
    meant = meaning(name)
    if meant is None or not meant[0] or meant[1]:
        raise ValueError(f"has the split {name!r}, which is none of {', '.join(WORDS)}")
    return meant[0]


def named(options: Options) -> dict[str, str] | None:
    """The splits by the names that `options.splits` gives; None where it is left out."""
    if options is None or isinstance(options, str):
        return None if options is None else {}
    return {name: split for split, names in options.items() for name in names or ()}


def example(names: Iterable[str]) -> str:
    """`options.splits` as it could be, with the names that there are."""
    listed = list(names)
    splits = {name: meant[0] for name in listed if (meant := meaning(name))}
    chosen: dict[str, str] = {}
    for split in ("train", "test"):
        # One of this name, else one of no split's name, else any.
        left = [name for name in listed if name not in chosen.values()]
        left.sort(key=lambda name: (splits.get(name) != split, name in splits))
        chosen[split] = next(iter(left), "...")
    return f"{{{', '.join(f'{split}: {name}' for split, name in chosen.items())}}}"


def missing(name: str, known: Collection[str], source: object) -> GraftError:
    """A name in `options.splits` that is not there."""
    return GraftError(
        f"config: options.splits names {name!r}, which is not in {source}. {nearest(name, known)}"
    )


def _validation(splits: Mapping[str, str]) -> dict[str, str]:
    """`eval` names that are the validation split, because there is a test split besides."""
    evaluated = [n for n, s in splits.items() if s == "test" and "eval" in n.lower()]
    tested = [n for n, s in splits.items() if s == "test" and n not in evaluated]
    return dict.fromkeys(evaluated, "val") if tested and "val" not in splits.values() else {}
