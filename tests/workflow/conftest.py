"""One finished run of the tiny workflow, which the tests of the workflow share and copy."""

import pytest
from project import Project

WATCH = """
import atexit, json, os, sys, threading

FOLDER = os.environ.get("GRAFT_WATCH")
MARK = os.path.join("workflow", "scripts") + os.sep
STAGE = os.path.basename(sys.argv[0] if sys.argv else "").split(".")
called = set()


def watch(frame, event, argument):
    code = frame.f_code
    if MARK in code.co_filename and code.co_flags & 1:  # a function, not a class body or a module
        above = frame.f_back.f_code.co_name if frame.f_back else ""
        if not (code.co_name.startswith("<") and above == "<module>"):
            file = code.co_filename.rpartition(MARK)[2]
            called.add((file, code.co_firstlineno, code.co_name))


if FOLDER and len(STAGE) == 3 and STAGE[0].startswith("tmp") and STAGE[2] == "py":
    threading.settrace(watch)
    sys.settrace(watch)

    @atexit.register
    def write():
        sys.settrace(None)
        settings = sys.modules["__main__"].snakemake.params.recipe["settings"]
        with open(os.path.join(FOLDER, f"{STAGE[1]}.{os.getpid()}.json"), "w") as file:
            json.dump({"settings": settings, "called": sorted(called)}, file)
"""
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
