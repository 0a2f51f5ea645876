"""What a run that was disturbed leaves behind, and that the next run makes of it what is right.

Every stage meets every fault. The Snakefile, the rules, the adapter, the seals and the store are
the real ones; a stage's script is a stand-in that writes what follows from its recipe and inputs,
so that a run takes seconds. docs/reliability.md has the table.
"""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT
from project import Project, executed, planned
from snakemake.exceptions import WorkflowError

import caching
from graft.config import stages
from graft.core import seals, store
from graft.reporting import verify

pytestmark = pytest.mark.workflow

CHAIN = (
    *("download", "structure", "crop", "pack", "weights", "features", "train", "evaluate"),
    *("compare", "labels", "plots", "overview", "report", "track"),
)
"""The stages of `all`, each after those that it reads from."""

SMALL = """
run: [portraits_sex]
experiments:
  portraits_sex: {source: imagenet_resnet18, modes: [feature_extraction, fine_tuning]}
overviews: {both: {experiments: [portraits_sex]}}
"""

SCRIPT = """import stand_in
from adapter import Job
from snakemake.exceptions import WorkflowError

from graft.config.{module} import {settings}

with Job(snakemake, {settings}) as job:
    stand_in.make(job)
"""

STAND_IN = '''
import os
import resource
import signal

from graft.core.errors import GraftError


def write(job, path):
    path.write_text(f"{job.identity} {path.name}" * 9)


def disturb(kind):
    if kind == "fails":
        raise GraftError("a.csv: this test makes the job fail. Run again.")
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))


def make(job):
    """Write every output from the recipe and the inputs; FAULT disturbs a stage half-way."""
    stage, kind = os.environ.get("FAULT", "none none").split(" ", 1)
    *outputs, last = [path for role, path in job.files.items() if role != "seal"] or [None]
    for path in outputs:
        write(job, path)
    if job.recipe["stage"] == stage:
        disturb(kind)
    if last:
        write(job, last)
    job.results = {"written": True}
'''


def made(log: str) -> Counter:
    """How many jobs of each stage a run has finished."""
    return Counter(rule for rule in executed(log) if rule != "all")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Project:
    """A project of stand-ins in which everything has run once."""
    project = Project(tmp_path_factory.mktemp("faults") / "project")
    scripts = project.folder / "workflow/scripts"
    (scripts / "stand_in.py").write_text(STAND_IN)
    for stage in (*CHAIN, "predict", "export"):
        settings = f"{stage.title()}Settings"
        module = "stages" if hasattr(stages, settings) else "reports"
        script = SCRIPT.format(module=module, settings=settings)
        (scripts / f"{stage}.py").write_text(script)
    project.overlays.append(Path("small.yaml"))
    (project.folder / "small.yaml").write_text(SMALL)
    project.log = project.forked()
    return project


@pytest.fixture
def copied(finished, tmp_path) -> Project:
    """A copy, with a store of its own, without the records that Snakemake keeps."""
    copy = finished.copy(tmp_path / "project")
    shutil.rmtree(copy.folder / ".snakemake")
    return copy


@pytest.fixture(scope="module")
def following(finished) -> dict[str, Counter]:
    """Stage -> what is to be run if its first job is, by Snakemake's own graph."""
    return {
        stage: Counter(planned(finished.dry_run("--forcerun", str(seal_of(finished, stage)))))
        for stage in CHAIN
    }


@pytest.fixture(scope="module")
def undisturbed(finished, tmp_path_factory) -> dict[str, bytes]:
    """The end state with another lock, reached in one run."""
    project = relocked(finished.copy(tmp_path_factory.mktemp("undisturbed") / "project"))
    project.forked()
    return contents(project)


SEALS = {
    "download": "data/portraits/raw/*.seal.json",
    "structure": "data/portraits/data_file.seal.json",
    "crop": "data/portraits/crops/train-00.seal.json",
    "pack": "data/portraits/packs/train-00.seal.json",
    "weights": "sources/*.seal.json",
    "features": "features/portraits/*/*/train-00.seal.json",
    "train": "experiments/portraits_sex/feature_extraction/0/fit.json",
    "evaluate": "experiments/portraits_sex/feature_extraction/0/metrics.json",
    "compare": "experiments/portraits_sex/comparison.seal.json",
    "labels": "experiments/portraits_sex/labels.seal.json",
    "plots": "experiments/portraits_sex/plots/plots.seal.json",
    "overview": "overviews/both/overview.seal.json",
    "report": "report.seal.json",
    "track": "experiments/portraits_sex/mlflow.json",
}
"""Stage -> the seal of the one job that is damaged."""


