"""Pack the crops of a part as model-ready uint8 pictures with encoded labels."""

from adapter import Job
from graft import data_file, packing

with Job(snakemake) as job:
    job.results = packing.write(
        job.input("faces"),
        job.outputs.pack,
        classes=data_file.classes(data_file.read(job.input("data_file"))),
        recipe=job.recipe,
        **job.settings,
    )
