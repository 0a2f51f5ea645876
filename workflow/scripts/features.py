"""Run a source's frozen blocks over a part, once, and store the activations at the cut."""

import torch

from adapter import Job
from graft.config import stages
from graft.training import features

with Job(snakemake, stages.FeaturesSettings) as job:
    settings = job.settings
    torch.set_num_threads(settings.threads)
    job.results = features.extract(
        job.input("pack"),
        job.input("source"),
        job.outputs.features,
        cut=job.wildcards["cut"],
        recipe=job.recipe,
        flip=settings.flip,
        device=settings.device,
        precision=settings.precision,
        batch_size=settings.batch_size,
    )
