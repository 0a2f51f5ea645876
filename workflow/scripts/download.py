"""Fetch one published file, or draw it, and unpack a .tgz so that it can be read by offset."""

from adapter import Job
from graft import raw_files

with Job(snakemake) as job:
    job.results = raw_files.obtain(job.outputs.raw, **job.settings, **job.parameter("mirrors"))
