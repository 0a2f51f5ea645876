"""Turn published archives into data_file.csv: which samples there are, kept or dropped, and why."""

from adapter import Job
from graft.config import stages
from graft.datasets import table
from graft.datasets.samples import samples
from graft.download.archives import named

with Job(snakemake, stages.StructureSettings) as job:
    settings = job.settings
    archives = named(job.inputs["raw"], settings.dataset)
    frame, job.results = table.build(
        samples(settings, archives),
        archives,
        split=settings.split.model_dump(),
        shards=settings.shards.model_dump(),
        limit=settings.limit.model_dump(exclude_none=True),
        dataset=settings.dataset,
    )
    table.write(job.outputs.data_file, frame)
