"""Predict a folder of pictures with a trained model: a table and a contact sheet."""

from pathlib import Path

import cv2
import torch

from adapter import Job
from graft.config import stages
from graft.reporting import predict

with Job(snakemake, stages.PredictSettings) as job:
    settings = job.settings
    torch.set_num_threads(settings.threads)
    cv2.setNumThreads(settings.threads)
    made = job.inputs["model"]  # empty where the config names a file
    given = job.parameter("detector")
    detector = Path(given).expanduser() if given else next(iter(job.inputs["detector"]), None)
    job.results = predict.predict(
        Path(settings.pictures),
        made[0] if made else Path(settings.model).expanduser(),
        job.outputs.predictions,
        job.outputs.contact_sheet,
        name=settings.model,
        device=settings.device,
        precision=settings.precision,
        batch_size=settings.batch_size,
        detector=detector,
        heif=settings.heif,
    )
