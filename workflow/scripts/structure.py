"""Turn published archives into data_file.csv: which samples there are, kept or dropped, and why."""

from adapter import Job
from graft import data_file
from graft.archives import named
from graft.datasets import samples

with Job(snakemake) as job:
    spec = job.settings
    archives = named(job.inputs["raw"], spec["dataset"])
    frame, job.results = data_file.build(
        samples(spec, archives),
        archives,
        split=spec["split"],
        shards=spec["shards"],
        limit=spec["limit"],
        dataset=spec["dataset"],
    )
    data_file.write(job.outputs.data_file, frame)
