"""Draw the labels curve of an experiment: its modes over the number of training samples."""

from adapter import Job
from graft.config import reports
from graft.reporting import labels, tables
from graft.reporting.figures.labels import labels_figure
from graft.reporting.figures.style import save_svg
from graft.reporting.results import by_experiment

with Job(snakemake, reports.LabelsSettings) as job:
    job.results = labels.curve(by_experiment(job.inputs, job.records), job.settings)
    save_svg(labels_figure(job.results), job.outputs.figure)
    tables.write_csv(labels.table(job.results), job.outputs.table)
