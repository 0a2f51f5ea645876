"""Compare the modes on the same test rows: paired differences, intervals, plain verdicts."""

import pandas as pd

from adapter import Job
from graft import comparison, metrics, summaries

with Job(snakemake) as job:
    predictions: dict[str, dict[int, pd.DataFrame]] = {}
    for path, record in zip(job.inputs["predictions"], job.records["predictions"], strict=True):
        run = record["seal"]["recipe"]["wildcards"]
        predictions.setdefault(run["mode"], {})[int(run["seed"])] = metrics.read_predictions(path)
    job.results = comparison.compare(predictions, **job.settings)
    summaries.write_csv(comparison.pairs_table(job.results), job.outputs.comparison)
