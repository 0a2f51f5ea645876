"""Fetch one published file, draw it or pack a folder; as a plain tar, to be read by offset."""

from adapter import Job
from graft.config import stages
from graft.demo.drawings import DRAWINGS
from graft.download import raw_files

with Job(snakemake, stages.DownloadSettings) as job:
    settings = job.settings
    draw = DRAWINGS[settings.render.kind] if settings.render else None
    where, trust = job.parameter("mirrors"), job.trust()
    job.results = raw_files.obtain(job.outputs.raw, settings, draw=draw, **where, **trust)
    if "mirror" in job.results and settings.md5 is None:
        job.first_use(job.results["name"], job.results["sha256"])
