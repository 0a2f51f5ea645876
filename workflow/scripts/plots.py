"""Draw the figures of an experiment, sum it up as CSV and HTML, and collect its mistakes."""

from adapter import Job
from graft.config import reports
from graft.reporting import plots
from graft.reporting.results import Results

with Job(snakemake, reports.PlotsSettings) as job:
    figures = {name: path for name, path in job.files.items() if path.suffix == ".svg"}
    job.results = plots.write(
        Results.gather(job.inputs, job.records, **job.settings.model_dump()),
        figures,
        summary=job.outputs.summary,
        page=job.outputs.summary_html,
        wrong=job.outputs.mistakes_json,
    )
