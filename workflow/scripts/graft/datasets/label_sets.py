"""Labels that hold any number of classes: their names, sorted and joined by "|"; "" holds none."""

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
