"""Drawn data sets, by the kind that the config gives in `render`; each in a published layout."""

from collections.abc import Callable

from graft.core.registry import Registry

DRAWINGS: Registry[Callable[..., None]] = Registry("graft.demo")
"""Functions that write a file: `(path, **parameters)`."""
