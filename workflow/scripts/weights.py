"""Bring a source's weights, wherever they were published, under torchvision's names."""

from pathlib import PurePosixPath
from urllib.parse import urlsplit

from adapter import Job
from graft.config import stages
from graft.core.errors import GraftError
from graft.core.files import write_json
from graft.download import mirrors as downloads
from graft.models import sources

with Job(snakemake, stages.WeightsSettings) as job:
    settings = job.settings
    kind, key, backbone = settings.weights.kind, settings.key, settings.backbone
    experts = published = None
    if kind == "random":
        raise GraftError(f"{key} is a structure without weights; there is nothing to transfer.")
    if kind == "experiment":
        tensors = sources.read(job.input("model"))
        origin = {
            "experiment": settings.weights.experiment,
            "sha256": job.record("model")["seal"]["outputs"]["model"]["sha256"],
        }
    elif kind == "stack":
        members = settings.weights.stack
        tensors, experts = sources.stack(dict(zip(members, job.inputs["members"], strict=True)))
        origin = {"stack": dict(zip(members, job.digests("members"), strict=True))}
    else:
        mirrors, expected = job.parameter("mirrors")["url"], settings.sha256
        if kind == "torchvision":
            url, prefix = sources.torchvision_weights(
                backbone.architecture, settings.weights.torchvision
            )
            mirrors, expected = [url], expected or prefix
        name = PurePosixPath(urlsplit(mirrors[0]).path).name
        published = job.outputs.weights.with_name(f"{job.wildcards['source']}.{name}")
        fetched = downloads.fetch(
            mirrors,
            published,
            sha256=expected,
            size=settings.size,
            name=name,
            key=key,
            url_key=f"{key}.weights",
        )
        tensors = sources.read(
            published,
            architecture=backbone.architecture,
            allow_new=settings.allow_new,
            key=key,
        )
        origin = {"file": name, "sha256": fetched["sha256"]}
    report = sources.normalise(
        tensors,
        job.outputs.weights,
        architecture=backbone.architecture,
        transform=backbone.transform.model_dump(mode="json"),
        allow_new=settings.allow_new,
        experts=experts,
        key=key,
        origin=origin,
    )
    described = {"source": job.wildcards["source"], "architecture": backbone.architecture}
    write_json(job.outputs.import_report, {**described, "origin": origin, **report})
    job.results = {"parameters": report["parameters"]}
    if published is not None:
        published.unlink()
