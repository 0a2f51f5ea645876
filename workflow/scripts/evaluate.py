"""Predict the test rows and measure how well, with intervals by bootstrap over groups."""

from adapter import Job
from graft.config import stages
from graft.core.files import atomic
from graft.evaluation import evaluate
from graft.evaluation.predictions import read_predictions, write_predictions
from graft.images import provenance

with Job(snakemake, stages.EvaluateSettings) as job:
    settings = job.settings

    test, val, chosen = evaluate.predict(
        job.input("model"),
        job.inputs["test"],
        job.inputs["val"],
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
    )
    write_predictions(job.outputs.predictions, test)
    written = read_predictions(job.outputs.predictions)
    with atomic(job.outputs.inference) as temporary:
        temporary.write_text(evaluate.inference_lines(written), encoding="utf-8")
    job.results = chosen | evaluate.measure(
        written,
        val,
        resamples=settings.resamples,
        seed=settings.seed,
        level=settings.level,
    )
    job.results["pictures"] = {"test": provenance.of_split(job.records["test"])}
