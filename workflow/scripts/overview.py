"""Put experiments side by side: what differs between them, and what came out."""

from adapter import Job
from graft.reporting import figures, overview, tables

with Job(snakemake) as job:
    job.results = overview.overview(overview.gather(job.inputs, job.records), **job.settings)
    figures.save_svg(figures.overview(job.results), job.outputs.figure)
    tables.write_overview(job.results, job.outputs.page)
    tables.write_csv(overview.table(job.results), job.outputs.table)
