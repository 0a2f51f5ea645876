"""Which registered implementations the settings of a stage choose."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args

from graft.config.types import Entry, Settings


def entries(settings: Settings) -> Iterator[tuple[str, str]]:
    """(registry, name) of every registered implementation that settings choose.

    Of registries that the settings could choose from and do not, the name is "".
    """
    yield from ((registry, "") for registry in _registries(type(settings)))
    yield from _chosen(settings, ())


def _chosen(value: object, marks: tuple[Entry, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, Settings):
        marked = _marks(type(value))
        for name, item in value:
            yield from _chosen(item, marked[name])
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _chosen(item, ())
    elif isinstance(value, str):
        yield from ((mark.registry, value) for mark in marks)


@cache
def _marks(kind: type[Settings]) -> dict[str, tuple[Entry, ...]]:
    """The marks of each field of a class of settings."""
    return {
        name: tuple(item for item in field.metadata if isinstance(item, Entry))
        for name, field in kind.model_fields.items()
    }


@cache
def _registries(kind: Any) -> frozenset[str]:
    """The registries that are marked in a class of settings, or in a type within it."""
    found: set[str] = set()
    waiting, seen = [kind], []
    while waiting:
        kind = waiting.pop()
        if kind in seen:
            continue
        seen.append(kind)
        waiting += get_args(kind)
        if isinstance(kind, Entry):
            found.add(kind.registry)
        elif isinstance(kind, type) and issubclass(kind, Settings):
            for field in kind.model_fields.values():
                waiting += [field.annotation, *field.metadata]
    return frozenset(found)
