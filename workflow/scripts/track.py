"""Enter an experiment into MLflow's ledger: one parent run, one child per mode and seed."""

from adapter import Job
from graft.config import stages
from graft.reporting import ledger
from graft.reporting.results import Results
from graft.reporting.track import Ledger

with Job(snakemake, stages.TrackSettings) as job:
    settings = job.settings
    findings = Results.gather(job.inputs, job.records)
    models = dict(zip(findings.fits, job.inputs["models"], strict=True))
    job.results = Ledger(settings.tracking_uri, name=settings.experiment).record_experiment(
        job.wildcards["experiment"],
        parent=ledger.parent(findings, settings.recipe(), job.inputs["plots"]),
        children=ledger.children(findings, models if settings.log_models else {}),
    )
