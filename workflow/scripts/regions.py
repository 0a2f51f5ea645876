"""List where in the kept pictures the published objects are, in regions.csv."""

from adapter import Job
from graft.config import stages
from graft.datasets import regions, table
from graft.download.archives import named

with Job(snakemake, stages.RegionsSettings) as job:
    frame, counts = regions.collect(
        table.read(job.input("data_file")),
        job.settings,
        named(job.inputs["raw"], job.wildcards["dataset"]),
    )
    regions.write(job.outputs.regions, frame)
    job.results = dict(counts)
