"""Draw what an experiment found, and sum it up as CSV and HTML."""

from adapter import Job
from graft import reports
from graft.findings import Findings

with Job(snakemake) as job:
    findings = Findings.gather(job.inputs, job.records)
    job.results = reports.write(findings, job.inputs, job.records, job.outputs, **job.settings)
