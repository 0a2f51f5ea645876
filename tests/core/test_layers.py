"""The packages of the library: imports go only from later ones to earlier ones."""

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

GRAFT = ROOT / "workflow" / "scripts" / "graft"
ORDER = [
    "core",
    "config",
    "download",
    "datasets",
    "images",
    "models",
    "training",
    "evaluation",
    "reporting",
]


def imported(path) -> set[str]:
    """The packages of the library that a module imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
    }
    names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    return {name.split(".")[1] for name in names if name.startswith("graft.")}


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_itself_and_earlier_ones_only(package):
    allowed = set(ORDER[: ORDER.index(package) + 1])
    for path in (GRAFT / package).rglob("*.py"):
        assert imported(path) <= allowed, path.relative_to(GRAFT)


def test_there_are_no_other_packages_and_no_code_in_init_files():
    assert {path.name for path in GRAFT.iterdir() if path.is_dir()} - {"__pycache__"} == {
        *ORDER,
        "demo",
    }
    assert all(path.read_text() == "" for path in GRAFT.rglob("__init__.py"))


def test_no_module_is_longer_than_400_lines():
    lengths = {p.relative_to(GRAFT): len(p.read_text().splitlines()) for p in GRAFT.rglob("*.py")}
    assert {str(path): n for path, n in lengths.items() if n > 400} == {}


@pytest.mark.parametrize(
    "module",
    [
        *("graft.evaluation.metrics", "graft.evaluation.compare", "graft.config.stages"),
        *("graft.evaluation.predictions", "graft.evaluation.bootstrap"),
    ],
)
def test_metrics_comparisons_and_config_need_no_torch(module):
    check = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], cwd=GRAFT.parent, check=False)
    assert done.returncode == 0
