"""profiles/generic: jobs through the commands of a batch system, here a stand-in for PBS.

`qsub` really starts the job, in a session of its own; `qstat` knows it while it lives, and forgets
it then, as PBS without a history does; `qdel` kills it. Of SGE and LSF only the options are tested;
nothing here runs a real one.
"""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from project import Project, executed, planned

PROFILE = ROOT / "profiles" / "generic"
SUBMIT = """#!/bin/sh
set -e
cd "{folder}"
number=$(ls | wc -l)
mkdir "$number"
printf '%s\\n' "$@" > "$number/arguments"
cat > "$number/script"
while [ $# -gt 1 ]; do [ "$1" = -o ] && log=$2; shift; done
# PBS starts jobs in the home folder, with a new environment.
cd /
env -i PATH="$PATH" HOME="$HOME" OMP_NUM_THREADS=1 BEFORE="$BEFORE" \\
  setsid sh -c 'echo $$ > "$0/pid"; eval "$BEFORE"; exec sh "$0/script"' "{folder}/$number" \
  > "$log" 2>&1 &
while [ ! -s "{folder}/$number/pid" ]; do sleep 0.01; done
echo "$number.server"
"""
STATUS = """#!/bin/sh
for job; do :; done
echo "$job" >> "{folder}.asked"
sleep "$SLOW"
if grep -qs '^State:.[^ZX]' "/proc/$(cat "{folder}/${{job%.server}}/pid")/status"
then echo "    job_state = R"
else echo "qstat: Unknown Job Id $job" >&2; exit 153
fi
"""
CANCEL = """#!/bin/sh
for job; do kill -s TERM -- "-$(cat "{folder}/${{job%.server}}/pid")"; done
"""
TARGET = "results/data/portraits/data_file.csv"

pytestmark = pytest.mark.workflow
needs_plugin = pytest.mark.skipif(
    importlib.util.find_spec("snakemake_executor_plugin_cluster_generic") is None,
    reason="snakemake-executor-plugin-cluster-generic is not installed",
)


class Batch(Project):
    """A project on a machine with the stand-in.

    `before` is run in front of each job's script; `slow` are the seconds that `qstat` takes.
    """

    def __init__(self, folder, before="", slow=0):
        super().__init__(folder / "project")
        self.jobs, self.bin = folder / "jobs", folder / "bin"
        self.before, self.slow = before, slow
        self.jobs.mkdir()
        self.bin.mkdir()
        for name, text in (("qsub", SUBMIT), ("qstat", STATUS), ("qdel", CANCEL)):
            (self.bin / name).write_text(text.format(folder=self.jobs))
            (self.bin / name).chmod(0o755)

    def command(self, *arguments, **options):
        soon = ["--seconds-between-status-checks", "1", "--latency-wait", "5"]
        *command, profile = super().command(*arguments, *soon, profile="generic", cores=False)
        # Scripts of a profile are looked for in the working directory, unless its path is absolute.
        return [*command, str(self.folder / profile) if "--directory" in arguments else profile]

    def environment(self):
        path = os.pathsep.join([str(self.bin), os.environ["PATH"]])
        ours = {"PATH": path, "BEFORE": self.before, "SLOW": str(self.slow)}
        settings = {"GRAFT_BATCH": "pbs", "GRAFT_BATCH_WAIT": "0"}
        return {**super().environment(), **settings, **ours}

    def arguments(self) -> list[str]:
        """What `qsub` was given for each job, in their order."""
        return [
            " ".join((job / "arguments").read_text().split("\n"))
            for job in sorted(self.jobs.iterdir())
        ]

    def alive(self) -> list[str]:
        """The jobs of which the process lives."""
        pids = {path.parent.name: path.read_text().strip() for path in self.jobs.glob("*/pid")}
        states = {job: Path("/proc", pid, "status") for job, pid in pids.items()}
        return [
            job
            for job, state in states.items()
            if state.exists() and not re.search(r"^State:\s[ZX]", state.read_text(), re.MULTILINE)
        ]


@needs_plugin
def test_jobs_run_with_the_threads_memory_and_time_of_their_rules(tmp_path):
    project = Batch(tmp_path)
    resources = ["structure:mem_mb=1234", "structure:runtime=75", "structure:batch_options='-q x'"]
    run = project.folder / "runs" / "first"
    options = ["--set-resources", *resources, "--retries", "0", "--directory", "runs/first"]
    log = project.snakemake(TARGET, *options)
    assert executed(log) == ["download", "structure"] and (run / TARGET).exists()
    download, structure = project.arguments()
    assert re.search(r"-l select=1:ncpus=1:mem=\d+mb -l walltime=\d+:\d\d:00 $", download)
    assert "-l select=1:ncpus=1:mem=1234mb -l walltime=01:15:00 -q x" in structure
    assert "-N snakejob.structure." in structure
    # What became of a job that succeeded is not needed any more.
    assert list((run / ".snakemake" / "batch").iterdir()) == []
    assert project.alive() == []


