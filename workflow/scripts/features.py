"""Run a source's frozen blocks over a part, once, and keep what comes out at the cut."""

import torch

from adapter import Job
from graft.training import features

with Job(snakemake) as job:
    spec = dict(job.settings)
    torch.set_num_threads(spec.pop("threads"))
    job.results = features.extract(
        job.input("pack"),
        job.input("source"),
        job.outputs.features,
        cut=job.wildcards["cut"],
        recipe=job.recipe,
        **spec,
    )
