"""Which config values each stage reads, and which parts, files and runs there are.

A stage's recipe holds exactly what its function here returns, so a value that a stage does
not read can change without redoing it.
"""

from graft.config import architectures
from graft.config import checks as configs
from graft.core.raw_names import raw_name

SPLITS = ("train", "val", "test")


def parts(config: dict, dataset: str, *splits: str) -> list[str]:
    """The parts of a dataset, `{split}-{shard}`, for the splits asked for (default: all)."""
    shards = config["datasets"][dataset]["shards"]
    return [f"{split}-{shard:02d}" for split in splits or SPLITS for shard in range(shards[split])]


def members(config: dict, dataset: str) -> list[str]:
    """The datasets that this one merges; itself, where it merges none."""
    return config["datasets"][dataset].get("merge", [dataset])


def raw_files(config: dict, dataset: str) -> list[tuple[str, str]]:
    """(dataset that it is of, file name under raw/) of all files, after unpacking (x.tgz becomes
    x.tar)."""
    return [
        (member, raw_name(file))
        for member in members(config, dataset)
        for file in config["datasets"][member]["files"]
    ]


def experiments(config: dict) -> list[str]:
    """The experiments to run: those that `run` lists and those that their sources come from."""
    wanted: list[str] = []
    for name in config["run"]:
        wanted += [e for e in configs.ancestry(config, name) if e not in wanted]
    return wanted


def overviews(config: dict) -> list[str]:
    """The overviews whose experiments are all to be run; the others are passed over."""
    running = set(experiments(config))
    return [n for n, spec in config["overviews"].items() if running.issuperset(spec["experiments"])]


def datasets(config: dict) -> list[str]:
    """The datasets that the experiments to run need."""
    return list(dict.fromkeys(config["experiments"][e]["dataset"] for e in experiments(config)))


def sources(config: dict) -> list[str]:
    """The sources that some run transfers from, each stack followed by its members."""
    used = [
        config["experiments"][e]["source"]
        for e in experiments(config)
        if any(architectures.is_transferred(m) for m in config["experiments"][e]["modes"])
    ]
    return list(
        dict.fromkeys(
            name
            for source in used
            for name in (source, *config["sources"][source]["weights"].get("stack", []))
        )
    )


def runs(config: dict, experiment: str) -> list[tuple[str, int]]:
    """The (mode, seed) pairs that an experiment lists."""
    listed = config["experiments"][experiment]
    return [(mode, seed) for mode in listed["modes"] for seed in listed["seeds"]]


def cut(config: dict, experiment: str, mode: str) -> str:
    """Where the mode's frozen prefix ends."""
    source = config["sources"][config["experiments"][experiment]["source"]]
    pool = configs.training(config, experiment, mode)["head"]["pool"]
    return architectures.cut(mode, source["architecture"], pool)


def cuts(config: dict) -> list[tuple[str, str, str]]:
    """The (dataset, source, cut) triples whose features some run reads."""
    triples = []
    for name in experiments(config):
        experiment = config["experiments"][name]
        for mode in experiment["modes"]:
            for needed in (mode, configs.warm_up(config, name, mode)):
                if needed and (at := cut(config, name, needed)) != architectures.IMAGE:
                    triples.append((experiment["dataset"], experiment["source"], at))
    return list(dict.fromkeys(triples))


def folders(config: dict) -> list[tuple[str, str]]:
    """(dataset, file) of the files to pack from folders, for the datasets that are needed."""
    wanted = datasets(config)
    if "experiment" in config.get("predict", {}):  # which is trained for it, if need be
        for name in configs.ancestry(config, config["predict"]["experiment"]):
            wanted.append(config["experiments"][name]["dataset"])
    needed = [member for dataset in wanted for member in members(config, dataset)]
    return [
        (dataset, file)
        for dataset in dict.fromkeys(needed)
        for file, spec in config["datasets"][dataset]["files"].items()
        if "folder" in spec
    ]


def download(config: dict, dataset: str, file: str) -> dict:
    """What a raw file is; where it comes from is no part of it (see `mirrors`).

    Of a folder that is its `tree` (see `trees.digest`), found out when the config is read.
    """
    name, spec = _published(config, dataset, file)
    return {
        "name": name,
        "key": f"datasets.{dataset}.files.{name}",
        **{key: spec.get(key) for key in ("sha256", "md5", "size", "render", "tree")},
    }


