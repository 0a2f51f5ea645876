"""Write a trained model as ONNX, and make sure that it computes the same."""

import torch

from adapter import Job
from graft import onnx_models

with Job(snakemake) as job:
    torch.set_num_threads(job.threads)
    job.results = onnx_models.write(job.input("model"), job.outputs.onnx)
