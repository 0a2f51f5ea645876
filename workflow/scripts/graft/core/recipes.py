"""Recipes: everything a stage's result depends on, as one JSON object.

Snakemake's store keys a result by the rule's params and the text of its script, and not by
wildcards, config, imported modules, the roles of inputs or the environment. A recipe carries those,
so that equal recipes mean equal results.
"""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePath

from graft.core.files import JsonValue, digest


def recipe(
    stage: str,
    *,
    wildcards: dict[str, str],
    settings: dict[str, JsonValue],
    inputs: dict[str, list[str]],
    code: str,
    lock: Path,
) -> dict[str, JsonValue]:
    """The recipe of one job.

    `settings` are the config values that the stage reads, `inputs` maps each role to the paths that
    play it, `code` is the digest of the code that the stage reaches (see `code`), `lock` the
    locked environment.
    """
    return {
        "stage": stage,
        "wildcards": dict(sorted(wildcards.items())),
        "settings": settings,
        "inputs": {role: list(paths) for role, paths in inputs.items()},
        "code": code,
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}",
        "lock": lock_digest(lock),
    }


@cache
def lock_digest(lock: Path) -> str:
    """Digest of the lock's requirements; the comments in it are no part of the environment."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    return digest([line for line in lines if not line.lstrip().startswith("#")])


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
