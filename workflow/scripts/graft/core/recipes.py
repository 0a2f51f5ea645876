"""Recipes: everything a stage's result depends on, as one JSON object.

Snakemake's store keys a result by the rule's params and the text of its script, and not by
wildcards, config, imported modules, the roles of inputs or the environment (design, contract
1). A recipe carries those, so that equal recipes mean equal results.
"""

import ast
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path, PurePath

from graft.core.files import digest, sha256


def recipe(
    stage: str,
    *,
    wildcards: dict[str, str],
    settings: dict,
    inputs: dict[str, list[str]],
    script: Path,
    lock: Path,
) -> dict:
    """The recipe of one job.

    `settings` are the config values that the stage reads, `inputs` maps each role to the
    paths that play it, `script` is the adapter whose imports are followed, `lock` the locked
    environment.
    """
    return {
        "stage": stage,
        "wildcards": dict(sorted(wildcards.items())),
        "settings": settings,
        "inputs": inputs,
        "code": code_digest(script),
        "python": "{}.{}".format(*sys.version_info),
        "lock": lock_digest(lock),
    }


@cache
def lock_digest(lock: Path) -> str:
    """Digest of the lock's requirements; the comments in it are no part of the environment."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    return digest([line for line in lines if not line.lstrip().startswith("#")])


@cache
def code_digest(script: Path) -> str:
    """Digest of a script and of every module of ours that it imports, directly or not."""
    root = script.parent
    return digest({str(path.relative_to(root)): sha256(path) for path in sources(script)})


@cache
def sources(script: Path) -> tuple[Path, ...]:
    """The files below the script's folder that running it reads, found by walking imports."""
    root = script.parent
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for module in _imported(path, root):
            waiting.extend(_files_of(module, root))
    return tuple(sorted(found))


def _imported(path: Path, root: Path) -> Iterable[str]:
    """Dotted names that a file imports; `from a import b` yields both a and a.b."""
    package = list(path.relative_to(root).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _files_of(module: str, root: Path) -> Iterable[Path]:
    """The files that importing a dotted name executes: its packages' __init__ and itself."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        stem = root.joinpath(*parts[:depth])
        for candidate in (stem / "__init__.py", stem.with_suffix(".py")):
            if candidate.is_file():
                yield candidate


def check_rule(
    name: str,
    *,
    recipe_stage: str | None,
    script: str | None,
    cached: bool,
    outputs: list[tuple[str | None, set[str]]],
    inputs: list[str | None],
    forbidden: dict[str, bool],
    may_skip_cache: Callable[[str], bool],
) -> list[str]:
    """What a rule breaks of the caching contract, in words; an empty list when it keeps it.

    `outputs` are (name, flags) pairs, `inputs` the names, `forbidden` directives that a cached
    rule must not use mapped to whether it does.
    """
    problems = []
    if script is None or PurePath(script).stem != name:
        problems.append(f"has no `script:` called {name}.py")
    if recipe_stage is None:
        problems.append(f'lacks `params: recipe=recipe("{name}", ...)`')
    elif recipe_stage != name:
        problems.append(f"carries the recipe of {recipe_stage}")
    if not cached and not may_skip_cache(name):
        problems.append("lacks `cache: True`")
    if len(outputs) > 1 and any(role is None for role, _ in outputs):
        problems.append("has outputs without a name")
    if "seal" not in [role for role, _ in outputs]:
        problems.append("has no output called seal")
    if any(role is None for role in inputs):
        problems.append("has inputs without a name")
    for role, flags in outputs:
        bad = flags & {"directory", "touch", "protected", "ensure", "temp", "pipe"}
        if bad:
            problems.append(f"flags output {role} as {', '.join(sorted(bad))}")
    problems += [f"uses `{directive}:`" for directive, used in forbidden.items() if used]
    return problems
