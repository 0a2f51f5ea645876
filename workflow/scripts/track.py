"""Record an experiment in MLflow: one parent run, one child run per mode and seed."""

from dataclasses import replace

from adapter import Job
from graft.config import stages
from graft.reporting import track
from graft.reporting.results import by_experiment
from graft.reporting.runs import Runs

with Job(snakemake, stages.TrackSettings) as job:
    settings = job.settings
    name = job.wildcards["experiment"]
    sizes = by_experiment(job.inputs, job.records)
    own = replace(sizes[name], comparison=job.record("comparison"))
    job.results = track.record(
        Runs(settings.tracking_uri, name=settings.experiment),
        name,
        track.parent(own, settings, job.inputs["plots"]),
        track.children(sizes, settings, models=settings.log_models),
    )