def seal_of(project: Project, stage: str) -> Path:
    """Relative to the project."""
    (seal,) = project.results.glob(SEALS[stage])
    return seal.relative_to(project.folder)


def first_output(project: Project, stage: str) -> Path:
    """An output of the stage's job; of a job that has none its seal."""
    seal = project.folder / seal_of(project, stage)
    outputs = seals.read(seal)["seal"]["outputs"].values()
    return next((seal.with_name(output["file"]) for output in outputs), seal)


def contents(project: Project) -> dict[str, bytes]:
    """Every artefact's bytes; of the seals, what was made of what, without times."""
    found = {}
    for listed in (*verify.SEALED_FILES, *verify.SEALED_FOLDERS):
        top = project.results / listed
        for path in (top, *sorted(top.rglob("*"))):
            name = str(path.relative_to(project.results))
            if path.is_file() and seals.is_seal(path):
                seal = seals.read(path)["seal"]
                found[name] = (seal["identity"], seal["inputs"])
            elif path.is_file():
                found[name] = path.read_bytes()
    return found


def damaged(project: Project) -> list[verify.Problem]:
    """What `make repair` would remove, apart from figures: the stand-ins write none."""
    problems = verify.verify_results(project.results)
    return [problem for problem in problems if " lacks the " not in problem.sentence]


def relocked(project: Project) -> Project:
    """Another version of a package in the lock: all artefacts are stale."""
    with open(project.folder / "envs/graft.lock", "a") as file:
        file.write("another==1.0\n")
    return project


FAILURES = ("fails", "killed", "disk full")


def test_after_a_job_that_failed_a_rerun_makes_it_and_what_follows(finished, undisturbed, tmp_path):
    """In one directory, where the results of an older run are, a job of each stage is disturbed in
    each way; each rerun plans exactly what has not been made since."""
    project = relocked(finished.copy(tmp_path / "project"))
    todo = made(finished.log)
    for stage, kind in itertools.product(CHAIN, FAILURES):
        log = project.forked(
            *("--prioritize", stage, "--cores", "1"),
            environment={"FAULT": f"{stage} {kind}"},
            cores=False,
            check=False,
        )
        assert Counter(planned(log)) == todo, (stage, kind)
        assert "Traceback" not in log, (stage, kind, log[log.index("Traceback") :][:3000])
        assert f"Error in rule {stage}" in log
        todo -= made(log)
        assert todo[stage], "the job was disturbed"
    assert made(project.forked()) == todo
    assert "Nothing to be done" in project.dry_run()
    assert contents(project) == undisturbed
    assert damaged(project) == []
    assert list(verify.verify_store(project.store)) == []


def rewrite(path: Path, data: bytes) -> None:
    """Change a file in its place, as another program does that does not know of the store."""
    path = path.resolve()
    path.chmod(0o644)
    path.write_bytes(data)


def flip(path: Path) -> None:
    data = path.read_bytes()
    rewrite(path, bytes([data[0] ^ 1]) + data[1:])


def discard_entry(path: Path) -> None:
    shutil.rmtree(path.resolve().parent)


REPAIRED = {
    "output truncated": lambda seal, output: rewrite(output, output.read_bytes()[:-1]),
    "output changed": lambda seal, output: flip(output),
    "seal changed": lambda seal, output: flip(seal),
}
"""Damage that stops a run until `make repair` has removed it, since it may be a user's work."""

REDONE = {
    "output deleted": lambda seal, output: output.unlink(),
    "seal deleted": lambda seal, output: seal.unlink(),
    "store entry deleted": lambda seal, output: discard_entry(seal),
}


@pytest.mark.parametrize("fault", [*REDONE, *REPAIRED])
def test_what_is_lost_or_damaged_is_made_again_with_what_follows(
    finished, following, tmp_path, fault
):
    cached = [stage for stage in CHAIN if stage not in ("report", "track")]
    stages = cached if fault == "store entry deleted" else CHAIN
    # What follows a repair is the same for each damage; each stage has one of them.
    stages = stages[[*REPAIRED].index(fault) :: 3] if fault in REPAIRED else stages
    for stage in stages:
        project = finished.copy(tmp_path / stage)
        seal, output = project.folder / seal_of(project, stage), first_output(project, stage)
        damage = (REDONE | REPAIRED)[fault]
        damage(seal, output)
        for problem in damaged(project) if fault in REPAIRED else ():
            verify.remove(problem, project.store)
        assert planned(project.dry_run()) == following[stage], stage
    project.forked()
    assert contents(project) == contents(finished)


