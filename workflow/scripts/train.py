"""Train what comes after the cut, in one mode and with one seed."""

from adapter import Job
from graft import models
from graft.tracking import LiveRun

with Job(snakemake) as job:
    experiment, mode = job.wildcards["experiment"], job.wildcards["mode"]
    seed = int(job.wildcards["seed"])
    ledger = job.parameter("ledger")
    with LiveRun.open(
        ledger["tracking_uri"], experiment, mode, seed, job.identity, name=ledger["experiment"]
    ) as live:
        job.results = models.train(
            job.inputs["train"],
            job.inputs["val"],
            job.outputs.model,
            job.outputs.history,
            source=next(iter(job.inputs["source"]), None),
            warm_up=next(iter(job.inputs["warm_up"]), None),
            settings=job.settings,
            seed=seed,
            name=f"experiments.{experiment}",
            identity=job.identity,
            on_epoch=live.log_epoch,
        )
