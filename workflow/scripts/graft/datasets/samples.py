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


def samples(spec: Mapping, archives: Mapping[str, Path]) -> Iterator[Candidate]:
    """The samples of a data set: its own, or one after the other those of the sets it merges.

    `spec` is as `settings.structure` gives it, with `dataset`, `classes` (see `relabelling`) and
    either `layout`, `label` and `options`, or `merge`: the same and `classes` for each set by
    name, whose classes come first. `archives` is as `archives.named` gives it; in a merged set
    archives and groups bear the name of the set they are of. Raises what `rows` and `relabel` do.
    """
    if "merge" in spec:
        found = chain.from_iterable(
            _of_member(spec["merge"], name, archives) for name in spec["merge"]
        )
    else:
        found = _read(spec, archives, spec["dataset"])
    return relabel(found, **spec["classes"], dataset=spec["dataset"])


def _of_member(merge: Mapping, name: str, archives: Mapping[str, Path]) -> Iterator[Candidate]:
    prefix = f"{name}/"
    own = {key.removeprefix(prefix): archives[key] for key in archives if key.startswith(prefix)}
    found = _read(merge[name], own, name)
    for candidate in relabel(found, **merge[name]["classes"], dataset=name):
        group = prefix + candidate.group if candidate.group else ""
        yield replace(candidate, archive=prefix + candidate.archive, group=group)


def _read(spec: Mapping, archives: Mapping[str, Path], dataset: str) -> Iterator[Candidate]:
    label, options = spec["label"], spec["options"]
    return rows(spec["layout"], archives, label=label, options=options, dataset=dataset)


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
