"""Turn published archives into data_file.csv: all samples, kept or dropped, and why."""

from adapter import Job
from graft.config import stages
from graft.datasets import build, duplicates, table
from graft.datasets.samples import samples
from graft.datasets.thumbnails import Thumbnails
from graft.download.archives import named

with Job(snakemake, stages.StructureSettings) as job, Thumbnails() as thumbnails:
    settings = job.settings
    archives = named(job.inputs["raw"], settings.dataset)
    notes: list[str] = []
    frame, counts, repeated = build.build(
        samples(settings, archives, notes),
        archives,
        thumbnails,
        split=settings.split,
        shards=settings.shards,
        limit=settings.limit,
        multi=settings.multi,
        dataset=settings.dataset,
    )
    table.write(job.outputs.data_file, frame)
    job.results = {**counts, "notes": [*notes, *counts["notes"]]}
    duplicates.write_conflicts(job.outputs.conflicts, repeated.conflicts)
    duplicates.write_near(job.outputs.near_duplicates, repeated.near)
    duplicates.write_sheet(job.outputs.near_duplicates_sheet, repeated.near, thumbnails)
    for sentence in (*job.results["notes"], *counts["uneven"]):
        print(f"warning: {sentence}")
