"""envs/: the conda environment, the Dockerfile and Apptainer's definition are those of the lock.

`--sdm conda` runs here with a stand-in for `conda`. It answers what Snakemake asks, and makes an
environment from the pip section: a venv that sees the packages installed here, after every pin was
compared with them. This proves that Snakemake reads the file, creates and activates the environment
and runs the stages in it, and that the pins are those that are tested. It does not prove that conda
itself solves the file, nor that its channel has the Python asked for.
"""

import importlib.util
import re
import sys

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from project import COPIED, Project, executed

ENVS = ROOT / "envs"
CONDA = """#!{python}
import importlib.metadata, json, pathlib, sys, sysconfig, venv
import yaml
from packaging.requirements import Requirement

HERE = pathlib.Path(__file__).resolve().parent.parent
ACTIVATE = 'PATH="$1/bin:$PATH"; CONDA_PREFIX="$1"; export PATH CONDA_PREFIX; touch "$1/used"'
match sys.argv[1:]:
    case ["info", "--json"]:
        print(json.dumps({{"conda_prefix": str(HERE), "platform": "linux-64"}}))
    case ["--version"]:
        print("conda 24.11.0")
    case ["config", "--get", "channel_priority", "--json"]:
        print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
    case ["env", "create", "--quiet", "--no-default-packages", "--file", file, "--prefix", prefix]:
        *_, pip = yaml.safe_load(pathlib.Path(file).read_text())["dependencies"]
        for requirement in map(Requirement, pip["pip"]):
            if requirement.marker is None or requirement.marker.evaluate():
                found = importlib.metadata.version(requirement.name)
                if not requirement.specifier.contains(found, prereleases=True):
                    sys.exit(f"{{requirement}}: {{found}} is installed")
        venv.create(prefix, with_pip=False, symlinks=True)
        (site,) = pathlib.Path(prefix).glob("lib/python*/site-packages")
        (site / "here.pth").write_text(sysconfig.get_path("purelib"))
        (HERE / "bin" / "activate").write_text(ACTIVATE)
    case ["clean", "-y", "--tarballs"]:
        pass
    case other:
        sys.exit(f"the stand-in for conda does not know {{other}}")
"""


@pytest.fixture
def conda():
    spec = importlib.util.spec_from_file_location("conda_environment", ENVS / "conda.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_conda_environment_is_that_of_the_lock(conda):
    """`make lock` writes both."""
    lock = (ENVS / "graft.lock").read_text()
    environment = (ENVS / "graft.yaml").read_text()
    assert environment == conda.environment(lock)
    assert (ENVS / "graft.post-deploy.sh").read_text() == conda.post_deploy(lock)
    *_, pip = yaml.safe_load(environment)["dependencies"]
    locked = re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)
    listed = [Requirement(text).name for text in pip["pip"]]
    assert sorted([*listed, *conda.OVERRIDDEN]) == sorted(locked) and len(locked) > 100


def test_conda_can_read_what_it_is_asked_for():
    rattler = pytest.importorskip("rattler", reason="py-rattler is not installed")
    environment = yaml.safe_load((ENVS / "graft.yaml").read_text())
    *specs, _ = environment["dependencies"]
    names = [rattler.MatchSpec(spec, strict=True).name.normalized for spec in specs]
    assert names == ["python", "pip"]
    python = rattler.VersionSpec(rattler.MatchSpec(specs[0], strict=True).version)
    assert [python.matches(rattler.Version(f"3.{n}.4")) for n in (10, 11, 12, 13)] == [
        *(False, True, True, False)
    ]
    assert environment["channels"] == ["conda-forge", "nodefaults"]


@pytest.mark.workflow
def test_a_stage_runs_in_the_environment_that_conda_makes(tmp_path):
    binaries = tmp_path / "conda" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "conda").write_text(CONDA.format(python=sys.executable))
    (binaries / "conda").chmod(0o755)
    project = Project(tmp_path / "project")
    path = f"{binaries}:{project.environment()['PATH']}"
    target = "results/data/portraits/raw/wiki_crop.tar"
    log = project.snakemake(target, "--sdm", "conda", environment={"PATH": path})
    assert executed(log) == ["download"] and "Running post-deploy script" in log
    (made,) = (project.folder / ".snakemake" / "conda").glob("*/used")
    assert "Activating conda environment" in log and (made.parent / "bin" / "python").exists()


def instructions() -> list[tuple[str, str]]:
    """(instruction, the rest) of each line of the Dockerfile, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text()
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def sections() -> dict[str, list[str]]:
    """The sections of Apptainer's definition, each with its lines; the header is ''."""
    found, name = {"": []}, ""
    for line in (ENVS / "graft.def").read_text().splitlines():
        if line.startswith("%"):
            name = line.strip()
            found[name] = []
        elif line.strip() and not line.lstrip().startswith("#"):
            found[name].append(line.strip())
    return found


def test_the_dockerfile_installs_the_lock_and_runs_as_a_user():
    found = instructions()
    order = [name for name, _ in found]
    assert order[0] == "FROM" and order.count("FROM") == order.count("ENTRYPOINT") == 1
    assert set(order) <= {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT", "CMD"}
    copied = [rest.split()[:-1] for name, rest in found if name == "COPY"]
    assert all((ROOT / source).exists() for sources in copied for source in sources)
    assert set(COPIED) <= {source for sources in copied for source in sources}
    (run,) = (rest for name, rest in found if name == "RUN")
    assert "--require-hashes" in run and "envs/graft.lock" in run
    (user,) = (rest for name, rest in found if name == "USER")
    assert f"--uid {user} " in run and order.index("USER") > order.index("RUN")
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in ignored and {f"!{name}" for name in COPIED} <= set(ignored)


def test_the_apptainer_definition_is_that_of_the_dockerfile():
    found = sections()
    assert set(found) == {"", "%files", "%post", "%environment", "%runscript", "%test"}
    (image,) = (rest for name, rest in instructions() if name == "FROM")
    assert found[""] == ["Bootstrap: docker", f"From: {image}"]
    copied = dict(line.split() for line in found["%files"])
    assert copied == {name: f"/opt/graft/{name}" for name in COPIED}
    assert "--require-hashes" in found["%post"][0] and "graft.lock" in found["%post"][0]
    (entry,) = (rest for name, rest in instructions() if name == "ENTRYPOINT")
    assert " ".join(yaml.safe_load(entry)) in found["%runscript"][0]
    for place in (ROOT / "Dockerfile", ENVS / "graft.def"):
        assert "http" not in place.read_text() and "UNTESTED" in place.read_text()
