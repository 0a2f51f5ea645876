"""MNIST and what is published like it: pictures and labels in pairs of IDX files.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998. The pictures `train-images-idx3-ubyte` and the labels
`train-labels-idx1-ubyte` are published for training, the pair `t10k-...` for the test, and those of
others as `split_names` knows them (`emnist-letters-train-...`). Pairs of other prefixes have no
published split. See `idx` for the format.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from graft.core.errors import GraftError, unreadable
from graft.datasets import idx, split_names
from graft.datasets.samples import LAYOUTS, wrong_files
from graft.datasets.split_names import Options, known_splits
from graft.datasets.table import Candidate

# Some mirrors have a dot for the last hyphen.
_FILE = re.compile(r"(.+)-(images(?=[-.]idx3)|labels(?=[-.]idx1))[-.]idx[13]-ubyte")


@LAYOUTS.register("mnist")
def rows(archives: Mapping[str, Path], *, label: str, splits: Options) -> Iterator[Candidate]:
    """The pictures in the order of the files, each a group of its own.

    The label is the picture's number in the file of labels, "0" to "9" in MNIST itself. `splits`
    names the pairs of each split; those of other pairs are dropped (`no_split`).

    Raises GraftError for `files` other than whole pairs, for pairs of which only some are named
    like splits, for a bad IDX file, and for a file of labels that does not have one for each
    picture.
    """
    pairs = _pairs(archives)
    published = _splits([prefix for prefix, _, _ in pairs], splits)
    for prefix, images, labels in pairs:
        count, _, _ = idx.shape(archives[images], 3)
        numbers = idx.labels(archives[labels]).tolist()
        if len(numbers) != count:
            problem = f"it has {len(numbers)} labels for the {count} pictures of {images}"
            raise unreadable(archives[labels], ValueError(problem))
        split = published[prefix]
        reason = "no_split" if split is None else ""
        for (name, _, _), number in zip(idx.members(archives[images]), numbers, strict=True):
            yield Candidate(images, name, str(number), split=split or "", drop_reason=reason)


def _splits(prefixes: Sequence[str], options: Options) -> dict[str, str | None]:
    """The split of each pair, "" of one without a published split; None of one that is left out."""
    given = split_names.named(options)
    if given is not None:
        for name in given:
            if name not in prefixes:
                raise split_names.missing(name, prefixes, "the data set's `files`")
        return {prefix: given.get(prefix) if given else "" for prefix in prefixes}
    groups = split_names.by_words(prefixes)
    known = {
        n: s for names in groups.values() for n, s in (names | known_splits(names)).items() if s
    }
    others = [prefix for prefix in prefixes if prefix not in known]
    incomplete = [names for names in groups.values() if not {"train", "test"} <= {*names.values()}]
    if incomplete and (others or len(groups) > 1):
        named = next(iter(incomplete[0]))
        beside = next(prefix for prefix in prefixes if prefix not in incomplete[0])
        raise GraftError(
            f"config: the pair {named} is named like a split, and {beside} beside it is not of the "
            "same set. Name the pairs of each split by options.splits, such as "
            f"{split_names.example([named, beside])}, or set it to none if all are to be dealt."
        )
    return {prefix: known.get(prefix, "") for prefix in prefixes}


def _pairs(archives: Mapping[str, Path]) -> list[tuple[str, str, str]]:
    """(prefix, file of pictures, file of labels) of every pair."""
    pairs: dict[str, dict[str, str]] = {}
    for name in archives:
        if match := _FILE.fullmatch(name):
            pairs.setdefault(match[1], {})[match[2]] = name
    paired = sum(set(names) == {"images", "labels"} for names in pairs.values())
    if not archives or 2 * paired != len(archives):
        reads = "pairs of <name>-images-idx3-ubyte and <name>-labels-idx1-ubyte"
        raise wrong_files("mnist", reads, archives)
    return [(prefix, names["images"], names["labels"]) for prefix, names in pairs.items()]
