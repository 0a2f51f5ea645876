"""Show where in test pictures a model of patches sees their classes."""

from adapter import Job
from graft.config import reports
from graft.reporting import heat_maps
from graft.reporting.figures.style import save_svg

with Job(snakemake, reports.HeatMapsSettings) as job:
    settings = job.settings
    shown = heat_maps.shown(
        job.input("model"),
        job.inputs["test"],
        job.inputs["packs"],
        job.input("predictions"),
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
    )
    save_svg(heat_maps.figure(shown), job.outputs.figure)
    job.results = {"pictures": {name: len(maps) for name, maps in shown.items()}}
