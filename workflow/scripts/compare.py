"""Compare the modes on the same test rows: paired differences, intervals, plain verdicts."""

import pandas as pd

from adapter import Job
from graft.evaluation import compare, metrics
from graft.reporting import tables

with Job(snakemake) as job:
    predictions: dict[str, dict[int, pd.DataFrame]] = {}
    for path, record in zip(job.inputs["predictions"], job.records["predictions"], strict=True):
        run = record["seal"]["recipe"]["wildcards"]
        predictions.setdefault(run["mode"], {})[int(run["seed"])] = metrics.read_predictions(path)
    job.results = compare.compare(predictions, **job.settings)
    tables.write_csv(compare.pairs_table(job.results), job.outputs.comparison)
