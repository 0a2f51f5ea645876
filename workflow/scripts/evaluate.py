"""Predict the test rows and measure how well, with intervals by bootstrap over groups."""

from pathlib import Path

import pandas as pd

from adapter import Job
from graft.config import stages
from graft.evaluation import evaluate, metrics
from graft.evaluation.calibration import fit_temperature
from graft.evaluation.predictions import (
    read_predictions,
    unpack_predictions,
    write_inference,
    write_predictions,
)

with Job(snakemake, stages.EvaluateSettings) as job:
    settings = job.settings

    def predicted(parts: list[Path]) -> pd.DataFrame:
        return evaluate.predict(
            job.input("model"),
            parts,
            device=settings.device,
            precision=settings.precision,
            threads=settings.threads,
        )

    write_predictions(job.outputs.predictions, predicted(job.inputs["test"]))
    written = read_predictions(job.outputs.predictions)
    write_inference(job.outputs.inference, written)
    val = unpack_predictions(predicted(job.inputs["val"]), "validation rows")
    job.results = metrics.measure(
        written,
        temperature=fit_temperature(val.true, val.log_probabilities),
        resamples=settings.resamples,
        seed=settings.seed,
        level=settings.level,
    )
