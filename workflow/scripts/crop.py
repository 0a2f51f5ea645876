"""Cut one square out of every picture of a part, by default around an upright face."""

import cv2

from adapter import Job
from graft.config import stages
from graft.datasets import table
from graft.download.archives import named
from graft.images.crop import Cropper, check_any, extract

with Job(snakemake, stages.CropSettings) as job:
    settings, dataset = job.settings, job.wildcards["dataset"]
    cv2.setNumThreads(job.threads)
    split, shard = job.wildcards["part"].split("-")
    counts = extract(
        table.read_part(job.input("data_file"), split, int(shard)),
        named(job.inputs["raw"], dataset),
        job.outputs.crops,
        Cropper(
            settings.crop_size,
            settings.detector,
            kind=settings.crop,
            device=settings.device or "cpu",
            file=next(iter(job.inputs["detector"]), None),
        ),
        recipe=job.recipe,
        decoder=settings.decode,
    )
    check_any(counts, f"datasets.{dataset}")
    job.results = dict(counts)
