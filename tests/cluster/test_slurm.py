"""The workflow on a real Slurm cluster of two nodes (see `slurm`).

The nodes share two real cores, so the runs are as small as can be.
"""

import json
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT
from project import Project, executed

from graft.core import instructions
from graft.reporting.artefacts import digests

pytestmark = pytest.mark.workflow

SOURCE = """
run: [portraits_identity]
overviews: {both: {experiments: [portraits_identity]}}
"""
"""The first experiment of the tiny configuration: all stages but `features`."""

LONG = "experiments: {{portraits_identity: {{train: {{epochs: {}, patience: null}}}}}}"
QUICK = ("--slurm-init-seconds-before-status-checks", "1")
NEVER_CACHED = {"report", "track"}


class OnSlurm(Project):
    """A project whose jobs are submitted to the cluster; `more` are the texts of overlays."""

    def __init__(self, folder: Path, cluster, *more: str, store: Path | None = None):
        super().__init__(folder, store=store)
        self.cluster = cluster
        for number, text in enumerate((SOURCE, *more)):
            overlay = folder / f"overlay_{number}.yaml"
            overlay.write_text(text)
            self.overlays.append(overlay)

    def command(self, *arguments, profile="slurm", cores=False):
        quick = QUICK if profile == "slurm" else ()
        return super().command(*arguments, *quick, profile=profile, cores=cores)

    def environment(self):
        return {**super().environment(), **self.cluster.environment}

    def start(self, *arguments: str) -> subprocess.Popen:
        """A run in the background; what it prints is in `printed`."""
        with open(self.folder / "printed.txt", "w") as printed:
            return subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                env=self.environment(),
                stdout=printed,
                stderr=subprocess.STDOUT,
            )

    @property
    def printed(self) -> str:
        return (self.folder / "printed.txt").read_text()


def until(condition, running: subprocess.Popen, limit: float = 150) -> None:
    """Wait for something that a run does."""
    give_up = time.monotonic() + limit
    while not condition():
        assert running.poll() is None, "the run ended before"
        assert time.monotonic() < give_up, "this never came"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def finished(cluster, tmp_path_factory) -> OnSlurm:
    """A run on both nodes, from the download to the report. `jobs` are Slurm's."""
    project = OnSlurm(tmp_path_factory.mktemp("finished") / "project", cluster)
    before = len(cluster.jobs())
    project.log = project.snakemake()
    project.jobs = cluster.jobs()[before:]
    return project


def test_a_cluster_makes_the_published_bytes(finished):
    golden = json.loads((ROOT / "tests/golden.json").read_text())["tiny"]
    if instructions.kind() not in golden["cpus"]:
        pytest.skip(f"no bytes are published from this CPU ({instructions.kind()})")
    published = golden["digests"]
    found = digests(finished.results)
    expected = {name for name in published if "portraits_identity" in name} - {
        name for name in published if name.startswith(("features", "sources"))
    }
    assert expected <= set(found)
    assert {name: found[name] for name in expected} == {name: published[name] for name in expected}


def test_jobs_run_on_both_nodes_with_what_the_rules_ask_for(finished):
    jobs = finished.jobs
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert {job["NodeList"] for job in jobs} == {"vn1", "vn2"}
    # `crop` and `pack` of each of the four parts share a job, and so do the findings.
    asked = Counter((job["TimeLimit"], re.search(r"mem=(\d+)M", job["Tres"])[1]) for job in jobs)
    assert asked == {
        **{
            ("480", "1000"): 1,
            ("240", "4000"): 1,
            ("360", "4000"): 4,
        },  # download, structure, parts
        **{("480", "8000"): 1, ("120", "9000"): 1, ("120", "4000"): 1},  # train, evaluate, findings
        **{("60", "4000"): 1, ("60", "2000"): 2},  # overview; report and track
    }


def test_what_the_store_has_is_not_submitted(finished, cluster, tmp_path):
    again = OnSlurm(tmp_path / "project", cluster, store=finished.store)
    before = len(cluster.jobs())
    again.snakemake()
    assert len(cluster.jobs()) - before == len(NEVER_CACHED)


