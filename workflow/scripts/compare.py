"""Compare the modes on the same test rows: paired differences, intervals, plain verdicts."""

from adapter import Job
from graft.config import stages
from graft.evaluation import compare
from graft.reporting import tables
from graft.reporting.results import Results

with Job(snakemake, stages.CompareSettings) as job:
    settings = job.settings
    results = Results.gather(job.inputs, job.records)
    job.results = compare.compare(
        results.tables(),
        failures=results.failures_by_mode(settings.metric),
        metric=settings.metric,
        resamples=settings.resamples,
        seed=settings.seed,
        level=settings.level,
    )
    tables.write_csv(compare.pairs_table(job.results), job.outputs.comparison)