@needs_plugin
def test_the_profile_plans_what_the_default_one_does(tmp_path):
    here = Project(tmp_path / "here")
    assert planned(Batch(tmp_path).dry_run()) == planned(here.dry_run()) != {}


@needs_plugin
def test_a_job_that_fails_is_noticed_with_what_it_printed(tmp_path):
    project = Batch(tmp_path)
    (project.folder / "workflow" / "scripts" / "download.py").write_text("raise SystemExit(3)\n")
    log = project.snakemake(TARGET, "--retries", "0", check=False)
    printed = re.search(r"^Job 0\.server failed; what it printed is in (\S+)\.$", log, re.MULTILINE)
    assert "rule download" in Path(printed.group(1)).read_text()


@needs_plugin
def test_a_job_that_is_killed_is_noticed_and_submitted_again(tmp_path):
    project = Batch(tmp_path, before="kill -KILL $$")
    log = project.snakemake(TARGET, "--retries", "1", check=False)
    assert len(project.arguments()) == 2 and "Trying to restart job" in log
    assert log.count("left the queue without an exit status: it was killed, perhaps for its") == 2


@needs_plugin
@pytest.mark.parametrize("slow", [0, 2])
def test_an_interrupted_run_cancels_its_jobs(tmp_path, slow):
    """Also one whose status is being asked for: Snakemake has it on no list then (guard.py)."""
    project = Batch(tmp_path, before="sleep 60", slow=slow)
    with open(tmp_path / "log", "w") as file:
        running = subprocess.Popen(
            project.command(TARGET),
            cwd=project.folder,
            env=project.environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        give_up = time.monotonic() + 60
        while not project.alive() or not (tmp_path / "jobs.asked").exists():
            assert running.poll() is None and time.monotonic() < give_up
            time.sleep(0.1)
        time.sleep(0.5)  # a quick `qstat` has answered, a slow one has not
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) != 0
        assert project.alive() == []
    finally:
        running.kill()
        running.wait()
        for job in project.alive():
            os.killpg(int((project.jobs / job / "pid").read_text()), signal.SIGKILL)


@pytest.fixture
def batch(monkeypatch):
    monkeypatch.syspath_prepend(str(PROFILE))
    spec = importlib.util.spec_from_file_location("batch", PROFILE / "batch.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "batch", module)
    spec.loader.exec_module(module)
    return module


def test_each_batch_system_is_asked_in_its_own_words(batch):
    asked = batch.Asked("train.1", "/w/train.1.log", threads=4, memory=9001, minutes=90, gpus=1)
    options = {name: " ".join(system.submit(asked)) for name, system in batch.SYSTEMS.items()}
    # PBS Professional 19, qsub(1B) and pbs_resources(7B)
    assert "-l select=1:ncpus=4:mem=9001mb:ngpus=1 -l walltime=01:30:00" in options["pbs"]
    # Torque 6, "Requesting resources"
    assert "-l nodes=1:ppn=4:gpus=1 -l mem=9001mb,walltime=01:30:00" in options["torque"]
    # Son of Grid Engine 8.1, qsub(1) and complex(5): h_vmem is a slot's, h_rt in seconds
    assert "-terse -j y -pe smp 4 -l h_vmem=2251M,h_rt=5400 -l gpu=1" in options["sge"]
    # LSF 10.1, bsub: -W in minutes
    memory = "-n 4 -M 9001MB -R rusage[mem=9001MB] span[hosts=1] -W 90 -gpu num=1"
    assert memory in options["lsf"]


@pytest.mark.parametrize(
    ("system", "submitted", "number"),
    [
        ("pbs", "4711.server.site\n", "4711.server.site"),
        ("sge", "4711\n", "4711"),
        ("lsf", "Job <4711> is submitted to default queue <normal>.\n", "4711"),
    ],
)
def test_the_id_of_a_job_is_found_in_what_is_printed(batch, system, submitted, number):
    assert re.search(batch.SYSTEMS[system].id, submitted).group() == number


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("job_state = Q", "running"),
        ("qstat: 7.server Job has finished, use -x or -H", "failed"),
        ("Job Id: 7.server\n    job_state = C", "failed"),
        ("pbs_iff: cannot read reply from pbs_server", "running"),
    ],
)
def test_a_server_that_does_not_answer_makes_no_job_fail(
    batch, tmp_path, monkeypatch, answer, said
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(batch, "WAIT", 0.0)
    batch.FOLDER.mkdir(parents=True)
    record = {"log": str(tmp_path / "job.log"), "run": None}
    batch.record_of("7.server").write_text(json.dumps(record))
    asked = batch.System(batch.pbs, r"\S+", ["echo", answer], "job_state = ", batch.PBS_GONE, "")
    assert batch.status(asked, "7.server") == said