def test_parts_are_submitted_as_an_array(finished, cluster, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(finished.store, store)
    for path in finished.results.glob("data/*/[cp]*s/*.h5"):  # crops and packs
        shutil.rmtree(store / path.resolve().parent.name, ignore_errors=True)
    project = OnSlurm(tmp_path / "project", cluster, store=store)
    before = len(cluster.jobs())
    project.snakemake("all_crop", "--groups", "compare=findings", "--slurm-array-jobs", "crop")
    crops = cluster.jobs()[before:]
    assert sorted(job["ArrayTaskId"] for job in crops) == ["1", "2", "3", "4"]
    assert len({job["ArrayJobId"] for job in crops}) == 1


def test_a_workstation_takes_what_a_cluster_made(finished, cluster, tmp_path):
    again = OnSlurm(tmp_path / "project", cluster, store=finished.store)
    log = again.snakemake(profile="default", cores=True)
    linked = {line.split()[1] for line in log.splitlines() if line.startswith("Linking ")}
    assert len(linked) > 20 and set(executed(log)) >= NEVER_CACHED
    assert all((again.folder / path).is_symlink() for path in linked)


def test_a_job_killed_for_memory_is_tried_again_with_more(cluster, tmp_path):
    project = OnSlurm(tmp_path / "project", cluster)
    little = "download:mem_mb=100 + 2000 * (attempt - 1)"
    before = len(cluster.jobs())
    log = project.snakemake("all_download", "--set-resources", little)
    states = [job["JobState"] for job in cluster.jobs()[before:]]
    # Slurm calls it FAILED where it watches memory itself.
    assert states[0] != "COMPLETED" == states[1]
    assert "with OUT_OF_MEMORY (attempt 1 of 3, mem_mb=100, runtime=480)" in log


def test_memory_that_never_is_enough_ends_with_the_reason_and_the_remedy(cluster, tmp_path):
    project = OnSlurm(tmp_path / "project", cluster)
    options = ("--retries", "0", "--set-resources", "download:mem_mb=100")
    log = project.snakemake("all_download", *options, check=False)
    ending = log[log.rindex("What failed:") :]
    assert "graft download: Slurm ended job" in ending and "OUT_OF_MEMORY" in ending
    assert "--set-resources download:mem_mb=200" in ending


def test_impossible_resources_end_with_the_message_of_slurm(cluster, tmp_path):
    project = OnSlurm(tmp_path / "project", cluster)
    options = ("--retries", "0", "--set-resources", "download:mem_mb=999999")
    log = project.snakemake("all_download", *options, check=False)
    refused = "graft download: Slurm refuses the job: Memory specification can not be satisfied"
    assert refused in log[log.rindex("What failed:") :] and not cluster.queued()


def test_a_cancelled_training_resumes_from_its_last_epoch(cluster, finished, tmp_path):
    project = OnSlurm(tmp_path / "project", cluster, LONG.format(150), store=finished.store)
    running = project.start("--retries", "0", "all_train")
    until(lambda: list(project.results.glob("experiments/*/*/0/.checkpoint.pt")), running)
    cluster.run("scancel", *cluster.queued())
    assert running.wait(120) != 0 and "with CANCELLED" in project.printed
    project.snakemake("all_train")
    log = project.results / "logs/train/portraits_identity/from_scratch/0.log"
    (done, epochs), *_ = re.findall(r"(\d+)/(\d+) \[", log.read_text())
    assert 0 < int(done) < int(epochs)


def test_an_interrupt_cancels_the_jobs(cluster, finished, tmp_path):
    project = OnSlurm(tmp_path / "project", cluster, LONG.format(3000), store=finished.store)
    running = project.start("all_train")
    until(cluster.queued, running)
    running.send_signal(signal.SIGINT)
    assert running.wait(120) != 0
    assert not cluster.queued()
