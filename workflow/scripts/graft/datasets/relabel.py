"""Relabelling: other classes than the published ones, whatever the layout."""

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from graft.core.errors import GraftError
from graft.datasets.table import Candidate

REST = "rest"
"""What `one_vs_rest` calls all classes but the one."""


def relabel(
    candidates: Iterable[Candidate],
    *,
    rename: Mapping[str, str] | None = None,
    only: Collection[str] | None = None,
    one_vs_rest: str | None = None,
    dataset: str = "*",
) -> Iterator[Candidate]:
    """The same candidates in their order, with other labels.

    First the classes in `rename` get their new names; two of one name become one class. Then, if
    `only` is given, rows of other classes are dropped (`other_class`, unless there was a reason
    before). Then every class but `one_vs_rest`, if that is given, becomes REST.

    Raises GraftError, at the end of the candidates, for a name that no class has when its turn
    comes. A class counts that has dropped rows only.
    """
    rename = rename or {}
    published: set[str] = set()
    for candidate in candidates:
        if candidate.label:
            published.add(candidate.label)
        yield _relabelled(candidate, rename, only, one_vs_rest)
    key = f"datasets.{dataset}.classes"
    renamed = {rename.get(name, name) for name in published}
    _check(f"{key}.rename", rename, published)
    _check(f"{key}.only", only or (), renamed)
    if one_vs_rest is not None:
        _check(f"{key}.one_vs_rest", [one_vs_rest], renamed if only is None else set(only))


def _relabelled(
    candidate: Candidate,
    rename: Mapping[str, str],
    only: Collection[str] | None,
    one_vs_rest: str | None,
) -> Candidate:
    if not candidate.label:
        return candidate
    label, reason = rename.get(candidate.label, candidate.label), candidate.drop_reason
    if only is not None and label not in only:
        reason = reason or "other_class"
    elif one_vs_rest is not None and label != one_vs_rest:
        label = REST
    return replace(candidate, label=label, drop_reason=reason)


def _check(key: str, names: Iterable[str], classes: Collection[str]) -> None:
    for name in names:
        if name not in classes:
            near = difflib.get_close_matches(name, sorted(classes), n=1, cutoff=0.5)
            few = ", ".join(sorted(classes)[:10]) + (", ..." if len(classes) > 10 else "")
            hint = f"did you mean {near[0]}?" if near else f"the classes are {few or 'none'}."
            raise GraftError(f"config: {key} names {name!r}, which is no class there; {hint}")