def wipe(project: Project) -> None:
    shutil.rmtree(project.folder / ".snakemake")


def touch(project: Project) -> None:
    for path in project.folder.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            os.utime(path)
            os.utime(path, follow_symlinks=False)


def mark_as_fresh(project: Project) -> None:
    """With `--touch` Snakemake's records are those of today's config."""
    project.forked("--touch")


def move_store(project: Project) -> None:
    project.store = project.store.rename(f"{project.store}-moved")


def move(project: Project) -> None:
    project.folder = project.folder.rename(f"{project.folder}-moved")
    project.store = project.folder / ".store"


def copy_as_cp(project: Project) -> None:
    """As `cp -r` does: files have the time of the copy, and links are files."""
    copied = Path(f"{project.folder}-copied")
    shutil.copytree(project.folder, copied, copy_function=shutil.copyfile)
    project.folder, project.store = copied, copied / ".store"


UNCHANGED = [wipe, touch, mark_as_fresh, move_store, move, copy_as_cp]


@pytest.mark.parametrize("disturb", UNCHANGED)
def test_what_changes_no_artefact_reruns_nothing_and_hides_no_change(finished, tmp_path, disturb):
    project = finished.copy(tmp_path / "project")
    disturb(project)
    assert "Nothing to be done" in project.dry_run()
    assert contents(project) == contents(finished)
    relocked(project)
    disturb(project)
    assert planned(project.dry_run()) == made(finished.log)


