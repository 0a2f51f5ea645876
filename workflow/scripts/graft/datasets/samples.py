"""Layouts: how published archives say which samples there are, and what their labels are.

A layout is one module here. It has `LABELS`, the kinds of label it offers, and

    rows(archives, *, label, **options) -> Iterator[Candidate]

where `archives` maps the names of the dataset's files to their paths, `label` is one of LABELS
and the keyword-only options are the config's `datasets.<dataset>.options`. It yields every
published sample once, in published order; what it would leave out it yields with a reason.
To add a layout, add its module, and its line to LAYOUTS.
"""

import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import ModuleType

from graft.config.stages import ReadSettings, StructureSettings
from graft.core.errors import GraftError
from graft.datasets.layouts import fer2013, folder, imdb_wiki, lfw, mnist
from graft.datasets.relabel import relabel
from graft.datasets.table import Candidate

LAYOUTS: dict[str, ModuleType] = {
    "fer2013": fer2013,
    "folder": folder,
    "imdb_wiki": imdb_wiki,
    "lfw": lfw,
    "mnist": mnist,
}


def samples(settings: StructureSettings, archives: Mapping[str, Path]) -> Iterator[Candidate]:
    """The samples of a data set: its own, or one after the other those of the sets it merges.

    `archives` is as `archives.named` gives it. In a merged set archives and groups have the name of
    the set they come from in front. Raises what `rows` and `relabel` raise.
    """
    members = chain.from_iterable(
        _of_member(name, member, archives, merged=settings.merged)
        for name, member in settings.read.items()
    )
    classes = settings.classes.model_dump()
    return relabel(members, **classes, dataset=settings.dataset)


def _of_member(
    name: str, member: ReadSettings, archives: Mapping[str, Path], *, merged: bool
) -> Iterator[Candidate]:
    prefix = f"{name}/" if merged else ""
    own = {key.removeprefix(prefix): archives[key] for key in archives if key.startswith(prefix)}
    found = rows(member.layout, own, label=member.label, options=member.options, dataset=name)
    for candidate in relabel(found, **member.classes.model_dump(), dataset=name):
        group = prefix + candidate.group if candidate.group else ""
        yield replace(candidate, archive=prefix + candidate.archive, group=group)


def rows(
    layout: str,
    archives: Mapping[str, Path],
    *,
    label: str,
    options: Mapping[str, object] | None = None,
    dataset: str = "*",
) -> Iterator[Candidate]:
    """The samples of a dataset in a layout; see above.

    Raises GraftError, naming the config key of `dataset`, for an unknown layout, label or
    option; reading the samples raises what the layout's own `rows` raises.
    """
    key = f"datasets.{dataset}"
    _known(f"{key}.layout", layout, LAYOUTS)
    module = LAYOUTS[layout]
    _known(f"{key}.label", label, module.LABELS)
    parameters = inspect.signature(module.rows).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "label"]
    for name in options or {}:
        _known(f"{key}.options", name, known)
    return module.rows(archives, label=label, **(options or {}))


def _known(key: str, name: str, names: Iterable[str]) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}."
        raise GraftError(f"config: {key} says {name!r}, which this version does not know; {hint}")
