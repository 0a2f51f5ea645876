"""Jobs in PBS, Torque, SGE and LSF, for Snakemake's executor cluster-generic.

Snakemake runs `submit.py JOBSCRIPT`, which prints the job's id, `status.py ID`, which prints
running, success or failed, and `cancel.py ID...`, all in the folder in which the workflow runs.
`guard.py` runs beside it, and cancels what is left at the end: when Snakemake is interrupted while
it asks for the status of jobs, it has none of them on its list of those to cancel.
What was asked for stands in the job script, as JSON in the line `# properties = `.

How a job ended is not asked of the batch system, which may forget it at once (PBS does, unless it
keeps a history): the job itself writes its exit status to a file in `.snakemake/batch`. A job that
is in the queue no more and has written none was killed.

Needs nothing but Python 3.9. Site-specific options are the resource `batch_options`; for another
batch system, add an entry to `SYSTEMS`.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(".snakemake", "batch")
RUN = "SNAKEMAKE_CLUSTER_SIDECAR_VARS"
"""The environment variable in which Snakemake hands on what `guard.py` prints first."""
WAIT = float(os.environ.get("GRAFT_BATCH_WAIT", "60"))
"""Seconds for which the exit status of a job that left the queue may not be seen yet."""


@dataclass(frozen=True)
class Asked:
    """What a job asks for: `memory` in MB, `minutes` of run time; `log` is for what it prints."""

    name: str
    log: str
    threads: int
    memory: int
    minutes: int
    gpus: int

    @property
    def time(self) -> str:
        return f"{self.minutes // 60:02}:{self.minutes % 60:02}:00"


@dataclass(frozen=True)
class System:
    """A batch system. `submit` reads the script from its standard input.

    `id` finds the job's id in what it prints. `status` is completed by an id; `waiting` matches
    what it prints of a job that waits or runs, `gone` of one that does not any more.
    """

    submit: Callable[[Asked], list[str]]
    id: str
    status: list[str]
    waiting: str
    gone: str
    cancel: str


def pbs(asked: Asked) -> list[str]:
    chunk = f"select=1:ncpus={asked.threads}:mem={asked.memory}mb"
    gpus = f":ngpus={asked.gpus}" if asked.gpus else ""
    return [*_qsub(asked), "-j", "oe", "-l", chunk + gpus, "-l", f"walltime={asked.time}"]


def torque(asked: Asked) -> list[str]:
    node = f"nodes=1:ppn={asked.threads}"
    gpus = f":gpus={asked.gpus}" if asked.gpus else ""
    limits = f"mem={asked.memory}mb,walltime={asked.time}"
    return [*_qsub(asked), "-j", "oe", "-l", node + gpus, "-l", limits]


def sge(asked: Asked) -> list[str]:
    """Memory is asked for by slot. Sites name their parallel environment; `smp` is usual."""
    slots = ["-pe", "smp", str(asked.threads)] if asked.threads > 1 else []
    limits = f"h_vmem={-(-asked.memory // asked.threads)}M,h_rt={asked.minutes * 60}"
    gpus = ["-l", f"gpu={asked.gpus}"] if asked.gpus else []
    return [*_qsub(asked), "-terse", "-j", "y", *slots, "-l", limits, *gpus]


def lsf(asked: Asked) -> list[str]:
    memory = ["-M", f"{asked.memory}MB", "-R", f"rusage[mem={asked.memory}MB] span[hosts=1]"]
    gpus = ["-gpu", f"num={asked.gpus}"] if asked.gpus else []
    limits = ["-n", str(asked.threads), *memory, "-W", str(asked.minutes), *gpus]
    return ["bsub", "-J", asked.name, "-o", asked.log, *limits]


def _qsub(asked: Asked) -> list[str]:
    return ["qsub", "-S", "/bin/sh", "-N", asked.name, "-o", asked.log]


PBS_GONE = r"(?i)unknown job|has finished|job_state = [CFX]"
SYSTEMS = {
    "pbs": System(pbs, r"\S+", ["qstat", "-f"], r"job_state = ", PBS_GONE, "qdel"),
    "torque": System(torque, r"\S+", ["qstat", "-f"], r"job_state = ", PBS_GONE, "qdel"),
    # A job in the state Eqw, which has an error reason, would wait for ever.
    "sge": System(
        sge, r"\d+", ["qstat", "-j"], r"job_number:", r"(?i)do not exist|error reason", "qdel"
    ),
    "lsf": System(
        lsf,
        r"(?<=Job <)\d+",
        ["bjobs", "-noheader", "-o", "stat"],
        r"PEND|RUN|PROV|WAIT|SUSP|UNKWN",
        r"DONE|EXIT|ZOMBI|not found",
        "bkill",
    ),
}


def system() -> System:
    """The batch system of this machine: `GRAFT_BATCH`, or the one whose commands there are."""
    name = os.environ.get("GRAFT_BATCH")
    if name is None and shutil.which("bsub"):
        name = "lsf"
    elif name is None and shutil.which("qsub"):
        name = "sge" if "SGE_ROOT" in os.environ else "pbs"
    if name not in SYSTEMS:
        sys.exit(
            f"GRAFT_BATCH: {'no batch system was found here' if name is None else repr(name)}. "
            f"Set it to one of {', '.join(SYSTEMS)}."
        )
    return SYSTEMS[name]


def submit(batch: System, jobscript: Path) -> str:
    """Submit a job script; the job's id."""
    text = jobscript.read_text(encoding="utf-8")
    asked, options = request(jobscript, text)
    FOLDER.mkdir(parents=True, exist_ok=True)
    command = [*batch.submit(asked), *options]
    done = subprocess.run(
        command,
        input=reporting(text, exit_file(asked.log)),
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(batch.id, done.stdout)
    if done.returncode or not found:
        sys.exit(f"{shlex.join(command)}: {(done.stderr or done.stdout).strip()}")
    record = {"log": asked.log, "run": os.environ.get(RUN)}
    record_of(found.group()).write_text(json.dumps(record), encoding="utf-8")
    return found.group()


def record_of(job: str) -> Path:
    """Where it stands which log a job has, and which run submitted it."""
    return FOLDER / f"{job}.json"


def request(jobscript: Path, text: str) -> tuple[Asked, list[str]]:
    """What a job script asks for, and the site's options."""
    found = re.search(r"^# properties = (.*)$", text, re.MULTILINE)
    properties = json.loads(found.group(1)) if found else {}
    resources = properties.get("resources", {})
    name = jobscript.name.removesuffix(".sh")
    # Jobs of different runs have the same name; the folder of their scripts differs.
    log = FOLDER.absolute() / f"{jobscript.parent.name}.{name}.log"
    asked = Asked(
        name=name,
        log=str(log),
        threads=int(properties.get("threads", 1)),
        memory=int(resources.get("mem_mb", 4000)),
        minutes=int(resources.get("runtime", 60)),
        gpus=int(resources.get("gpu", 0)),
    )
    return asked, shlex.split(resources.get("batch_options", ""))


def reporting(text: str, file: Path) -> str:
    """A script that leaves its exit status in `file`, unless it is killed."""
    path, part = shlex.quote(str(file)), shlex.quote(f"{file}.part")
    return (
        f"#!/bin/sh\nended() {{ echo $? > {part} && mv {part} {path}; }}\ntrap ended EXIT\n{text}"
    )


def exit_file(log: str) -> Path:
    return Path(log).with_suffix(".exit")


def status(batch: System, job: str) -> str:
    """running, success or failed. A batch system that does not answer is asked again later."""
    record = record_of(job)
    log = json.loads(record.read_text(encoding="utf-8"))["log"]
    ended = exit_file(log)
    if ended.exists():
        if ended.read_text(encoding="utf-8").strip() == "0":
            for file in (record, ended, Path(log)):
                file.unlink(missing_ok=True)
            return "success"
        print(f"Job {job} failed; what it printed is in {log}.", file=sys.stderr)
        return "failed"
    done = subprocess.run([*batch.status, job], capture_output=True, text=True, check=False)
    answer = done.stdout + done.stderr
    if re.search(batch.gone, answer):
        # Its file may take a while to be seen on a shared file system.
        missed = record.with_suffix(".gone")
        if not missed.exists():
            missed.touch()
        if time.time() - missed.stat().st_mtime >= WAIT:
            print(
                f"Job {job} left the queue without an exit status: it was killed, perhaps for its "
                f"memory or time. What it printed is in {log}.",
                file=sys.stderr,
            )
            return "failed"
    elif not re.search(batch.waiting, answer):
        print(f"{shlex.join([*batch.status, job])}: {answer.strip()}", file=sys.stderr)
    return "running"


def cancel(batch: System, jobs: list[str]) -> int:
    return subprocess.run([batch.cancel, *jobs], check=False).returncode


def guard(batch: System) -> None:
    """Wait for Snakemake to end this process, then cancel the jobs of its run that have not ended.

    Ctrl-C reaches this process too, and is Snakemake's to answer. If Snakemake is killed, its jobs
    live on.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    run, parent = f"{os.uname().nodename}:{os.getpid()}", os.getppid()
    print(run, flush=True)
    while signal.sigtimedwait({signal.SIGTERM}, 5) is None:
        if os.getppid() != parent:
            return
    left = []
    for path in FOLDER.glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        ended = exit_file(record["log"]).exists() or path.with_suffix(".gone").exists()
        if record["run"] == run and not ended:
            left.append(path.stem)
    if left:
        cancel(batch, left)
