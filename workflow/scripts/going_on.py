"""Jobs whose failure stops no other: nothing reads what they make.

Snakemake starts no job after one has failed, unless all may fail (`--keep-going`). A tracking
server that is down must not keep the trainings from being started. The Snakefile installs this.
"""

import functools
from collections.abc import Callable, Collection
from typing import Any

from snakemake.scheduling.job_scheduler import JobScheduler


def after_failures_of(rules: Collection[str]) -> None:
    """Go on when only jobs of these rules have failed. The run has failed all the same."""
    JobScheduler._handle_error = functools.partialmethod(
        _handle_error, JobScheduler._handle_error, rules
    )


def _handle_error(
    scheduler: Any, handle: Callable, rules: Collection[str], job: Any, **options: Any
) -> None:
    handle(scheduler, job, **options)
    jobs = [one for failed in scheduler.failed for one in _single(failed)]
    asked = scheduler.workflow.execution_settings.keep_going
    scheduler.keepgoing = asked or all(one.rule.name in rules for one in jobs)


def _single(job: Any) -> list[Any]:
    return list(job.jobs) if job.is_group() else [job]
