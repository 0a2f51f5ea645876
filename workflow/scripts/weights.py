"""Bring a source's weights, wherever they were published, under torchvision's names."""

from pathlib import PurePosixPath
from urllib.parse import urlsplit

from adapter import Job
from graft import downloads, sources
from graft.errors import GraftError

with Job(snakemake) as job:
    spec = job.settings
    kind, key = spec["weights"]["kind"], spec["key"]
    if kind == "random":
        raise GraftError(f"{key} is a structure without weights; there is nothing to transfer.")
    if kind == "experiment":
        tensors = sources.read(job.input("model"))
        origin = {
            "experiment": spec["weights"]["experiment"],
            "sha256": job.record("model")["seal"]["outputs"]["model"]["sha256"],
        }
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
        tensors = sources.read(published)
        origin = {"file": name, "sha256": fetched["sha256"]}
    job.results = sources.normalise(
        tensors,
        job.outputs.weights,
        architecture=spec["architecture"],
        transform=spec["transform"],
        key=key,
        origin=origin,
    )
    if kind != "experiment":
        published.unlink()
