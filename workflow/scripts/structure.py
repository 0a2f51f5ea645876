"""Turn published archives into table.csv: which samples there are, kept or dropped, and why."""

from adapter import Job
from graft.datasets import table
from graft.datasets.samples import samples
from graft.download.archives import named

with Job(snakemake) as job:
    spec = job.settings
    archives = named(job.inputs["raw"], spec["dataset"])
    frame, job.results = table.build(
        samples(spec, archives),
        archives,
        split=spec["split"],
        shards=spec["shards"],
        limit=spec["limit"],
        dataset=spec["dataset"],
    )
    table.write(job.outputs.data_file, frame)
