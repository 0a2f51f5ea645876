"""Compare experiments: what differs between them, and their results."""

from adapter import Job
from graft.config import reports
from graft.reporting import overview, tables
from graft.reporting.figures.overview import overview_figure
from graft.reporting.figures.style import save_svg
from graft.reporting.results import by_experiment

with Job(snakemake, reports.OverviewSettings) as job:
    job.results = overview.overview(by_experiment(job.inputs, job.records), job.settings)
    save_svg(overview_figure(job.results), job.outputs.figure)
    tables.write_overview(job.results, job.outputs.page)
    tables.write_csv(overview.table(job.results), job.outputs.table)
