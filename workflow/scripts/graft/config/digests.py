"""Files to be downloaded for which the config gives no digest."""

from collections.abc import Mapping

from graft.config.datasets import Published
from graft.config.models import Config


def missing(config: Config) -> list[str]:
    """The keys of the files and weights for which the config has no digest."""
    files = [
        f"datasets.{name}.files.{file}"
        for name, dataset in config.datasets.items()
        if isinstance(dataset, Published)
        for file, spec in dataset.files.items()
        if spec.url is not None and spec.sha256 is None and spec.md5 is None
    ]
    return files + [
        f"sources.{name}"
        for name, source in config.sources.items()
        if source.weights.kind in ("url", "timm") and source.sha256 is None
    ]


def entered(config: Config, digests: Mapping[str, str]) -> Config:
    """The config with the sha256 of files and weights, by their keys, as if it gave them."""
    datasets, sources = dict(config.datasets), dict(config.sources)
    for name, dataset in config.datasets.items():
        if isinstance(dataset, Published):
            files = dict(dataset.files)
            for file, spec in files.items():
                if sha256 := digests.get(f"datasets.{name}.files.{file}"):
                    files[file] = spec.model_copy(update={"sha256": sha256})
            datasets[name] = dataset.model_copy(update={"files": files})
    for name, source in sources.items():
        if sha256 := digests.get(f"sources.{name}"):
            sources[name] = source.model_copy(update={"sha256": sha256})
    return config.model_copy(update={"datasets": datasets, "sources": sources})
