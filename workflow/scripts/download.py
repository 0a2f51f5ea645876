"""Fetch one published file, draw it or pack a folder; as a plain tar, to be read by offset."""

from adapter import Job
from graft.config import stages
from graft.download import raw_files

with Job(snakemake, stages.DownloadSettings) as job:
    job.results = raw_files.obtain(
        job.outputs.raw, **job.settings.options(), **job.parameter("mirrors")
    )
