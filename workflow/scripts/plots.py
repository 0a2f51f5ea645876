"""Draw what an experiment found, and sum it up as CSV and HTML."""

from adapter import Job
from graft.config import stages
from graft.reporting import plots
from graft.reporting.findings import Findings

with Job(snakemake, stages.PlotsSettings) as job:
    settings = job.settings
    findings = Findings.gather(job.inputs, job.records)
    job.results = plots.write(
        findings,
        job.inputs,
        job.records,
        job.outputs,
        title=settings.title,
        select=settings.select,
    )
