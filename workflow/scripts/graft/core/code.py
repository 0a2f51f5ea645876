"""The code that a stage can reach, definition by definition, read from the source text alone.

A definition is a module-level function, class or assignment. From a script, names are followed
into the project's modules: a definition counts if it is reachable by name, as a whole (a class with
all its methods). What runs when a module is imported counts for every imported module: statements
that are no definitions, and the decorators, default values, base classes and class-level values of
all definitions. Entries of a registry (see `registry`) count where the settings choose them.

A digest is of the syntax tree, without positions, docstrings and other bare strings: comments,
docstrings, formatting and unreachable definitions change nothing.

This over-approximates: a module that is passed around as a value counts whole. It is sound as long
as code finds other code by name; `syntax.refusals` lists what a reader could not follow.
"""

import ast
import contextlib
import hashlib
import json
import sys
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from graft.core.files import canonical_json, digest, sha256, write_json
from graft.core.syntax import (
    IMPORTED,
    Module,
    annotations,
    bindings,
    constructors,
    dots,
    registry_calls,
)

Definition = tuple[str, str]
"""(module, name): ("graft.core.files", "sha256"); the name is IMPORTED for what runs on import."""

WHOLE = "*"


@dataclass(frozen=True)
class Reach:
    """What a script reaches: each definition, with the one that named it first."""

    code: "Code"
    parents: Mapping[Definition, Definition | None]

    def digest(self) -> str:
        listed = sorted(
            f"{module}:{name}:{self.code.modules[module].digest(name)}"
            for module, name in self.parents
        )
        return hashlib.sha256("\n".join(listed).encode()).hexdigest()

    def chain(self, definition: Definition) -> list[Definition]:
        """How a definition is reached, from the script on."""
        chain = [definition]
        while (parent := self.parents[chain[-1]]) is not None:
            chain.append(parent)
        return chain[::-1]


