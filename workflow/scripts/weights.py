"""Write a source's weights, of whatever kind, under torchvision's names."""

from adapter import Job
from graft.config import stages
from graft.core.files import write_json
from graft.models import weights

with Job(snakemake, stages.WeightsSettings) as job:
    made = {
        path: digest
        for role in ("model", "members")
        for path, digest in zip(job.inputs[role], job.digests(role), strict=True)
    }
    urls = job.parameter("mirrors")["url"]
    report = weights.make(job.settings, job.outputs.weights, urls=urls, made=made, **job.trust())
    write_json(job.outputs.import_report, {"source": job.wildcards["source"], **report})
    reported = ("parameters", "unwrapped", "stripped", "notes", "certificate")
    job.results = {key: report[key] for key in reported}
    if job.settings.weights.kind in {"url", "timm"}:
        origin = report["origin"]
        job.first_use(origin["file"], origin["sha256"])
