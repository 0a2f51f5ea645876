"""Put experiments side by side: what differs between them, and what came out."""

from adapter import Job
from graft import figures, overviews, summaries

with Job(snakemake) as job:
    job.results = overviews.overview(overviews.gather(job.inputs, job.records), **job.settings)
    figures.save_svg(figures.overview(job.results), job.outputs.figure)
    summaries.write_overview(job.results, job.outputs.page)
    summaries.write_csv(overviews.table(job.results), job.outputs.table)
