"""Predict the test rows and measure how well, with intervals by bootstrap over groups."""

from pathlib import Path

import pandas as pd

from adapter import Job
from graft.config import stages
from graft.core.files import atomic
from graft.evaluation import evaluate
from graft.evaluation.predictions import read_predictions, write_predictions

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
    with atomic(job.outputs.inference) as temporary:
        temporary.write_text(evaluate.inference_lines(written), encoding="utf-8")
    job.results = evaluate.measure(
        written,
        predicted(job.inputs["val"]),
        resamples=settings.resamples,
        seed=settings.seed,
        level=settings.level,
    )
