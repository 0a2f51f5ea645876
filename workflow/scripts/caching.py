"""What decides for Snakemake which jobs are to be run and which results can be reused.

Snakemake keeps records of earlier runs in `.snakemake`. A copy loses them, `--touch` overwrites
them, and a job that failed is forgotten where later outputs exist. Here seals take the place of
these records, and the store checks its entries. The Snakefile installs both.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import snakemake.api  # first, since workflow and api import each other
import snakemake.jobs
import snakemake.report
import snakemake.scheduling.job_scheduler
import snakemake.workflow
from snakemake.caching.rule import RuleCache
from snakemake.exceptions import CacheMissException, WorkflowError
from snakemake.logging import logger
from snakemake.persistence import NO_PARAMS_CHANGE, ParamsChange
from snakemake.persistence.file import FilePersistence

from graft.core import files, seals, staleness, store
from graft.core.errors import GraftError

REDO = "GRAFT_REDO"
"""The environment variable that has jobs leave the store aside: what is forced is done for real."""

FILES = 2
"""Files that the reason of a job names."""

ROOM = 200_000_000
"""Bytes that must be free for a run to start: less does not hold even the smallest network."""


def install(rules: Iterable[Any], folder: Path) -> None:
    """Let seals decide what is stale, and these rules take results from the store in `folder`.

    Rules without a recipe, of a workflow that imports this one, are left to Snakemake.
    """
    if snakemake.workflow.FilePersistence is not SealRecords:  # a module may be read repeatedly
        snakemake.workflow.FilePersistence = SealRecords
        in_full = snakemake.jobs.Reason.__str__
        snakemake.jobs.Reason.__str__ = functools.partialmethod(_reason, in_full)
        snakemake.report.auto_report = functools.partial(_report, snakemake.report.auto_report)
        scheduler = snakemake.scheduling.job_scheduler.JobScheduler
        scheduler.run = functools.partialmethod(_run, scheduler.run)
    for rule in rules:
        if rule.cache:
            rule.cache = SealedStore(rule, rule.cache.flag, folder)


def stage(job: Any) -> str | None:
    """The stage of a job, whatever its rule is called; of rules without a recipe, None."""
    return getattr(job.rule.params.get("recipe"), "recipe_of", None)


def make(folder: Path) -> None:
    """Make the store's folder; where it cannot be made, results stay where they are."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)


