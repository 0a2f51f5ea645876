"""Registries: implementations of one interface, by the names that the config gives them."""

import importlib
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Implementations by name; those that are not imported yet are imported on demand.

        LAYOUTS: Registry[Rows] = Registry("graft.datasets.layouts")

        @LAYOUTS.register("lfw")          # in graft/datasets/layouts/lfw.py
        def rows(...): ...

        LAYOUTS["lfw"]                    # imports that module, if need be

    package: where the module of an entry is, which has the entry's name. Entries may also be
    registered in modules that are imported anyway.

    The code of an entry is part of a recipe only where the settings name it (see `code`).
    """

    def __init__(self, package: str):
        self.package = package
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: enter a function or a class under a name."""

        def enter(entry: T) -> T:
            self._entries[name] = entry
            return entry

        return enter

    def __getitem__(self, name: str) -> T:
        """The entry of a name; KeyError if its module registers nothing under that name."""
        if name not in self._entries:
            module = f"{self.package}.{name}"
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as error:
                if not f"{module}.".startswith(f"{error.name}."):
                    raise
                raise KeyError(name) from None
        return self._entries[name]
