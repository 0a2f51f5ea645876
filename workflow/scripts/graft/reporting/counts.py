"""Counts: every published sample is accounted for, from the archive to the predictions."""

from collections import Counter
from collections.abc import Iterable, Mapping

from graft.core.errors import GraftError


def check(
    structure: Mapping,
    crops: Mapping[str, Mapping],
    packs: Mapping[str, Mapping],
    predicted: Mapping[str, int],
    name: str,
) -> None:
    """Raise GraftError unless what goes into each stage comes out of it, kept or dropped.

    `structure` is the structure stage's counts, `crops` and `packs` map parts to theirs,
    `predicted` maps runs to their numbers of predictions.
    """
    total = structure["kept"] + sum(structure["dropped"].values())
    _equal(name, "published samples", structure["published"], "kept and dropped rows", total)
    listed = sum(sum(labels.values()) for labels in structure["splits"].values())
    _equal(name, "kept rows", structure["kept"], "rows of the splits", listed)
    rows = sum(part["rows"] for part in crops.values())
    _equal(name, "kept rows", structure["kept"], "rows that the crop stage read", rows)
    for part, counted in crops.items():
        after = counted["kept"] + sum(counted["dropped"].values())
        _equal(f"{name} {part}", "rows", counted["rows"], "kept and dropped crops", after)
    for part, counted in packs.items():
        kept = crops[part]["kept"]
        _equal(f"{name} {part}", "kept crops", kept, "packed pictures", counted["rows"])
    tested = sum(counted["rows"] for part, counted in packs.items() if part.startswith("test"))
    for run, number in predicted.items():
        _equal(f"{name} {run}", "packed test pictures", tested, "predictions", number)


def total_dropped(parts: Iterable[Mapping]) -> dict[str, int]:
    """Reasons and numbers, summed over parts."""
    return dict(sorted(sum((Counter(part["dropped"]) for part in parts), Counter()).items()))


def _equal(name: str, left: str, a: int, right: str, b: int) -> None:
    if a != b:
        raise GraftError(
            f"{name}: {a} {left} but {b} {right}; a sample was lost, which is a defect of Graft."
        )
