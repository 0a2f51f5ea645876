"""MNIST and what is published like it: pictures and labels in pairs of IDX files.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998. The pictures `train-images-idx3-ubyte` and the labels
`train-labels-idx1-ubyte` are published for training, the pair `t10k-...` for the test. Pairs of
other prefixes have no published split. See `idx` for the format.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from graft.core.errors import unreadable
from graft.datasets import idx
from graft.datasets.samples import LAYOUTS, wrong_files
from graft.datasets.table import Candidate

SPLITS = {"train": "train", "t10k": "test"}
# Some mirrors have a dot for the last hyphen.
_FILE = re.compile(r"(.+)-(images(?=[-.]idx3)|labels(?=[-.]idx1))[-.]idx[13]-ubyte")


@LAYOUTS.register("mnist")
def rows(archives: Mapping[str, Path], *, label: str) -> Iterator[Candidate]:
    """The pictures in the order of the files, each a group of its own.

    The label is the picture's number in the file of labels, "0" to "9" in MNIST itself. Raises
    GraftError for `files` other than whole pairs, for a bad IDX file, and for a file of labels that
    does not have one for each picture.
    """
    for prefix, images, labels in _pairs(archives):
        count, _, _ = idx.shape(archives[images], 3)
        numbers = idx.labels(archives[labels]).tolist()
        if len(numbers) != count:
            problem = f"it has {len(numbers)} labels for the {count} pictures of {images}"
            raise unreadable(archives[labels], ValueError(problem))
        split = SPLITS.get(prefix, "")
        for (name, _, _), number in zip(idx.members(archives[images]), numbers, strict=True):
            yield Candidate(images, name, str(number), split=split)


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
