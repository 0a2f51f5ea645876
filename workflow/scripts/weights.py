"""Bring a source's weights, wherever they were published, under torchvision's names."""

from pathlib import PurePosixPath
from urllib.parse import urlsplit

from adapter import Job
from graft.core.errors import GraftError
from graft.core.files import write_json
from graft.download import mirrors as downloads
from graft.models import sources

with Job(snakemake) as job:
    spec = job.settings
    kind, key = spec["weights"]["kind"], spec["key"]
    experts = published = None
    if kind == "random":
        raise GraftError(f"{key} is a structure without weights; there is nothing to transfer.")
    if kind == "experiment":
        tensors = sources.read(job.input("model"))
        origin = {
            "experiment": spec["weights"]["experiment"],
            "sha256": job.record("model")["seal"]["outputs"]["model"]["sha256"],
        }
    elif kind == "stack":
        members = spec["weights"]["stack"]
        tensors, experts = sources.stack(dict(zip(members, job.inputs["members"], strict=True)))
        origin = {"stack": dict(zip(members, job.digests("members"), strict=True))}
    else:
        mirrors, expected = job.parameter("mirrors")["url"], spec["sha256"]
        if kind == "torchvision":
            url, prefix = sources.torchvision_weights(
                spec["architecture"], spec["weights"]["torchvision"]
            )
            mirrors, expected = [url], expected or prefix
        name = PurePosixPath(urlsplit(mirrors[0]).path).name
        published = job.outputs.weights.with_name(f"{job.wildcards['source']}.{name}")
        fetched = downloads.fetch(
            mirrors,
            published,
            sha256=expected,
            size=spec["size"],
            name=name,
            key=key,
            url_key=f"{key}.weights",
        )
        tensors = sources.read(
            published,
            architecture=spec["architecture"],
            allow_new=spec["allow_new"],
            key=key,
        )
        origin = {"file": name, "sha256": fetched["sha256"]}
    report = sources.normalise(
        tensors,
        job.outputs.weights,
        architecture=spec["architecture"],
        transform=spec["transform"],
        published_transform=spec["published_transform"],
        allow_new=spec["allow_new"],
        experts=experts,
        key=key,
        origin=origin,
    )
    described = {"source": job.wildcards["source"], "architecture": spec["architecture"]}
    write_json(job.outputs.import_report, {**described, "origin": origin, **report})
    job.results = {"parameters": report["parameters"]}
    if published is not None:
        published.unlink()
