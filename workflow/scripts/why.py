"""Which stages run again, and why: the code that each stage depends on.

    why.py                        every definition, and the stages that reach it
    why.py graft.images.align     the stages that reach a module, a definition or a file
    why.py --stage train          what a stage depends on, and through what
    why.py --stage train OLD NEW  what changed for it between two commits (NEW: the working tree)

A stage also runs again when its settings, its inputs or the locked environment change.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from graft.core.code import IMPORTED, Code, Definition, Reach

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parents[1]

NEXT = {
    "download": ["structure", "regions", "crop"],
    "structure": ["regions", "crop", "pack", "plots", "report"],
    "regions": ["pack", "report"],
    "crop": ["pack", "plots"],
    "pack": ["features", "train", "evaluate", "heat_maps", "plots"],
    "weights": ["features", "train"],
    "features": ["train", "evaluate", "heat_maps"],
    "train": [
        *("evaluate", "heat_maps", "labels", "plots", "overview", "report", "track", "predict"),
        "export",
    ],
    "evaluate": ["heat_maps", "compare", "labels", "plots", "overview", "track"],
    "heat_maps": ["report"],
    "compare": ["plots", "report", "track"],
    "labels": ["report"],
    "plots": ["report", "track"],
    "overview": ["report"],
    "report": [],
    "track": [],
    "predict": [],
    "export": [],
}
"""Each stage and those that read its outputs. A trained model can also be a head or a source of
another training."""

NONE = ""
"""An entry that no registry has: with it, a registry counts without any of its entries."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", choices=NEXT)
    parser.add_argument("names", nargs="*", metavar="NAME | OLD [NEW]")
    arguments = parser.parse_args()
    if arguments.stage and arguments.names:
        lines = changes(arguments.stage, *arguments.names[:2])
    elif arguments.stage:
        lines = dependencies(Code.read(SCRIPTS), arguments.stage)
    elif arguments.names:
        code = Code.read(SCRIPTS)
        lines = (line for name in arguments.names for line in answer(code, name))
    else:
        lines = table(Code.read(SCRIPTS))
    try:
        for line in lines:
            print(line)
    except BrokenPipeError:  # the reader has seen enough
        sys.stderr.close()
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return 1
    return 0


def shown(definition: Definition) -> str:
    module, name = definition
    return module if name == IMPORTED else f"{module}.{name}"


def reaches(code: Code) -> dict[str, Reach]:
    """Each stage's reach, with all entries of all registries."""
    return {stage: code.reach(stage) for stage in NEXT}


def registries(code: Code) -> list[Definition]:
    return [
        (module, name)
        for module in code.names
        for name in code.modules[module].items
        if code.is_registry((module, name))
    ]


def table(code: Code) -> Iterator[str]:
    """Every definition of the library, and the stages that reach it."""
    found = reaches(code)
    for module in sorted(code.names):
        for name in code.modules[module].items:
            if name != IMPORTED and module.startswith("graft."):
                stages = [s for s, reach in found.items() if (module, name) in reach.parents]
                yield f"{module}.{name}: {' '.join(stages) or 'no stage'}"


def answer(code: Code, name: str) -> Iterator[str]:
    """The stages that reach a definition, a module or a file, and those that follow."""
    wanted = definitions(code, name)
    direct = []
    for stage, reach in reaches(code).items():
        hit = next((d for d in wanted if d in reach.parents), None)
        if hit is not None:
            direct.append(stage)
            chain = " -> ".join(shown(d) for d in reach.chain(hit))
            yield f"{stage}{condition(code, stage, wanted)}: {chain}"
    following = [stage for stage in NEXT if stage in after(direct) and stage not in direct]
    if not direct:
        yield f"{name}: no stage depends on it."
    elif following:
        yield f"then, because their inputs change: {', '.join(following)}"


