"""Labels that hold any number of classes: their names, sorted and joined by "|"; "" holds none.

And names of classes that may be meant to be one.
"""

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

import pandas as pd

SEPARATOR = "|"


def names(label: str) -> list[str]:
    """The classes of a label that holds any number of them, without empty ones."""
    return [name for name in map(str.strip, label.split(SEPARATOR)) if name]


def joined(classes: Iterable[str]) -> str:
    """The label of several classes, each once, whatever their order."""
    return SEPARATOR.join(sorted(set(classes)))


def by_class(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each class of each row whose label holds any number of them."""
    listed = frame.assign(label=frame["label"].map(names))
    return listed[listed["label"].map(len) > 0].explode("label")


def alike(labels: Iterable[str], dataset: str = "*") -> list[str]:
    """A sentence for each set of classes whose names differ only by case, white space or the normal
    form of their characters; `labels` has a name for each row."""
    named: defaultdict[str, list[str]] = defaultdict(list)
    counts = Counter(labels)
    for name in sorted(counts):
        composed = unicodedata.normalize("NFKC", name).casefold()
        named["".join(unicodedata.normalize("NFC", composed).split())].append(name)
    sentences = []
    for name, *others in (names for names in named.values() if len(names) > 1):
        # Quoted, and in ASCII, since some cannot be told apart otherwise.
        shown = " and ".join(f"{json.dumps(n)} ({counts[n]:,} rows)" for n in (name, *others))
        new = ", ".join(f"{json.dumps(other)}: {json.dumps(name)}" for other in others)
        sentences.append(
            f"The classes {shown} differ only by case, white space or normal form. If they are "
            f"one, set datasets.{dataset}.classes.rename to {{{new}}}."
        )
    return sentences