class Code:
    """The project's modules, by dotted name; scripts are modules of their own.

    sources: text by dotted name. folders: the folder of each module, for its assets.
    """

    def __init__(self, sources: Mapping[str, str], folders: Mapping[str, Path] | None = None):
        self._sources = dict(sources)
        self._folders = dict(folders or {})
        self.modules = _Parsed(self._sources, self._folders)
        self._named: dict[Definition, list[Definition]] = {}
        self._entries: dict[Definition, list[tuple[str, Definition]]] = {}

    @classmethod
    def read(cls, root: Path) -> "Code":
        """All modules below a folder."""
        paths = {_dotted(path.relative_to(root)): path for path in sorted(root.rglob("*.py"))}
        texts = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
        return cls(texts, {name: path.parent for name, path in paths.items()})

    def replaced(self, module: str, text: str) -> "Code":
        """The same code with another text of one module."""
        other = Code({**self._sources, module: text}, self._folders)
        other.modules.update({k: v for k, v in self.modules.items() if k != module})
        before, after = self.modules[module], other.modules[module]
        if before.items.keys() == after.items.keys() and before.imports == after.imports:
            # What other modules name is resolved as before.
            other._named = {d: named for d, named in self._named.items() if d[0] != module}
            other._entries = dict(self._entries)
        return other

    @property
    def names(self) -> Collection[str]:
        return self._sources.keys()

    def reach(self, script: str, entries: Iterable[tuple[str, str]] = ()) -> Reach:
        """What a script reaches, with these entries (registry, name) chosen by its settings.

        A registry of which no entry is chosen counts with all of its entries.
        """
        chosen: dict[str, set[str]] = {}
        for registry, name in entries:
            chosen.setdefault(registry, set()).add(name)
        parents: dict[Definition, Definition | None] = {}
        waiting: deque[Definition] = deque()

        def visit(definition: Definition, parent: Definition | None) -> None:
            """Reach a definition, and what runs when its module and its packages are imported."""
            parts = definition[0].split(".")
            for depth in range(1, len(parts) + 1):
                module = ".".join(parts[:depth])
                if module in self.names and (module, IMPORTED) not in parents:
                    parents[module, IMPORTED] = parent
                    waiting.append((module, IMPORTED))
            if definition not in parents:
                parents[definition] = parent
                waiting.append(definition)

        for name in self.modules[script].items:
            visit((script, name), None)
        while waiting:
            definition = waiting.popleft()
            for named in self.named(definition):
                visit(named, definition)
            if self.is_registry(definition):
                wanted = chosen.get(".".join(definition))
                for entry, registered in self.entries_of(definition):
                    if wanted is None or entry in wanted:
                        visit(registered, definition)
        return Reach(self, parents)

    def named(self, definition: Definition) -> list[Definition]:
        """The definitions that a definition names; of a module's import also what it imports."""
        if definition not in self._named:
            module, name = definition
            here = self.modules[module]
            named: list[Definition] = []
            for node in here.items[name].nodes:
                named += self._follow(module, node, here.free_names(node))
            if name == IMPORTED:
                named += [(m, IMPORTED) for d in here.imported for m in self._modules_of(d)]
                for expression in here.at_import:
                    named += self._follow(module, expression)
                for expression in here.called:
                    called = self.resolve(module, expression)
                    if called is None or called[1] == WHOLE or self.runs(called):
                        named += self._follow(module, expression)
            self._named[definition] = list(dict.fromkeys(named))
        return self._named[definition]

    def entries_of(self, registry: Definition) -> list[tuple[str, Definition]]:
        """(name, definition) of every entry of a registry: in its module, or in its package."""
        if registry not in self._entries:
            owner, name = registry
            (call,) = registry_calls(self.modules[owner].items[name])
            package = [str(a.value) for a in call.args if isinstance(a, ast.Constant)]
            inside = tuple(f"{prefix}." for prefix in package)
            self._entries[registry] = [
                (entry, (module, definition))
                for module in self.names
                if module == owner or module.startswith(inside)
                for definition, item in self.modules[module].items.items()
                for expression, entry in item.entries
                if self.resolve(module, expression) == registry
            ]
        return self._entries[registry]

    def is_registry(self, definition: Definition) -> bool:
        module, name = definition
        return name != IMPORTED and bool(registry_calls(self.modules[module].items[name]))

    def runs(self, definition: Definition) -> bool:
        """Whether calling a definition runs code of ours: not so for a class without __init__."""
        module, name = definition
        nodes = self.modules[module].items[name].nodes
        return not all(isinstance(node, ast.ClassDef) and not constructors(node) for node in nodes)

    def resolve(self, module: str, expression: ast.expr) -> Definition | None:
        """The definition that a name or a dotted name means in a module, if it is one of ours."""
        dotted = dots(expression)
        return self._lookup(module, dotted[0], dotted[1:]) if dotted else None

    def _follow(
        self, module: str, node: ast.AST, free: Collection[str] | None = None
    ) -> list[Definition]:
        """The definitions that a statement or an expression names, and the modules it imports.

        `free` are the names that it takes from the module; by default all that it reads.
        """
        inner: dict[str, str] = {}
        for part in ast.walk(node):
            if isinstance(part, ast.Import | ast.ImportFrom):  # within a function
                inner |= bindings(part, module)
        named = [(m, IMPORTED) for dotted in inner.values() for m in self._modules_of(dotted)]
        skipped: set[int] = set()
        for part in ast.walk(node):
            for annotation in annotations(part):
                named += self._follow(module, annotation)
            if id(part) not in skipped and isinstance(part, ast.Name | ast.Attribute):
                dotted = dots(part)
                skipped.update(id(below) for below in ast.walk(part) if dotted)
                if dotted and (free is None or dotted[0] in free or dotted[0] in inner):
                    named += self._named_by(module, dotted, inner)
        return named

    def _named_by(self, module: str, dotted: list[str], inner: dict[str, str]) -> list[Definition]:
        head, *rest = dotted
        target = (
            self._target(inner[head], rest) if head in inner else self._lookup(module, head, rest)
        )
        if target is None:
            return []
        if target[1] == WHOLE:  # a module as a value
            return [(target[0], name) for name in self.modules[target[0]].items]
        return [target]

    def _lookup(self, module: str, head: str, rest: list[str]) -> Definition | None:
        """A name in a module: its own definition, or what it imports under that name."""
        here = self.modules[module]
        if head in here.items and head != IMPORTED:
            return (module, head)
        return self._target(here.imports[head], rest) if head in here.imports else None

    def _target(self, dotted: str, rest: list[str]) -> Definition | None:
        """What a dotted name, and attributes of it, mean: through re-exports to the definition."""
        if dotted in self.names:
            if not rest:
                return (dotted, WHOLE)
            inside = self._lookup(dotted, rest[0], rest[1:])
            return inside or self._target(f"{dotted}.{rest[0]}", rest[1:])
        above, _, name = dotted.rpartition(".")
        return self._lookup(above, name, rest) if above in self.names else None

    def _modules_of(self, dotted: str) -> list[str]:
        """The module that an imported name is, or is in."""
        above = dotted.rpartition(".")[0]
        return [name for name in (dotted, above) if name in self.names][:1]


class _Parsed(dict[str, Module]):
    """Modules, parsed when they are first asked for."""

    def __init__(self, sources: Mapping[str, str], folders: Mapping[str, Path]):
        super().__init__()
        self._sources, self._folders = sources, folders

    def __missing__(self, name: str) -> Module:
        self[name] = Module(name, self._sources[name], self._folders.get(name))
        return self[name]


class Digests:
    """Digests of what scripts reach, kept in a file for as long as the code stays the same.

    root: the folder of the code. memory: the file, which may be lost.
    """

    def __init__(self, root: Path, memory: Path):
        self._root, self._memory = root, memory
        listed = (p for p in root.rglob("*") if p.suffix != ".pyc" and p.is_file())
        bytes_of = {str(path.relative_to(root)): sha256(path) for path in sorted(listed)}
        self._key = digest([sys.version, bytes_of])
        self._known = self._recall()
        self._code: Code | None = None

    def digest(self, script: str, entries: Iterable[tuple[str, str]]) -> str:
        """As `Code.reach(script, entries).digest()`."""
        asked = canonical_json([script, *sorted(entries)])
        if asked not in self._known:
            self._code = self._code or Code.read(self._root)
            self._known[asked] = self._code.reach(script, entries).digest()
            with contextlib.suppress(OSError):
                write_json(self._memory, {"code": self._key, "digests": self._known})
        return self._known[asked]

    def _recall(self) -> dict[str, str]:
        try:
            memory = json.loads(self._memory.read_text(encoding="utf-8"))
            return dict(memory["digests"]) if memory["code"] == self._key else {}
        except (OSError, ValueError, TypeError, LookupError):
            return {}


def _dotted(path: Path) -> str:
    parts = list(path.with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