def mirrors(config: dict, dataset: str, file: str) -> dict:
    """Where a raw file may be had: {"url": [...], "manual": ..., "folder": ...}."""
    _, spec = _published(config, dataset, file)
    return {"url": spec.get("url", []), **{key: spec.get(key) for key in ("manual", "folder")}}


def structure(config: dict, dataset: str) -> dict:
    spec = config["datasets"][dataset]
    if "merge" in spec:
        read = {"merge": {name: _read_as(config, name) for name in spec["merge"]}}
    else:
        read = _read_as(config, dataset)
    kept = {key: spec[key] for key in ("classes", "split", "limit", "shards")}
    return {"dataset": dataset, **read, **kept}


def _read_as(config: dict, dataset: str) -> dict:
    """How the samples of a dataset that merges none are read."""
    spec = config["datasets"][dataset]
    return {key: spec[key] for key in ("layout", "label", "options", "classes")}


def crop(config: dict, dataset: str) -> dict:
    spec = config["datasets"][dataset]
    found = {"crop": spec["crop"], "size": spec["crop_size"] or spec["image_size"]}
    if spec["crop"] == "whole":  # asks no detector
        return found
    return {**found, "detector": spec["detector"], "device": config["compute"]["device"]}


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
        "allow_new": spec["allow_new"],
        "published_transform": spec["transform"] if spec["fold"] else None,
        "transform": configs.transform(config, source),
    }


def backbone(config: dict, source: str) -> dict:
    """What a network is built from: architecture, input transform, and a stack's members."""
    spec = config["sources"][source]
    found = {
        "architecture": spec["architecture"],
        "transform": configs.transform(config, source),
    }
    if spec["architecture"] == architectures.STACK:
        members = spec["weights"].get("stack", [])
        found["experts"] = {member: backbone(config, member) for member in members}
    return found


def ledger(config: dict) -> dict:
    """Where training may log live; no part of what it computes."""
    return {key: config["mlflow"][key] for key in ("tracking_uri", "experiment")}


def source_mirrors(config: dict, source: str) -> dict:
    return {"url": config["sources"][source]["weights"].get("url", []), "manual": None}


def features(config: dict, dataset: str, source: str, part: str) -> dict:
    """Mirrored views are for training, where an experiment on these features mirrors pictures."""
    compute = config["compute"]
    flip = part.startswith("train") and any(
        configs.training(config, name, mode)["augment"]["flip"]
        for name, spec in config["experiments"].items()
        if (spec["dataset"], spec["source"]) == (dataset, source)
        for mode in {*spec["modes"], "feature_extraction"}  # which may warm up the others' head
    )
    return {
        "flip": flip,
        "device": compute["device"],
        "precision": compute["inference_precision"],
        "threads": compute["threads"],
        "batch_size": compute["batch_size"],
    }


def train(config: dict, experiment: str, mode: str) -> dict:
    spec = config["experiments"][experiment]
    compute = config["compute"]
    training = configs.training(config, experiment, mode)
    del training["warm_up"]  # told by the input, which is there or not
    return {
        **backbone(config, spec["source"]),
        "mode": mode,
        "cut": cut(config, experiment, mode),
        "train": training,
        "preparation": {**crop(config, spec["dataset"]), **pack(config, spec["dataset"])},
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


def overview(config: dict, name: str) -> dict:
    spec = config["overviews"][name]
    return {
        "title": spec.get("title", name),
        "experiments": [_overviewed(config, experiment) for experiment in spec["experiments"]],
        "published": spec["published"],
        **compare(config),
    }


def _overviewed(config: dict, experiment: str) -> dict:
    """What an overview tells of an experiment that its fits do not."""
    spec = config["experiments"][experiment]
    return {
        "name": experiment,
        "title": spec.get("title", experiment),
        "source": spec["source"],
        "dataset": structure(config, spec["dataset"]),
    }


def predict(config: dict, pictures: str, model: str | None) -> dict:
    """`pictures` and `model` are the digests of the folder and of the model file, if any."""
    asked, compute = config["predict"], config["compute"]
    return {
        "pictures": asked["pictures"],
        "pictures_sha256": pictures,
        "model": asked.get("model") or "{experiment}, {mode}, seed {seed}".format(**asked),
        "model_sha256": model,
        "device": compute["device"],
        "precision": compute["training_precision"],
        "threads": compute["threads"],
        "batch_size": compute["batch_size"],
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
    kinds = ("url", "torchvision", "experiment", "random", "stack")
    return next(kind for kind in kinds if kind in source["weights"])
