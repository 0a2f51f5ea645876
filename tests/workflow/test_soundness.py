"""Recipes are sound: whatever code of ours a stage executes is in what the stage reaches.

The tiny workflow is run by the real command with every job watched (see conftest), and then with
more beside it.
"""

import ast
import json
from collections import defaultdict
from pathlib import Path

import pytest
from conftest import ROOT

from graft.core.code import IMPORTED, Code

pytestmark = pytest.mark.workflow

FILES = {
    "digits-images-idx3-ubyte.gz": {"render": {"kind": "digits"}},
    "digits-labels-idx1-ubyte.gz": {"render": {"kind": "digits"}},
}
MORE = {
    "datasets": {
        "digits": {
            "layout": "mnist",
            "files": FILES,
            "label": "digit",
            "crop": "whole",
            "packed_size": 32,
            "limit": {"train": 40, "val": 20, "test": 20},
        },
    },
    "experiments": {
        "few": {
            "dataset": "digits",
            "source": "portraits_identity",
            "modes": ["fine_tuning", "freeze_conv2_1"],
            "train": {"epochs": 1},
        }
    },
    "run": ["portraits_sex", "few"],
    "predict": {"pictures": "photos", "experiment": "few"},
}
"""Beside the tiny default: another layout, a cut within a block, predictions and exports."""


@pytest.fixture(scope="module")
def executed(done, tmp_path_factory) -> dict[str, set[tuple[str, int, str]]]:
    """stage -> (module's file, line, name) of every function that its jobs called."""
    project = done.copy(tmp_path_factory.mktemp("soundness") / "project")
    overlay = project.folder / "more.yaml"
    overlay.write_text(json.dumps(MORE))
    project.overlays.append(overlay)
    (project.folder / "photos").mkdir()
    (project.folder / "photos/grey.pgm").write_bytes(b"P5 16 16 255\n" + bytes(range(256)))
    project.snakemake("all", "predict", "all_export", environment=done.watch)
    calls: dict[str, set[tuple[str, int, str]]] = defaultdict(set)
    for path in Path(done.watch["GRAFT_WATCH"]).glob("*.json"):
        calls[path.name.split(".")[0]] |= {tuple(call) for call in json.loads(path.read_text())}
    return calls


def definition_at(text: str, line: int) -> str:
    """The name of the module-level definition that a line belongs to."""
    for node in ast.parse(text).body:
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        if first <= line <= (node.end_lineno or first):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                return node.name
            targets = (
                node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            )
            names = [t.id for t in targets if isinstance(t, ast.Name)]
            return names[0] if names else IMPORTED
    return IMPORTED


STAGES = [
    *("download", "structure", "crop", "pack", "weights", "features", "train"),
    *("evaluate", "compare", "plots", "overview", "track", "predict", "export"),
]


@pytest.mark.parametrize("stage", STAGES)
def test_every_function_that_a_stage_executes_is_in_what_it_reaches(executed, stage):
    scripts = ROOT / "workflow" / "scripts"
    reach = Code.read(scripts).reach(stage)
    missing, library = set(), 0
    for file, line, _ in executed[stage]:
        path = scripts / file
        module = ".".join(Path(file).with_suffix("").parts)
        name = definition_at(path.read_text(encoding="utf-8"), line)
        library += module.startswith("graft.")
        if (module, name) not in reach.parents:
            missing.add(f"{module}.{name}")
    assert library > 5, "nothing was recorded"
    assert missing == set()
