"""Pack the crops of a part as model-ready uint8 pictures with encoded labels."""

from adapter import Job
from graft.config import stages
from graft.datasets import build, regions
from graft.images import pack

with Job(snakemake, stages.PackSettings) as job:
    settings = job.settings
    job.results = pack.write(
        job.input("crops"),
        job.outputs.pack,
        kept=job.record("crops")["kept"],
        classes=build.classes(job.record("data_file")["splits"]),
        multi=settings.multi,
        patches=settings.patches,
        regions=regions.read(job.input("regions")) if job.inputs["regions"] else None,
        packed_size=settings.packed_size,
        grayscale=settings.grayscale,
        equalize=settings.equalize,
        recipe=job.recipe,
    )
