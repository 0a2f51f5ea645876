"""Relabelling: other classes than the published ones, for any layout."""

from collections.abc import Collection, Iterable, Iterator

from graft.config.datasets import Classes
from graft.core.errors import GraftError, nearest
from graft.datasets.label_sets import joined, names
from graft.datasets.table import Candidate

REST = "rest"
"""The name that `one_vs_rest` gives to all classes but the one."""


def relabel(
    candidates: Iterable[Candidate], classes: Classes, *, multi: bool = False, dataset: str = "*"
) -> Iterator[Candidate]:
    """The same candidates in their order, with other labels.

    First the classes in `rename` get their new names; two of one name become one class. Then, if
    `only` is given, rows of other classes are dropped (`other_class`, unless there is a reason
    already). Then every class but `one_vs_rest`, if that is given, becomes REST.

    With `multi` a label holds any number of classes (see `label_sets`). They are renamed one by
    one; of a row with other classes than those in `only` these are left, perhaps none.

    Raises GraftError, at the end of the candidates, for a name that is no class in its step. A
    class counts that has dropped rows only.
    """
    published: set[str] = set()
    for candidate in candidates:
        if multi:
            published.update(names(candidate.label))
            yield candidate._replace(label=_of_several(candidate.label, classes))
            continue
        published.update(filter(None, [candidate.label]))
        yield _relabelled(candidate, classes) if candidate.label else candidate
    key = f"datasets.{dataset}.classes"
    renamed = {classes.rename.get(name, name) for name in published}
    _check(f"{key}.rename", classes.rename, published)
    _check(f"{key}.only", classes.only or (), renamed)
    if classes.one_vs_rest is not None:
        remaining = renamed if classes.only is None else classes.only
        _check(f"{key}.one_vs_rest", [classes.one_vs_rest], remaining)


def renamed(name: str, classes: Classes) -> str | None:
    """What a class is called after the steps of `relabel`; None if `only` leaves it out."""
    name = classes.rename.get(name, name)
    if classes.only is not None and name not in classes.only:
        return None
    return name if classes.one_vs_rest in (None, name) else REST


def _relabelled(candidate: Candidate, classes: Classes) -> Candidate:
    label = classes.rename.get(candidate.label, candidate.label)
    reason = candidate.drop_reason
    if classes.only is not None and label not in classes.only:
        reason = reason or "other_class"
    elif classes.one_vs_rest not in (None, label):
        label = REST
    return candidate._replace(label=label, drop_reason=reason)


def _of_several(label: str, classes: Classes) -> str:
    return joined(filter(None, (renamed(name, classes) for name in names(label))))


def _check(key: str, named: Iterable[str], classes: Collection[str]) -> None:
    for name in named:
        if name not in classes:
            hint = nearest(name, sorted(classes))
            raise GraftError(f"config: {key} names {name!r}, which is no class there. {hint}")
