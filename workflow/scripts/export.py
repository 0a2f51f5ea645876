"""Write a trained model as ONNX, and check that it computes the same."""

import torch

from adapter import Job
from graft.config import stages
from graft.models import export

with Job(snakemake, stages.ExportSettings) as job:
    torch.set_num_threads(job.threads)
    job.results = export.write(job.input("model"), job.outputs.onnx)
