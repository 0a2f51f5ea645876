"""Normalise a source's weights, of any origin, to one file under torchvision's names."""

from adapter import Job
from graft.config import stages
from graft.models import weights

with Job(snakemake, stages.WeightsSettings) as job:
    settings = job.settings
    names = settings.weights.stack or ()
    members = zip(job.inputs["members"], job.digests("members"), strict=True)
    job.results = weights.make(
        settings,
        job.outputs.weights,
        job.outputs.import_report,
        source=job.wildcards["source"],
        mirrors=job.parameter("mirrors")["url"],
        model=next(zip(job.inputs["model"], job.digests("model"), strict=True), None),
        members=dict(zip(names, members, strict=True)),
    )
