"""One finished run of the tiny workflow, which the tests of the workflow share and copy."""

import pytest
from project import Project

WATCH = '''
import ast
import atexit
import builtins
import json
import os
import sys
from importlib.machinery import SourceFileLoader

FOLDER = os.environ.get("GRAFT_WATCH")
MARK = os.path.join("workflow", "scripts") + os.sep
STAGE = os.path.basename(sys.argv[0] if sys.argv else "").split(".")
called = set()


def record(file, line, name):
    # A lambda that a module calls while it is imported is part of its data.
    if name != "<lambda>" or sys._getframe(2).f_code.co_name != "<module>":
        called.add((file, line, name))


class Recorded(ast.NodeTransformer):
    """Each function begins by recording that it is called."""

    def __init__(self, file):
        self.file = file

    def call(self, node, name):
        line = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        values = map(ast.Constant, (self.file, line, name))
        return ast.Call(ast.Name("__record__", ast.Load()), list(values), [])

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        has_text = ast.get_docstring(node, clean=False) is not None
        node.body.insert(int(has_text), ast.Expr(self.call(node, node.name)))
        return node

    def visit_Lambda(self, node):
        self.generic_visit(node)
        both = ast.Tuple([self.call(node, "<lambda>"), node.body], ast.Load())
        node.body = ast.Subscript(both, ast.Constant(-1), ast.Load())
        return node


def get_code(self, name):
    path = self.get_filename(name)
    if MARK not in path:
        return usual(self, name)
    tree = Recorded(path.rpartition(MARK)[2]).visit(ast.parse(self.get_data(path)))
    return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


if FOLDER and len(STAGE) == 3 and STAGE[0].startswith("tmp") and STAGE[2] == "py":
    builtins.__record__ = record
    usual, SourceFileLoader.get_code = SourceFileLoader.get_code, get_code

    @atexit.register
    def write():
        settings = sys.modules["__main__"].snakemake.params.recipe["settings"]
        with open(os.path.join(FOLDER, f"{STAGE[1]}.{os.getpid()}.json"), "w") as file:
            json.dump({"settings": settings, "called": sorted(called)}, file)
'''
"""A `sitecustomize` that records a job's settings and each function of the project it calls."""


class Done(Project):
    """A finished run. `log` is what it printed; `watch` are the variables that record calls."""

    log: str
    watch: dict[str, str]


@pytest.fixture(scope="session")
def done(tmp_path_factory) -> Done:
    """A project in which everything has run once."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "sitecustomize.py").write_text(WATCH)
    (folder / "watch").mkdir()
    project = Done(folder / "project")
    project.watch = {"PYTHONPATH": str(folder), "GRAFT_WATCH": str(folder / "watch")}
    project.log = project.snakemake(environment=project.watch)
    return project


@pytest.fixture
def edited(done, tmp_path) -> Project:
    """A copy of the finished project that may be changed; its store is its own as well."""
    return done.copy(tmp_path / "project")
