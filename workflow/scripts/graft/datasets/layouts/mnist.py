"""MNIST and what is published like it: pictures and labels in pairs of IDX files.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998. The pictures `train-images-idx3-ubyte` and the labels
`train-labels-idx1-ubyte` are published for training, the pair `t10k-...` for the test. Pairs of
other prefixes have no published split. See `idx` for the format.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from graft.core.errors import GraftError
from graft.datasets import idx
from graft.datasets.table import Candidate

LABELS = ("digit",)
SPLITS = {"train": "train", "t10k": "test"}
# Some mirrors have a dot for the last hyphen.
_FILE = re.compile(r"(.+)-(images(?=[-.]idx3)|labels(?=[-.]idx1))[-.]idx[13]-ubyte")


def rows(archives: Mapping[str, Path], *, label: str) -> Iterator[Candidate]:
    """Yield the pictures in the order of the files, each a group of its own.

    A picture's label is its number in the file of labels, "0" to "9" in MNIST itself. Raises
    GraftError for another label, for `files` other than whole pairs, for a file that is not
    sound IDX, and for a file of labels that has not one for each picture.
    """
    if label not in LABELS:
        raise GraftError(
            f"config: the layout mnist offers the label {' and '.join(LABELS)}, not {label!r}; "
            "change the dataset's `label`."
        )
    for prefix, images, labels in _pairs(archives):
        count, _, _ = idx.shape(archives[images], 3)
        digits = idx.labels(archives[labels])
        if len(digits) != count:
            raise GraftError(
                f"{archives[labels]}: holds {len(digits)} labels for the {count} pictures of "
                f"{images}; fetch both again."
            )
        members = idx.members(archives[images])
        for member, digit in zip(members, digits.tolist(), strict=True):
            yield Candidate(
                images,
                member.name,
                label=str(digit),
                group=f"{prefix}/{member.name}",
                split=SPLITS.get(prefix, ""),
            )


def _pairs(archives: Mapping[str, Path]) -> list[tuple[str, str, str]]:
    """(prefix, file of pictures, file of labels) of every pair."""
    found: dict[str, dict[str, str]] = {}
    for name in archives:
        if match := _FILE.fullmatch(name):
            found.setdefault(match[1], {})[match[2]] = name
    paired = sum(set(names) == {"images", "labels"} for names in found.values())
    if not archives or 2 * paired != len(archives):
        raise GraftError(
            "config: the layout mnist reads pairs of <name>-images-idx3-ubyte and "
            "<name>-labels-idx1-ubyte, but the dataset's `files` list "
            f"{', '.join(archives) or 'none'}; correct them."
        )
    return [(prefix, names["images"], names["labels"]) for prefix, names in found.items()]
