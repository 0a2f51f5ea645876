"""What a run prints at its end: the result, or what failed and how to go on.

The Snakefile installs it. Neither can make a run fail, and `--quiet` leaves both out.
"""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.logging import logger

import caching
from graft.core.errors import GraftError
from graft.reporting import summary

RESULTS = {"compare", "labels", "plots", "report"}
"""Stages that make something to print: a run of earlier stages alone ends without a summary."""


class Ending:
    """The handlers of a workflow's end. A workflow that imports this one may call them.

    experiments: those that the config runs. ended: sentences on jobs that a batch system ended, of
    which no log has the reason.
    """

    def __init__(
        self,
        workflow: Any,
        experiments: Iterable[str],
        tracking_uri: str,
        ended: Mapping[Any, str],
    ):
        self.workflow, self.ended = workflow, ended
        self.experiments, self.tracking_uri = list(experiments), tracking_uri
        self._started = time.time()
        if workflow.is_main_process and workflow.modifier.is_main_snakefile():
            logger.addHandler(_Unchanged(self))

    def success(self) -> None:
        """Everything that was asked for is done."""
        if self._is_quiet() or not RESULTS & set(map(caching.stage, self.workflow.dag.jobs)):
            return
        try:
            lines = summary.lines(Path("results"), self.experiments, self.tracking_uri)
        except (GraftError, OSError, KeyError) as error:
            lines = [f"The results cannot be summed up ({error}). Run `make verify`."]
        if lines:
            logger.info("\n".join([*lines, ""]))

    def failure(self) -> None:
        """A job failed."""
        if self._is_quiet():
            return
        dag = self.workflow.dag
        logs = [
            log
            for job in dag.jobs
            if not dag.finished(job)
            for log in map(Path, job.log)
            if log.exists() and log.stat().st_mtime >= self._started
        ]
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        ended = [sentence for job, sentence in self.ended.items() if not dag.finished(job)]
        sentences = [*summary.errors(logs), *ended] or ["See the log of the failed job above."]
        logger.error("\n".join(["", "What failed:", *(f"  {line}" for line in sentences)]))
        logger.error(f"What is finished stays. To go on, run again: {command}\n")

    def _is_quiet(self) -> bool:
        return bool(self.workflow.output_settings.quiet)


class _Unchanged(logging.Handler):
    """Snakemake calls no handler where nothing is to be done, but logs that."""

    def __init__(self, ending: Ending):
        super().__init__(logging.INFO)
        self.ending = ending

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg) == NOTHING_TO_BE_DONE_MSG and not self.ending.workflow.dryrun:
            self.ending.success()
