"""Run a source's frozen blocks over a part, once, and store the activations at the cut."""

import torch

from adapter import Job
from graft.config import stages
from graft.config.plan import read_cut
from graft.core import devices
from graft.images import provenance
from graft.training import features

with Job(snakemake, stages.FeaturesSettings) as job:
    settings = job.settings
    torch.set_num_threads(settings.threads)
    devices.keep_freed_memory()
    places = job.input("pack"), job.input("source"), job.outputs.features
    options = {
        "cut": read_cut(job.wildcards["cut"])[0],
        "recipe": job.recipe,
        "flip": settings.flip,
        "device": settings.device,
        "precision": settings.precision,
        "batch_size": settings.batch_size,
    }
    if settings.patches is None:
        job.results = features.extract(*places, **options)
    else:
        is_dense = settings.patches == "dense"
        job.results = features.extract_patches(*places, is_dense=is_dense, **options)
    job.results["pictures"] = provenance.of_part(job.record("pack"))
