"""Drawn data sets, by the `kind` that the config gives in `render`; each in a published layout."""

from collections.abc import Callable
from pathlib import Path
from typing import Concatenate

from graft.core.registry import Registry

Drawing = Callable[Concatenate[Path, ...], None]
"""`(path, **parameters)`: writes the file `path`. Equal parameters give equal bytes."""

DRAWINGS: Registry[Drawing] = Registry("graft.demo")
