"""Syntax of one module: its definitions, what each names, and what runs when it is imported."""

import ast
import hashlib
import symtable
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ASSET = "Asset"
"""The class whose calls name a file beside the module, which is read at run time."""

REGISTRY = "Registry"
IMPORTED = ""
"""The name of what runs on import, in a module's items."""


@dataclass
class Item:
    """A definition's statements, and what it is registered as: (expression of registry, name)."""

    nodes: list[ast.stmt] = field(default_factory=list)
    entries: list[tuple[ast.expr, str]] = field(default_factory=list)


class Module:
    """A parsed module: its definitions, its imports and what runs when it is imported."""

    def __init__(self, name: str, text: str, folder: Path | None = None):
        self.name, self.folder = name, folder
        self.items: dict[str, Item] = {IMPORTED: Item()}
        self.imports: dict[str, str] = {}  # local name -> dotted name
        self.imported: list[str] = []  # dotted names that importing this module imports
        self.at_import: list[ast.expr] = []  # expressions of definitions that run on import
        self.called: list[ast.expr] = []  # what is called, or derived from, on import
        self._digests: dict[str, str] = {}
        self._scopes = symtable.symtable(text, name, "exec").get_children()
        tree = _without_strings(ast.parse(text))
        for node in tree.body:
            self._add(node)

    def _add(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound = bindings(node, self.name)
            self.imports |= bound
            self.imported += bound.values()
            return
        names = _defined(node)
        if not names:
            self.items[IMPORTED].nodes.append(node)
        for name in names:
            self.items.setdefault(name, Item()).nodes.append(node)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.items[name].entries += _registered(node)
        self.at_import += _evaluated_on_import(node)
        self.called += _called_on_import(node)

    def free_names(self, node: ast.stmt) -> set[str] | None:
        """The names that a function or a class takes from the module; None: all that it uses."""
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return None
        bases = node.bases if isinstance(node, ast.ClassDef) else []
        outside = [*_evaluated_on_import(node), *bases, *_annotation_nodes(node)]
        names = {n.id for e in outside for n in ast.walk(e) if isinstance(n, ast.Name)}
        for scope in self._scopes:
            if scope.get_name() == node.name:
                names |= _taken(scope)
        return names

    def digest(self, name: str) -> str:
        """Digest of a definition's syntax, and of the files that it names as assets."""
        if name not in self._digests:
            nodes = self.items[name].nodes
            content = hashlib.sha256("\n".join(ast.dump(node) for node in nodes).encode())
            for path in self.assets(name):
                content.update(path.read_bytes())
            self._digests[name] = content.hexdigest()
        return self._digests[name]

    def assets(self, name: str) -> Iterator[Path]:
        """The files that a definition names as assets, in the module's folder."""
        for node in self.items[name].nodes:
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and last(call.func) == ASSET and self.folder:
                    (argument,) = call.args[1:] or call.args
                    if isinstance(argument, ast.Constant):
                        yield self.folder / str(argument.value)


def refusals(name: str, text: str) -> Iterator[str]:
    """Lookups that a reader of the source could not follow, each as `line: what`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names):
            yield f"{node.lineno}: import *"
        if isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
            yield f"{node.lineno}: __getattr__"
        if isinstance(node, ast.Import | ast.ImportFrom) and name != "graft.core.registry":
            imported = [node.module] if isinstance(node, ast.ImportFrom) else []
            imported += [alias.name for alias in node.names]
            found = any(module and module.split(".")[0] == "importlib" for module in imported)
            # The versions of packages are no code.
            if found and imported != ["importlib.metadata", "version"]:
                yield f"{node.lineno}: importlib"
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        called = node.func.id
        if called in ("globals", "locals", "vars", "eval", "exec", "__import__"):
            yield f"{node.lineno}: {called}()"
        if called in ("getattr", "setattr", "hasattr", "delattr") and not (
            len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
        ):
            yield f"{node.lineno}: {called} with a computed name"


def _without_strings(tree: ast.Module) -> ast.Module:
    """Remove docstrings and other strings that stand alone: they describe, and do nothing."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [s for s in body if not (isinstance(s, ast.Expr) and _is_text(s.value))]
            node.body = kept or ([] if isinstance(node, ast.Module) else [ast.Pass()])  # type: ignore[attr-defined]
    return tree


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement defines; none for one that is no definition."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            names = [name for target in targets for name in _targets(target)]
            return names if all(names) else []
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _targets(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Name):
        return [target.id]
    if isinstance(target, ast.Tuple | ast.List):
        return [name for element in target.elts for name in _targets(element)]
    return [""]


def bindings(node: ast.Import | ast.ImportFrom, module: str) -> dict[str, str]:
    """Local name -> dotted name of what an import binds."""
    if isinstance(node, ast.Import):
        return {
            alias.asname or alias.name.split(".")[0]: (
                alias.name if alias.asname else alias.name.split(".")[0]
            )
            for alias in node.names
        }
    base = node.module or ""
    if node.level:
        parents = module.split(".")[: -node.level]
        base = ".".join([*parents, *([base] if base else [])])
    return {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}


def _registered(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> list:
    """(expression of the registry, name) of each `@X.register("name")` above a definition."""
    found = []
    for decorator in node.decorator_list:
        match decorator:
            case ast.Call(
                func=ast.Attribute(value=registry, attr="register"),
                args=[ast.Constant(value=str(name))],
            ):
                found.append((registry, name))
    return found


def _taken(scope: symtable.SymbolTable) -> set[str]:
    """The names that a scope, and the scopes within, may take from the module."""
    in_class = scope.get_type() == "class"  # where a name may be the module's until it is assigned
    names = {
        symbol.get_name()
        for symbol in scope.get_symbols()
        if symbol.is_global() or (in_class and symbol.is_referenced())
    }
    return names.union(*(_taken(child) for child in scope.get_children()))


def _annotation_nodes(node: ast.stmt) -> list[ast.expr]:
    """The annotations within a definition, which are evaluated in the module or its classes."""
    found: list[ast.expr | None] = []
    for part in ast.walk(node):
        if isinstance(part, ast.AnnAssign | ast.arg):
            found.append(part.annotation)
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(part.returns)
    return [annotation for annotation in found if annotation is not None]


def _evaluated_on_import(node: ast.stmt) -> list[ast.expr]:
    """The expressions of a definition that run when its module is imported."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        defaults = [d for d in node.args.kw_defaults if d is not None]
        return [*node.decorator_list, *node.args.defaults, *defaults]
    if isinstance(node, ast.ClassDef):
        keywords = [keyword.value for keyword in node.keywords]
        inner = [e for statement in node.body for e in _evaluated_on_import(statement)]
        return [*node.decorator_list, *keywords, *inner]
    return []


def _called_on_import(node: ast.stmt) -> list[ast.expr]:
    """What assignments call and classes derive from when a module is imported."""
    if isinstance(node, ast.ClassDef):
        inner = [expression for part in node.body for expression in _called_on_import(part)]
        return [*node.bases, *inner]
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        return [call.func for call in ast.walk(node.value) if isinstance(call, ast.Call)]
    return []


def registry_calls(item: Item) -> list[ast.Call]:
    values = [node.value for node in item.nodes if isinstance(node, ast.Assign | ast.AnnAssign)]
    return [v for v in values if isinstance(v, ast.Call) and last(v.func) == REGISTRY]


def constructors(node: ast.ClassDef) -> list[str]:
    names = {"__init__", "__new__", "__post_init__", "__init_subclass__"}
    return [name for statement in node.body for name in _defined(statement) if name in names]


def annotations(node: ast.AST) -> list[ast.expr]:
    """Annotations that are written as strings, parsed."""
    given: list[ast.expr | None] = []
    if isinstance(node, ast.AnnAssign | ast.arg):
        given = [node.annotation]
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        given = [node.returns]
    parsed = []
    for part in [part for a in given if a is not None for part in ast.walk(a)]:
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            try:
                parsed.append(ast.parse(part.value, mode="eval").body)
            except SyntaxError:  # a text in a Literal
                continue
    return parsed


def dots(node: ast.expr) -> list[str]:
    """["a", "b"] for the expression a.b; [] for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *names[::-1]] if isinstance(node, ast.Name) else []


def last(node: ast.expr) -> str:
    return (dots(node) or [""])[-1]