def definitions(code: Code, name: str) -> list[Definition]:
    """The definitions that a name means: itself, those of a module, or those that read a file."""
    path = (ROOT / name).resolve() if (ROOT / name).exists() else Path(name).resolve()
    if path.suffix == ".py" and path.is_relative_to(SCRIPTS):
        name = ".".join(path.relative_to(SCRIPTS).with_suffix("").parts)
    if name in code.names:
        return [(name, item) for item in code.modules[name].items]
    module, _, item = name.rpartition(".")
    if module in code.names and item in code.modules[module].items:
        return [(module, item)]
    readers = [
        (module, item)
        for module in code.names
        for item in code.modules[module].items
        if path in [asset.resolve() for asset in code.modules[module].assets(item)]
    ]
    items = code.modules[module].items if module in code.names else ()
    if not readers and (listed := ", ".join(item for item in items if item != IMPORTED)):
        raise LookupError(f"{name}: {module} has no such definition. Choose one of {listed}.")
    if not readers:
        raise LookupError(
            f"{name}: no definition, module or template of this name. Give a dotted name such as "
            "graft.evaluation.metrics, or a file."
        )
    return readers


def condition(code: Code, stage: str, wanted: Iterable[Definition]) -> str:
    """Which entries of registries a stage must have chosen to reach any of the definitions."""
    everything = registries(code)
    without = [(".".join(registry), NONE) for registry in everything]
    if any(d in code.reach(stage, without).parents for d in wanted):
        return ""
    chosen = []
    for registry in everything:
        others = [(".".join(other), NONE) for other in everything if other != registry]
        for entry, _ in code.entries_of(registry):
            reach = code.reach(stage, [*others, (".".join(registry), entry)])
            if any(d in reach.parents for d in wanted):
                chosen.append(f"{registry[1]} {entry}")
    return f" (only with {', '.join(chosen)})" if chosen else ""


def after(stages: Iterable[str]) -> set[str]:
    """The stages that read, directly or not, what these stages make."""
    following: set[str] = set()
    waiting = list(stages)
    while waiting:
        for stage in NEXT[waiting.pop()]:
            if stage not in following:
                following.add(stage)
                waiting.append(stage)
    return following


def dependencies(code: Code, stage: str) -> Iterator[str]:
    """What a stage reaches, by module, each with the definition that named it first."""
    reach = code.reach(stage)
    for module in sorted({module for module, _ in reach.parents}):
        yield module
        for definition, parent in reach.parents.items():
            if definition[0] == module and definition[1] != IMPORTED:
                yield f"    {definition[1]:<32} {'from ' + shown(parent) if parent else ''}"


def changes(stage: str, old: str, new: str | None = None) -> Iterator[str]:
    """What changed for a stage between two commits, or a commit and the working tree."""
    before = committed(old).reach(stage)
    after_ = (Code.read(SCRIPTS) if new is None else committed(new)).reach(stage)
    lines = []
    for definition in sorted({*before.parents, *after_.parents}):
        one, other = digest(before, definition), digest(after_, definition)
        if one != other:
            verb = "added" if one is None else "removed" if other is None else "changed"
            reach = before if other is None else after_
            chain = " -> ".join(shown(d) for d in reach.chain(definition))
            lines.append(f"{verb}: {shown(definition)}    ({chain})")
    yield from lines or [f"nothing that {stage} depends on changed"]


def digest(reach: Reach, definition: Definition) -> str | None:
    if definition not in reach.parents:
        return None
    return reach.code.modules[definition[0]].digest(definition[1])


def committed(revision: str) -> Code:
    """The scripts and the library of a commit."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LookupError(f"{revision}: git cannot read it ({done.stderr.strip()}).")
        return done.stdout

    folder = SCRIPTS.relative_to(ROOT).as_posix()
    names = git("ls-tree", "-r", "--name-only", revision, f"{folder}/").splitlines()
    texts = {
        ".".join(Path(name).relative_to(folder).with_suffix("").parts): git(
            "show", f"{revision}:{name}"
        )
        for name in names
        if name.endswith(".py")
    }
    return Code({name.removesuffix(".__init__"): text for name, text in texts.items()})


if __name__ == "__main__":
    sys.exit(main())
