"""Train what comes after the cut, in one mode and with one seed."""

from functools import partial

from adapter import Job
from graft.config import stages
from graft.core.errors import GraftError
from graft.images import provenance
from graft.training import launch, train
from graft.training.live import Live

with Job(snakemake, stages.TrainSettings) as job:
    experiment, mode = job.wildcards["experiment"], job.wildcards["mode"]
    seed = int(job.wildcards["seed"])
    with Live(
        job.parameter("ledger"), experiment=experiment, mode=mode, seed=seed, recipe=job.identity
    ) as live:
        for record in job.records["train"] + job.records["val"]:
            made_from = record["seal"]["inputs"].get("source", job.digests("source"))
            if made_from != job.digests("source"):
                raise GraftError(
                    f"experiments.{experiment}: its features come from another source than the "
                    "present one. Run `make repair`, then run again."
                )
        training = partial(
            train.train,
            job.inputs["train"],
            job.inputs["val"],
            job.outputs.model,
            job.outputs.history,
            source=next(iter(job.inputs["source"]), None),
            warm_up=next(iter(job.inputs["warm_up"]), None),
            settings=job.settings,
            seed=seed,
            name=f"experiments.{experiment.partition('/')[0]}",
            identity=job.identity,
        )
        job.results = launch.run(
            training, job.settings.processes, job.settings.device, live.log_epoch
        )
    job.results["pictures"] = {
        split: provenance.of_split(job.records[split]) for split in ("train", "val")
    }
train.checkpoint_of(job.outputs.model).unlink(missing_ok=True)
