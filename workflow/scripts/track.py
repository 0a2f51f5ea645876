"""Enter an experiment into MLflow's ledger: one parent run, one child per mode and seed."""

from adapter import Job
from graft.reporting import ledger
from graft.reporting.findings import Findings
from graft.reporting.track import Ledger

with Job(snakemake) as job:
    spec = job.settings
    findings = Findings.gather(job.inputs, job.records)
    models = dict(zip(findings.fits, job.inputs["models"], strict=True))
    job.results = Ledger(spec["tracking_uri"], name=spec["experiment"]).record_experiment(
        job.wildcards["experiment"],
        parent=ledger.parent(findings, spec, job.inputs["plots"]),
        children=ledger.children(findings, models if spec["log_models"] else {}),
    )
