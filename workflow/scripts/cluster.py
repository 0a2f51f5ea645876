"""Where jobs are submitted to a batch system: what is stated before, and why one was ended."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import snakemake.api  # noqa: F401  # first, since workflow and api import each other
from snakemake.logging import logger
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

STATE = re.compile(r"SLURM status is: '(\w+)'")
REFUSED = re.compile(r"sbatch failed\. The error message was '(?:sbatch: error: )?([^\n']+)")
MEMORY = re.compile(r"exceeded (job |step )?memory limit|oom[-_ ]kill", re.IGNORECASE)
MORE = {"OUT_OF_MEMORY": "mem_mb", "TIMEOUT": "runtime"}
"""State in which Slurm leaves a job -> the resource that it wanted more of."""


class Cluster:
    """The batch system of a run. `ended` are the sentences on jobs that it ended last, by job."""

    def __init__(self, workflow: Any):
        self.workflow = workflow
        self.ended = _watched() if workflow.is_main_process else {}

    def prepare(self, asked: str, device: str) -> None:
        """Before jobs start: what cannot be seen from the machine that submits them.

        asked, device: `compute.device` in the config, and what it was resolved to here.
        """
        if self.workflow.local_exec:
            return
        if asked == "auto":
            logger.info(
                f"config: compute.device is auto, and this machine, which submits the jobs, has "
                f"{device}, so they use {device}. Set it to cuda if the nodes have GPUs."
            )
        settings = self.workflow.executor_settings
        if getattr(settings, "status_command", None) == "sacct" and not _has_accounting():
            # `sacct` is installed with Slurm, and without accounting it never sees a job end.
            logger.info("slurm: without accounting, the states of jobs are asked of squeue.")
            settings.status_command = "squeue"
        if getattr(settings, "array_jobs", None):
            from snakemake_executor_plugin_slurm import Executor

            Executor.run_jobs = functools.partialmethod(_run_jobs, Executor.run_jobs)


@functools.cache  # a module may be read repeatedly
def _watched() -> dict[Any, str]:
    """The sentences on the jobs that a batch system ends, from now on."""
    ended: dict[Any, str] = {}
    submitted: list[Any] = []
    RemoteExecutor.print_job_error = functools.partialmethod(
        _print_job_error, RemoteExecutor.print_job_error, ended
    )
    RemoteExecutor.report_job_submission = functools.partialmethod(
        _report_job_submission, RemoteExecutor.report_job_submission, submitted
    )
    RemoteExecutor.cancel = functools.partialmethod(_cancel, RemoteExecutor.cancel, submitted)
    return ended


def _has_accounting() -> bool:
    """Whether Slurm keeps records of jobs; True if that cannot be asked."""
    try:
        asked = subprocess.run(
            ["scontrol", "show", "config"], capture_output=True, text=True, check=False
        )
    except OSError:
        return True
    return not re.search(r"^AccountingStorageType\s*=\s*.*none$", asked.stdout, re.MULTILINE)


def _run_jobs(executor: Any, in_full: Callable[..., None], jobs: list[Any]) -> None:
    """Submit jobs, those of a rule that are ready at once as an array.

    Up to version 2.8 the plugin waits until all jobs of the rule are ready, and loses those that it
    was given meanwhile (its issue 473).
    """
    alone = []
    rules: dict[str, list[Any]] = {}
    for job in jobs:
        if job.is_group() or not executor.array_jobs & {job.rule.name, "all"}:
            alone.append(job)
        else:
            rules.setdefault(job.rule.name, []).append(job)
    in_full(executor, alone)
    for ready in rules.values():
        if len(ready) > 1:
            executor._submit_array_jobs(ready)
        else:
            executor._submit_job(ready[0])


def _report_job_submission(
    executor: Any, in_full: Callable[..., None], submitted: list[Any], job_info: Any, **options: Any
) -> None:
    """Keep a job that has been submitted, to be able to cancel it."""
    submitted.append(job_info)
    in_full(executor, job_info, **options)


def _cancel(executor: Any, in_full: Callable[..., None], submitted: list[Any]) -> None:
    """Cancel all jobs that have not ended: while their states are asked Snakemake knows of none."""
    running = executor.workflow.scheduler.running
    with executor.lock:
        executor.active_jobs[:] = [info for info in submitted if info.job in running]
    in_full(executor)


def _print_job_error(
    executor: Any,
    in_full: Callable[..., None],
    ended: dict[Any, str],
    job_info: Any,
    msg: str | None = None,
    **options: Any,
) -> None:
    """Print why a job failed, also that of a group, of which Snakemake drops the message."""
    job = job_info.job
    ended.pop(job, None)  # of an earlier attempt
    if state := STATE.search(msg or ""):
        reason = "OUT_OF_MEMORY" if _lacked_memory(job_info) else state[1]
        ended[job] = _sentence(job, f"ended job {job_info.external_jobid} with {reason}", reason)
    elif refused := REFUSED.search(msg or ""):
        ended[job] = _sentence(job, f"refuses the job: {refused[1]}")
    if job in ended:
        logger.error(ended[job])
    in_full(executor, job_info, msg=msg, **options)


def _lacked_memory(job_info: Any) -> bool:
    """Whether Slurm's log of a job says so: the state is `FAILED` where Slurm itself watches
    memory, without the kernel's control groups."""
    log = (job_info.aux or {}).get("slurm_logfile")
    if log is None or not Path(log).is_file():
        return False
    return bool(MEMORY.search(Path(log).read_text(encoding="utf-8", errors="replace")))


def _sentence(job: Any, event: str, state: str | None = None) -> str:
    """`graft train: Slurm ended job 7 with OUT_OF_MEMORY (…)`, and at last what helps."""
    rules = sorted({member.rule.name for member in job} if job.is_group() else {job.rule.name})
    had = {name: job.resources.get(name) for name in ("mem_mb", "runtime")}
    given = ", ".join(f"{name}={value}" for name, value in had.items())
    sentence = (
        f"graft {', '.join(rules)}: Slurm {event} (attempt {job.attempt} of "
        f"{job.restart_times + 1}, {given})."
    )
    name = MORE.get(state or "")
    if job.attempt <= job.restart_times or name is None or had[name] is None:
        return sentence
    options = " ".join(f"{rule}:{name}={2 * had[name]}" for rule in rules)
    return f"{sentence} Give it more: --set-resources {options}"
