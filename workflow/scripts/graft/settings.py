"""Which config values each stage reads, and which parts, files and runs there are.

A stage's recipe holds exactly what its function here returns, so a value that a stage does
not read can change without redoing it.
"""

from graft import architectures
from graft import config as configs
from graft.downloads import raw_name

SPLITS = ("train", "val", "test")


def parts(config: dict, dataset: str, *splits: str) -> list[str]:
    """The parts of a dataset, `{split}-{shard}`, for the splits asked for (default: all)."""
    shards = config["datasets"][dataset]["shards"]
    return [f"{split}-{shard:02d}" for split in splits or SPLITS for shard in range(shards[split])]


def raw_files(config: dict, dataset: str) -> list[str]:
    """File names under raw/, after unpacking (x.tgz becomes x.tar)."""
    return [raw_name(file) for file in config["datasets"][dataset]["files"]]


def experiments(config: dict) -> list[str]:
    """The experiments to run: those that `run` lists and those that their sources come from."""
    wanted: list[str] = []
    for name in config["run"]:
        wanted += [e for e in configs.ancestry(config, name) if e not in wanted]
    return wanted


def datasets(config: dict) -> list[str]:
    """The datasets that the experiments to run need."""
    return list(dict.fromkeys(config["experiments"][e]["dataset"] for e in experiments(config)))


def sources(config: dict) -> list[str]:
    """The sources that some run transfers from."""
    return list(
        dict.fromkeys(
            config["experiments"][e]["source"]
            for e in experiments(config)
            if any(architectures.is_transferred(m) for m in config["experiments"][e]["modes"])
        )
    )


def runs(config: dict, experiment: str) -> list[tuple[str, int]]:
    """The (mode, seed) pairs that an experiment lists."""
    listed = config["experiments"][experiment]
    return [(mode, seed) for mode in listed["modes"] for seed in listed["seeds"]]


def cut(config: dict, experiment: str, mode: str) -> str:
    """Where the mode's frozen prefix ends."""
    return architectures.cut(mode, configs.training(config, experiment, mode)["head"]["pool"])


def cuts(config: dict) -> list[tuple[str, str, str]]:
    """The (dataset, source, cut) triples whose features some run reads."""
    triples = []
    for name in experiments(config):
        experiment = config["experiments"][name]
        for mode in experiment["modes"]:
            for needed in (mode, architectures.warm_up(mode)):
                if needed and (at := cut(config, name, needed)) != architectures.IMAGE:
                    triples.append((experiment["dataset"], experiment["source"], at))
    return list(dict.fromkeys(triples))


def download(config: dict, dataset: str, file: str) -> dict:
    """What a raw file is; where it comes from is no part of it (see `mirrors`)."""
    name, spec = _published(config, dataset, file)
    return {
        "name": name,
        "key": f"datasets.{dataset}.files.{name}",
        **{key: spec.get(key) for key in ("sha256", "size", "render")},
    }


def mirrors(config: dict, dataset: str, file: str) -> dict:
    """Where a raw file may be had: {"url": [...], "manual": ...}."""
    _, spec = _published(config, dataset, file)
    return {"url": spec.get("url", []), "manual": spec.get("manual")}


def structure(config: dict, dataset: str) -> dict:
    spec = config["datasets"][dataset]
    kept = {key: spec[key] for key in ("layout", "label", "options", "split", "limit", "shards")}
    return {"dataset": dataset, **kept}


def faces(config: dict, dataset: str) -> dict:
    spec = config["datasets"][dataset]
    return {
        "crop": spec["crop"],
        "size": spec["crop_size"] or spec["image_size"],
        "detector": spec["detector"],
        "device": config["compute"]["device"],
    }


def pack(config: dict, dataset: str) -> dict:
    spec = config["datasets"][dataset]
    return {key: spec[key] for key in ("image_size", "grayscale", "equalize")}


def weights(config: dict, source: str) -> dict:
    """What a source is; its mirrors are no part of it (see `source_mirrors`)."""
    spec = config["sources"][source]
    kept = {key: value for key, value in spec["weights"].items() if key != "url"}
    return {
        "key": f"sources.{source}",
        "architecture": spec["architecture"],
        "weights": {**kept, "kind": _kind(spec)},
        "sha256": spec["sha256"],
        "size": spec["size"],
        "transform": spec["transform"],
    }


def ledger(config: dict) -> dict:
    """Where training may log live; no part of what it computes."""
    return {key: config["mlflow"][key] for key in ("tracking_uri", "experiment")}


def source_mirrors(config: dict, source: str) -> dict:
    return {"url": config["sources"][source]["weights"].get("url", []), "manual": None}


def features(config: dict, part: str) -> dict:
    compute = config["compute"]
    return {
        "flip": config["features"]["flip"] and part.startswith("train"),
        "device": compute["device"],
        "precision": compute["inference_precision"],
        "threads": compute["threads"],
        "batch_size": compute["batch_size"],
    }


def train(config: dict, experiment: str, mode: str) -> dict:
    spec = config["experiments"][experiment]
    source = config["sources"][spec["source"]]
    compute = config["compute"]
    return {
        "architecture": source["architecture"],
        "transform": source["transform"],
        "mode": mode,
        "cut": cut(config, experiment, mode),
        "train": configs.training(config, experiment, mode),
        "preparation": {**faces(config, spec["dataset"]), **pack(config, spec["dataset"])},
        "device": compute["device"],
        "precision": compute["training_precision"],
        "threads": compute["threads"],
    }


def evaluate(config: dict) -> dict:
    compute = config["compute"]
    kept = {key: config["evaluate"][key] for key in ("resamples", "level", "seed")}
    return {
        **kept,
        "device": compute["device"],
        "precision": compute["training_precision"],
        "threads": compute["threads"],
    }


def compare(config: dict) -> dict:
    return dict(config["evaluate"])


def plots(config: dict, experiment: str) -> dict:
    spec = config["experiments"][experiment]
    return {
        "title": spec.get("title", experiment),
        "select": spec["train"]["select"],
    }


def track(config: dict, experiment: str) -> dict:
    spec = config["experiments"][experiment]
    return {
        **config["mlflow"],
        "dataset": spec["dataset"],
        "source": spec["source"],
        "modes": spec["modes"],
        "seeds": spec["seeds"],
    }


def _published(config: dict, dataset: str, file: str) -> tuple[str, dict]:
    files = config["datasets"][dataset]["files"]
    name = next(name for name in files if raw_name(name) == file)
    return name, files[name]


def _kind(source: dict) -> str:
    return next(k for k in ("url", "torchvision", "experiment", "random") if k in source["weights"])
