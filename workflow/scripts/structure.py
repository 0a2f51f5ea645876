"""Turn published archives into data_file.csv: which samples there are, kept or dropped, and why."""

from adapter import Job
from graft import data_file
from graft.datasets import rows

with Job(snakemake) as job:
    spec = job.settings
    archives = {path.name: path for path in job.inputs["raw"]}
    frame, job.results = data_file.build(
        rows(
            spec["layout"],
            archives,
            label=spec["label"],
            options=spec["options"],
            dataset=spec["dataset"],
        ),
        archives,
        split=spec["split"],
        shards=spec["shards"],
        limit=spec["limit"],
        dataset=spec["dataset"],
    )
    data_file.write(job.outputs.data_file, frame)
