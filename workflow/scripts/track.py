"""Record an experiment in MLflow: one parent run, one child run per mode and seed."""

from dataclasses import replace

from adapter import Job
from graft.config import reports
from graft.reporting import track
from graft.reporting.results import by_experiment
from graft.reporting.runs import Runs

with Job(snakemake, reports.TrackSettings) as job:
    settings = job.settings
    name = job.wildcards["experiment"]
    sizes = by_experiment(job.inputs, job.records)
    own = replace(sizes[name], comparison=job.record("comparison"))
    job.results = track.record(
        Runs(settings.tracking_uri, name=settings.experiment),
        name,
        track.parent(own, settings, job.inputs["plots"]),
        {
            path: child
            for results in sizes.values()
            for path, child in track.children(results, settings).items()
        },
    )