def check_room(folder: Path) -> None:
    """Before jobs start: results must be writable; a store that is not only loses its use.

    Raises WorkflowError if the results cannot be written or if less than `ROOM` is free.
    """
    results = Path("results")
    try:
        results.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=results).close()
        free = shutil.disk_usage(results).free
    except OSError as error:
        raise WorkflowError(
            f"results/: the folder cannot be written ({error.strerror}). Correct its permissions, "
            "or make it a link to a folder that can be written."
        ) from None
    if free < ROOM:
        raise WorkflowError(
            f"results/: {free // 1_000_000} MB are free, and a run needs {ROOM // 1_000_000} at "
            "the least. Make room, then run again."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        problem = "is full" if shutil.disk_usage(folder).free < ROOM else None
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
    if problem:
        logger.warning(
            f"store: {folder} {problem}. What it has is used; new results stay in results/."
        )


class SealRecords(FilePersistence):
    """Snakemake's records of earlier runs, where a job's recipe and seal are asked instead."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._read = staleness.remembered()
        workflow = self.dag.workflow
        if workflow.is_main_process:
            asked = workflow.dag_settings
            forced = asked.forceall or asked.forcerun or asked.forcetargets
            os.environ[REDO] = "1" if forced else ""

    def has_metadata(self, job: Any) -> bool:
        return _is_sealed(job) or super().has_metadata(job)

    def has_outdated_metadata(self, job: Any) -> bool:
        return not _is_sealed(job) and super().has_outdated_metadata(job)

    def input_changed(self, job: Any, file: Any = None) -> Any:
        """The paths of the inputs are part of the recipe."""
        if not _is_sealed(job):
            return super().input_changed(job, file=file)
        return iter(()) if file is None else False

    def input_checksums(self, job: Any, input_path: Any) -> set[str | None]:
        """What an input that looks newer must be equal to: itself, unless the job is stale."""
        if not _is_sealed(job):
            return super().input_checksums(job, input_path)
        return {None if self.params_changed(job) else f"sha256:{files.sha256(input_path)}"}

    def params_changed(self, job: Any, file: Any = None) -> bool | ParamsChange:
        """What has changed since the job's outputs were sealed.

        Where none of them exist nothing has: the jobs that read them are stale.
        """
        if not _is_sealed(job):
            return super().params_changed(job, file=file)
        seal = Path(job.output.seal)
        if not seal.exists():
            present = {str(path) for path in job.output if Path(path).exists()}
            return Reason(set(), {f"{seal}: missing"}, present) if present else False
        try:
            before, now = staleness.changes(seal, job.params.recipe, self._read)
        except GraftError as error:
            raise WorkflowError(str(error)) from None
        return Reason(before, now, set(job.output)) if before or now else NO_PARAMS_CHANGE


class Reason(ParamsChange):
    """What has changed since a job's outputs were sealed; printed in one line."""

    def __str__(self) -> str:
        return staleness.described(staleness.Changes(self.only_old, self.only_new))


class SealedStore(RuleCache):
    """The store as a rule uses it: entries are whole, and checked before they are used."""

    def __init__(self, rule: Any, flag: Any, folder: Path):
        super().__init__(rule, flag)
        self.folder = folder

    async def exists(self, job: Any) -> bool:
        entry = self._entry(job)
        return entry is not None and store.is_complete(entry, _paths(job))

    async def fetch(self, job: Any) -> None:
        entry = self._entry(job)
        if entry is None or not store.fetch(entry, _paths(job)):
            raise CacheMissException(f"{job} is not in the store")
        for path in job.output:
            logger.info(f"Linking {path} to the store.")

    async def store(self, job: Any) -> None:
        if os.environ[REDO]:
            return
        try:
            seal = seals.read(job.output.seal)["seal"]
            store.put(self.folder / seal["identity"], _paths(job))
        except OSError as error:
            logger.warning(
                f"store: the outputs of {job.rule.name} could not be added ({error}). They stay "
                "in results/."
            )

    def _entry(self, job: Any) -> Path | None:
        """The entry of a job; None if it is to be redone, or while its inputs are missing."""
        if os.environ[REDO]:
            return None
        try:
            return self.folder / staleness.identity(job.params.recipe)
        except GraftError:
            return None


def _run(scheduler: Any, in_full: Callable[..., None], jobs: Any, executor: Any = None) -> None:
    """Start jobs; where they would be submitted, what the store has is linked here instead."""
    workflow = scheduler.workflow
    submitted = executor is None and workflow.is_main_process and not workflow.local_exec
    if submitted and workflow.workflow_settings.cache is not None:
        ready = [job for job in jobs if workflow.async_run(_fetched(job))]
        jobs = [job for job in jobs if job not in ready]
        for job in ready:
            scheduler.finish_callback(job)
    if jobs:
        in_full(scheduler, jobs, executor)


async def _fetched(job: Any) -> bool:
    """Whether all outputs of a job, or of each job of a group, have been linked to the store."""
    for member in itertools.chain(*job.toposorted) if job.is_group() else [job]:
        if not isinstance(member.rule.cache, SealedStore) or not member.rule.cache.output:
            return False
        if not await member.rule.cache.exists(member):
            return False
        try:
            await member.prepare()
            await member.rule.cache.fetch(member)
        except CacheMissException:
            return False
    return True


def _reason(reason: Any, in_full: Callable[[Any], str]) -> str:
    """A job's reason with few of its files: there may be hundreds."""
    sentences = [sentence.split(", ") for sentence in in_full(reason).split("; ")]
    return "; ".join(
        f"{', '.join(files[:FILES])} and {len(files) - FILES} more"
        if len(files) > FILES + 1
        else ", ".join(files)
        for files in sentences
    )


async def _report(create: Callable[..., Any], dag: Any, *arguments: Any) -> None:
    """Create the report of what is up to date; its first page lists the rest and why."""
    stale = [job for job in dag.jobs if _is_sealed(job) and dag.needrun(job)]
    left_out = []
    for job in stale:
        left_out += [path for path in job.output if path.flags.pop("report", None)]
    if left_out:
        logger.warning(f"report: {len(left_out)} figures are left out: they are not up to date.")
    dag.workflow.config["not_shown"] = {
        "files": [str(path) for path in left_out],
        "errors": sorted({line for job in stale for line in _errors(job)}),
    }
    await create(dag, *arguments)


def _errors(job: Any) -> Iterator[str]:
    """The last line of the log of a job that failed."""
    if all(os.path.exists(path) for path in job.output):
        return
    for log in map(Path, job.log):
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        yield from (line for line in lines[-1:] if line.startswith("graft "))


def _is_sealed(job: Any) -> bool:
    return hasattr(job.params, "recipe") and hasattr(job.output, "seal")


def _paths(job: Any) -> Iterator[Path]:
    return map(Path, job.output)
