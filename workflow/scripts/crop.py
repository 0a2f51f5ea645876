"""Crop every sample of a part, around an aligned face where the config asks for one."""

from adapter import Job
from graft.config import stages
from graft.datasets import table
from graft.download.archives import named
from graft.images import crop

ENOUGH = 20
"""Samples of a part, which are drawn at random: no face in as many means that the set has none."""

with Job(snakemake, stages.CropSettings) as job:
    settings = job.settings
    split, shard = job.wildcards["part"].split("-")
    detector = {"name": "none"} if settings.detector is None else settings.detector.model_dump()
    job.results = crop.extract(
        table.kept(table.read(job.input("data_file")), split, int(shard)),
        named(job.inputs["raw"], job.wildcards["dataset"]),
        job.outputs.crops,
        crop=settings.crop,
        size=settings.crop_size,
        detector=detector.pop("name"),
        **detector,
        device=settings.device or "cpu",
        recipe=job.recipe,
    )
    if job.results["rows"] >= ENOUGH:
        crop.check_any([job.results], f"datasets.{job.wildcards['dataset']}")
