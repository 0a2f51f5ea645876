"""Put experiments side by side: what differs between them, and what came out."""

from adapter import Job
from graft.config import stages
from graft.reporting import figures, overview, tables

with Job(snakemake, stages.OverviewSettings) as job:
    job.results = overview.overview(
        overview.gather(job.inputs, job.records), **job.settings.options()
    )
    figures.save_svg(figures.overview(job.results), job.outputs.figure)
    tables.write_overview(job.results, job.outputs.page)
    tables.write_csv(overview.table(job.results), job.outputs.table)
