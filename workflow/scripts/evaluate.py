"""Predict the test rows and measure how well, with intervals by bootstrap over groups."""

from adapter import Job
from graft.config import stages
from graft.evaluation import evaluate, metrics
from graft.evaluation.predictions import read_predictions, write_inference, write_predictions

with Job(snakemake, stages.EvaluateSettings) as job:
    settings = job.settings
    frame = evaluate.predict(
        job.input("model"),
        job.inputs["test"],
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
    )
    write_predictions(job.outputs.predictions, frame)
    written = read_predictions(job.outputs.predictions)
    write_inference(job.outputs.inference, written)
    job.results = metrics.measure(
        written,
        resamples=settings.resamples,
        seed=settings.seed,
        level=settings.level,
    )
