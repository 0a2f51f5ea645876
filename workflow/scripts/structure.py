"""Turn published archives into data_file.csv: all samples, kept or dropped, and why."""

from adapter import Job
from graft.config import stages
from graft.datasets import build, table
from graft.datasets.samples import samples
from graft.download.archives import named

with Job(snakemake, stages.StructureSettings) as job:
    settings = job.settings
    archives = named(job.inputs["raw"], settings.dataset)
    notes: list[str] = []
    frame, counts = build.build(
        samples(settings, archives, notes),
        archives,
        split=settings.split,
        shards=settings.shards,
        limit=settings.limit,
        multi=settings.multi,
        dataset=settings.dataset,
    )
    table.write(job.outputs.data_file, frame)
    job.results = {**counts, "notes": [*notes, *counts["notes"]]}
    for sentence in (*job.results["notes"], *counts["uneven"]):
        print(f"warning: {sentence}")
