"""Pack the crops of a part as model-ready uint8 pictures with encoded labels."""

from adapter import Job
from graft.datasets import table
from graft.images import pack

with Job(snakemake) as job:
    job.results = pack.write(
        job.input("crops"),
        job.outputs.pack,
        classes=table.classes(table.read(job.input("data_file"))),
        recipe=job.recipe,
        **job.settings,
    )
