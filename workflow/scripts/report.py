"""Write the report: one page on all experiments, and what has changed since the last one."""

import datetime
from pathlib import Path

from adapter import Job
from graft.config import reports
from graft.reporting import changes, report

with Job(snakemake, reports.ReportSettings) as job:
    asked = job.parameter("run")
    memory = Path(asked["memory"])
    job.results, remembered = report.write(
        job.outputs.page,
        job.settings,
        job.inputs,
        job.records,
        memory=changes.read(memory),
        date=datetime.date.today().isoformat(),
        command=asked["command"],
        config=asked["config"],
    )
    changes.write(memory, remembered)
