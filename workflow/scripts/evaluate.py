"""Predict the test rows and measure how well, with intervals by bootstrap over groups."""

from adapter import Job
from graft.evaluation import evaluate, metrics

with Job(snakemake) as job:
    spec = job.settings
    frame = evaluate.predict(
        job.input("model"),
        job.inputs["test"],
        device=spec["device"],
        precision=spec["precision"],
        threads=spec["threads"],
    )
    metrics.write_predictions(job.outputs.predictions, frame)
    written = metrics.read_predictions(job.outputs.predictions)
    metrics.write_inference(job.outputs.inference, written)
    job.results = metrics.measure(
        written,
        **{key: spec[key] for key in ("resamples", "seed", "level")},
    )
