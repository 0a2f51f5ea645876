"""Predict the test rows and measure how well, with intervals by bootstrap over groups."""

from adapter import Job
from graft import metrics, models

with Job(snakemake) as job:
    spec = job.settings
    frame = models.predict(
        job.input("model"),
        job.inputs["test"],
        device=spec["device"],
        precision=spec["precision"],
        threads=spec["threads"],
    )
    metrics.write_predictions(job.outputs.predictions, frame)
    rows = metrics.unpack_predictions(metrics.read_predictions(job.outputs.predictions))
    job.results = metrics.classification_metrics(rows.true, rows.confidences, rows.classes)
    job.results["intervals"] = metrics.bootstrap_intervals(
        rows.true,
        rows.confidences,
        rows.group,
        resamples=spec["resamples"],
        seed=spec["seed"],
        level=spec["level"],
    )
