"""Compare the modes on the same test rows: paired differences, intervals, plain verdicts."""

import pandas as pd

from adapter import Job
from graft.config import stages
from graft.evaluation import compare
from graft.evaluation.predictions import read_predictions
from graft.reporting import tables

with Job(snakemake, stages.CompareSettings) as job:
    settings = job.settings
    predictions: dict[str, dict[int, pd.DataFrame]] = {}
    for path, record in zip(job.inputs["predictions"], job.records["predictions"], strict=True):
        run = record["seal"]["recipe"]["wildcards"]
        predictions.setdefault(run["mode"], {})[int(run["seed"])] = read_predictions(path)
    job.results = compare.compare(
        predictions,
        metric=settings.metric,
        resamples=settings.resamples,
        seed=settings.seed,
        level=settings.level,
    )
    tables.write_csv(compare.pairs_table(job.results), job.outputs.comparison)
