"""Record an experiment in MLflow: one parent run, one child run per mode and seed."""

from pathlib import Path

from adapter import Job
from graft.config import stages
from graft.reporting import track
from graft.reporting.inputs import Dataset
from graft.reporting.results import Results
from graft.reporting.runs import Runs

with Job(snakemake, stages.TrackSettings) as job:
    settings = job.settings
    results = Results.gather(job.inputs, job.records)
    models = dict(zip(results.fits, job.inputs["models"], strict=True))
    packs = Path(job.recipe["inputs"]["packs"][0]).parent
    dataset = Dataset(settings.dataset, packs, job.records["packs"])
    job.results = track.record(
        Runs(settings.tracking_uri, name=settings.experiment),
        job.wildcards["experiment"],
        track.parent(results, settings, job.inputs["plots"]),
        track.children(results, settings, dataset, models if settings.log_models else {}),
    )
