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
from pathlib import Path
from types import ModuleType

from graft.data_file import Candidate
from graft.datasets import imdb_wiki, lfw
from graft.errors import GraftError

LAYOUTS: dict[str, ModuleType] = {"imdb_wiki": imdb_wiki, "lfw": lfw}


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