def test_without_its_store_everything_is_made_again(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    shutil.rmtree(project.store)
    assert made(project.forked()) == made(finished.log)
    assert contents(project) == contents(finished)


def test_results_stay_in_results_if_the_store_cannot_be_written(finished, undisturbed, tmp_path):
    """Root, who may run the tests, may write anywhere but below a file."""
    project = relocked(finished.copy(tmp_path / "project"))
    (tmp_path / "file").write_text("")
    project.store = tmp_path / "file" / "store"
    log = project.forked()
    assert f"store: {project.store} cannot be written" in log
    assert contents(project) == undisturbed
    assert not [path for path in project.results.rglob("*") if path.is_symlink()]
    assert "Nothing to be done" in project.dry_run()


def test_the_report_shows_what_is_up_to_date_and_lists_what_failed(finished, tmp_path):
    project = relocked(finished.copy(tmp_path / "project"))
    project.forked("-k", environment={"FAULT": "plots fails"}, check=False)
    log = project.forked("--report", "report.html", cores=False)
    report = (project.folder / "report.html").read_text(encoding="utf-8")
    assert "Adding overview.svg" in log and "Adding mode_comparison.svg" not in log
    assert "Not all results are shown" in report
    assert "results/experiments/portraits_sex/plots/mode_comparison.svg</tt></li>" in report
    assert "graft plots: a.csv: this test makes the job fail" in report
    project.forked()
    log = project.forked("--report", "report.html", cores=False)
    report = (project.folder / "report.html").read_text(encoding="utf-8")
    assert "Adding mode_comparison.svg" in log and "Not all results are shown" not in report


AS_USER = (  # who may read all, since Python may be in a folder of root's
    *("setpriv", "--reuid={0}", "--regid={0}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


@pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("setpriv"), reason="only root can run jobs as other users"
)
def test_two_users_fill_one_store_at_once(finished):
    """With the umasks 077 and 022; each begins with what the other does not make, and uses what
    the other has made."""
    umasks = {4001: 0o077, 4002: 0o022}
    with tempfile.TemporaryDirectory(prefix="graft-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "store").mkdir()
        (folder / "store").chmod(0o1777)
        projects = {}
        for uid in umasks:
            project = projects[uid] = relocked(finished.copy(folder / str(uid)))
            shutil.rmtree(project.results)
            project.store = folder / "store"
            for path in (project.folder, *project.folder.rglob("*")):
                os.chown(path, uid, uid, follow_symlinks=False)

        def run(targets: dict[int, list[str]]) -> None:
            """Both users at once."""
            running = [
                subprocess.Popen(
                    [word.format(uid) for word in AS_USER] + project.command(*targets[uid]),
                    cwd=project.folder,
                    env={**project.environment(), "HOME": str(project.folder), "USER": str(uid)},
                    umask=umasks[uid],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
                for uid, project in projects.items()
            ]
            for process in running:
                printed, _ = process.communicate()
                assert process.returncode == 0, printed[-4000:]

        begun = {4001: seal_of(finished, "structure"), 4002: seal_of(finished, "weights")}
        run({uid: [str(seal)] for uid, seal in begun.items()})
        run({uid: [] for uid in projects})
        assert list(verify.verify_store(folder / "store")) == []
        first, second = map(contents, projects.values())
        assert first == second and len(first) > 60
        entries = list(store.entries(folder / "store"))
        assert {entry.stat().st_uid for entry in entries} == set(umasks)
        assert {entry.stat().st_mode & 0o777 for entry in entries} == {0o755}
        files = [path for entry in entries for path in entry.iterdir()]
        assert {path.stat().st_mode & 0o777 for path in files} == {0o444}
        for project in projects.values():
            assert "Nothing to be done" in project.dry_run()


@pytest.mark.parametrize("fault", REPAIRED)
def test_what_is_damaged_stops_a_run_that_would_use_it(finished, tmp_path, fault):
    for stage in CHAIN:
        project = finished.copy(tmp_path / stage)
        seal, output = project.folder / seal_of(project, stage), first_output(project, stage)
        REPAIRED[fault](seal, output)
        problem = project.dry_run(check=False)
        assert "make repair" in problem
        assert output.name in problem or seal.name in problem


def test_prune_removes_what_no_result_uses_after_asking(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    relocked(project).forked()
    before = len(list(store.entries(project.store)))
    for answer, left in (("", before), ("y", before // 2)):
        done = subprocess.run(
            [
                *(sys.executable, "workflow/scripts/prune.py"),
                *("--configfile", *map(str, project.overlays)),
            ],
            cwd=project.folder,
            env=project.environment(),
            input=f"{answer}\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert re.search(rf"^0 results .* and {before // 2} entries", done.stdout, re.MULTILINE)
        assert len(list(store.entries(project.store))) == left
    assert "Nothing to be done" in project.dry_run()


def test_prune_removes_what_the_config_no_longer_names(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    results = project.results
    for name in ("experiments/old/m/0/model.safetensors", "data/old/packs/a.h5"):
        (results / name).parent.mkdir(parents=True)
        (results / name).touch()
    kept = {path for path in results.rglob("*") if "/old" not in str(path)}
    runs = results / "experiments/portraits_sex/fine_tuning/0"
    exported = runs / "model.onnx"
    own = results / "notes.txt"
    for path in (exported, own, results / "mlflow" / "x", results / "logs" / "y.log"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
        kept.add(path)
    command = [sys.executable, "workflow/scripts/prune.py", "--yes"]
    command += ["--configfile", *map(str, project.overlays)]
    done = subprocess.run(
        command,
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "results/experiments/old/m/0: not in the config" in done.stdout
    assert "2 results that the config does not name" in done.stdout
    assert not (results / "experiments/old").exists() and not (results / "data/old").exists()
    assert kept <= set(results.rglob("*"))


@pytest.mark.parametrize("way", ["-f", "profile"])
def test_what_is_forced_is_redone_and_not_taken_from_the_store(finished, tmp_path, way):
    project = finished.copy(tmp_path / "project")
    seal = str(seal_of(finished, "compare"))
    if way == "-f":
        log = project.forked("-f", seal)
    else:
        with open(project.folder / "profiles/default/config.yaml", "a") as file:
            file.write(f"forcerun: [{seal}]\n")
        log = project.forked(seal)
    assert made(log) == {"compare": 1} and "Linking results/" not in log
    assert not (project.folder / seal).is_symlink()


def test_a_run_needs_room_for_its_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    caching.check_room(tmp_path / "store")
    monkeypatch.setattr(caching.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**8))
    with pytest.raises(WorkflowError, match=r"results/: 100 MB are free, and a run needs 200"):
        caching.check_room(tmp_path / "store")


def test_the_table_of_faults_has_every_fault():
    table = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    faults = [*FAILURES, *REDONE, *REPAIRED, *(f"({change.__name__})" for change in UNCHANGED)]
    assert [fault for fault in faults if f"{fault} " not in table] == []
    assert [stage for stage in CHAIN if stage not in table] == []
