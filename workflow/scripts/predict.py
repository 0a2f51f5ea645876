"""Predict a folder of own pictures by a trained model: a table and a contact sheet."""

from pathlib import Path

import torch

from adapter import Job
from graft.reporting import predict

with Job(snakemake) as job:
    spec = job.settings
    torch.set_num_threads(spec["threads"])
    made = job.inputs["model"]  # none where the config names a file
    job.results = predict.predict(
        Path(spec["pictures"]),
        made[0] if made else Path(spec["model"]).expanduser(),
        job.outputs.predictions,
        job.outputs.contact_sheet,
        name=spec["model"],
        device=spec["device"],
        precision=spec["precision"],
        batch_size=spec["batch_size"],
    )
