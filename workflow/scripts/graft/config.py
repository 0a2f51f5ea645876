"""The config: checked against its schema, completed with defaults, and free of loose ends."""

import copy
import difflib
import math
from collections.abc import Iterator
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from graft import architectures
from graft.downloads import raw_name
from graft.errors import GraftError

# JSON lets 2.0 pass for an integer and YAML knows infinity; neither means anything here.
_Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: type(value) is int,
            "number": lambda _, value: type(value) in (int, float) and math.isfinite(value),
        }
    ),
)


def resolve(config: dict, schema: dict) -> dict:
    """A complete copy of `config`: every default filled in, every reference known to lead home.

    Raises GraftError in one sentence that names the key and what to do.
    """
    config = copy.deepcopy(config)
    errors = list(_Validator(schema).iter_errors(config))
    if errors:
        # An unknown key explains the missing one it was meant to be, so it is told first.
        raise GraftError(
            _sentence(
                min(errors, key=lambda e: (e.validator != "additionalProperties", e.json_path))
            )
        )
    config = _complete(config, schema, schema)
    for check in (
        _check_run,
        _check_ledger,
        _check_datasets,
        _check_sources,
        _check_experiments,
        _check_chains,
    ):
        check(config)
    return config


def training(config: dict, experiment: str, mode: str) -> dict:
    """The training settings of one mode: the experiment's, overridden by the mode's own."""
    settings = copy.deepcopy(config["experiments"][experiment]["train"])
    override = settings.pop("modes").get(mode, {})
    for key, value in override.items():
        if isinstance(value, dict) and key != "tune":
            settings[key].update(value)
        else:
            settings[key] = value
    return settings


def _sentence(error: ValidationError) -> str:
    where = _dotted(error.absolute_path)
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))[0]
        near = difflib.get_close_matches(str(unknown), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known keys here: {', '.join(known)}."
        key = f"{where}.{unknown}" if where else unknown
        return f"config: {key} is not a known key; {hint}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"config: {where}.{missing} is missing; add it (config/README.md documents it)."
    if error.validator == "enum":
        value = error.instance
        choices = [str(choice) for choice in error.validator_value]
        near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(choices)}."
        return f"config: {where} is {value!r}; {hint}"
    if error.parent is None and "propertyNames" in error.absolute_schema_path:
        return (
            f"config: {error.instance!r} under {where} is not a usable name; "
            "use letters, digits and underscores."
        )
    return f"config: {where} is not valid ({error.message}); see config/README.md."


def _dotted(path) -> str:
    return ".".join(str(part) for part in path)


def _complete(value, schema: dict, root: dict, partial: bool = False):
    """Fill in defaults, recursively; below `x-partial` only what is there is kept."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if not isinstance(value, dict) or schema.get("type") != "object":
        return value
    partial = partial or schema.get("x-partial", False)
    properties = schema.get("properties", {})
    extra = schema.get("additionalProperties")
    completed = {}
    for key, item in value.items():
        inner = properties.get(key, extra)
        completed[key] = _complete(item, inner, root, partial) if isinstance(inner, dict) else item
    if not partial:
        for key, inner in properties.items():
            target = inner
            if "$ref" in inner:
                target = root["$defs"][inner["$ref"].rsplit("/", 1)[1]]
            if key not in completed and "default" in target:
                completed[key] = _complete(copy.deepcopy(target["default"]), target, root)
    return completed


def _known(kind: str, name: str, table: dict, key: str) -> None:
    if name not in table:
        near = difflib.get_close_matches(name, list(table), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(table))}."
        raise GraftError(f"config: {key} names {kind} {name!r}, which is not defined; {hint}")


def _check_run(config: dict) -> None:
    for name in config["run"]:
        _known("the experiment", name, config["experiments"], "run")


def _check_datasets(config: dict) -> None:
    for name, dataset in config["datasets"].items():
        key = f"datasets.{name}"
        total = sum(dataset["split"][split] for split in ("train", "val", "test"))
        if abs(total - 1) > 1e-6:
            raise GraftError(
                f"config: {key}.split's train, val and test sum to {total:g}; make them sum to 1."
            )
        names = [raw_name(file) for file in dataset["files"]]
        if len(set(names)) < len(names):
            raise GraftError(
                f"config: two of {key}.files have the same name once unpacked; rename one."
            )
        for file, spec in dataset["files"].items():
            _check_mirrors(f"{key}.files.{file}.url", spec.get("url", []))
            if ("url" in spec) == ("render" in spec):
                raise GraftError(
                    f"config: {key}.files.{file} needs exactly one of url (with sha256) and render."
                )
            render = spec.get("render")
            if render and ("pictures" in render) != (render["kind"] == "lfw"):
                raise GraftError(
                    f"config: {key}.files.{file}.render needs pictures (of each person) for the "
                    "kind lfw, and only for it."
                )
        if dataset["crop"] == "aligned_face" and dataset["detector"]["name"] == "none":
            raise GraftError(
                f"config: {key}.crop is aligned_face but {key}.detector.name is none; "
                "choose a detector or crop: whole."
            )


def _check_sources(config: dict) -> None:
    for name, source in config["sources"].items():
        key = f"sources.{name}"
        _check_mirrors(f"{key}.weights.url", source["weights"].get("url", []))
        kinds = {"url", "torchvision", "experiment", "random"} & set(source["weights"])
        if len(kinds) != 1:
            raise GraftError(
                f"config: {key}.weights needs exactly one of url, torchvision, experiment, random."
            )
        if kinds == {"experiment"}:
            weights = source["weights"]
            _known("the experiment", weights["experiment"], config["experiments"], key)
            origin = config["experiments"][weights["experiment"]]
            if weights["mode"] not in origin["modes"] or weights["seed"] not in origin["seeds"]:
                raise GraftError(
                    f"config: {key}.weights asks for mode {weights['mode']} and seed "
                    f"{weights['seed']}, which experiments.{weights['experiment']} does not list."
                )
            _known(
                "the source",
                origin["source"],
                config["sources"],
                f"experiments.{weights['experiment']}.source",
            )
            taught = config["sources"][origin["source"]]["architecture"]
            if taught != source["architecture"]:
                raise GraftError(
                    f"config: {key}.architecture is {source['architecture']} but "
                    f"experiments.{weights['experiment']} trains {taught}; make them equal."
                )
            if config["sources"][origin["source"]]["transform"] != source["transform"]:
                raise GraftError(
                    f"config: {key}.transform differs from that of sources.{origin['source']}, "
                    f"with which experiments.{weights['experiment']} trains; make them equal."
                )


def _check_mirrors(key: str, mirrors: list[str]) -> None:
    if any(urlsplit(mirror).username for mirror in mirrors):
        raise GraftError(
            f"config: {key} holds a user name or password, which would be logged; "
            "fetch the file by hand and put it into downloads/."
        )


def _check_ledger(config: dict) -> None:
    if urlsplit(config["mlflow"]["tracking_uri"]).username:
        raise GraftError(
            "config: mlflow.tracking_uri holds a user name or password, which would be logged; "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead."
        )


def _check_experiments(config: dict) -> None:
    for name, experiment in config["experiments"].items():
        key = f"experiments.{name}"
        _known("the dataset", experiment["dataset"], config["datasets"], f"{key}.dataset")
        _known("the source", experiment["source"], config["sources"], f"{key}.source")
        source = config["sources"][experiment["source"]]
        architecture = source["architecture"]
        overrides = experiment["train"]["modes"]
        for mode in [*experiment["modes"], *overrides]:
            if not architectures.is_mode(mode, architecture):
                blocks = ", ".join(
                    f"freeze_{block}" for block in architectures.BLOCKS[architecture]
                )
                raise GraftError(
                    f"config: {key}.modes has {mode!r}; {architecture} knows "
                    f"{', '.join(architectures.MODES)}, {blocks}."
                )
        for mode in experiment["modes"]:
            if architectures.is_transferred(mode) and "random" in source["weights"]:
                raise GraftError(
                    f"config: {key}.modes has {mode}, but sources.{experiment['source']} has no "
                    "weights to transfer; use from_scratch alone or name another source."
                )
        if any("modes" in override for override in overrides.values()):
            raise GraftError(f"config: {key}.train.modes must not hold another modes key.")
        for mode in experiment["modes"]:
            _check_training(config, name, mode)


def _check_training(config: dict, experiment: str, mode: str) -> None:
    key, spec = f"experiments.{experiment}.train", training(config, experiment, mode)
    first = architectures.warm_up(mode)
    if first and training(config, experiment, first)["head"] != spec["head"]:
        raise GraftError(
            f"config: {key}.modes gives {mode} another head than {first}, whose trained head it "
            "starts from; make them equal."
        )
    if spec["augment"]["flip"] and not config["features"]["flip"]:
        raise GraftError(
            f"config: {key}.augment.flip is true but features.flip is false, so the frozen "
            "modes would see other views than the rest; make them equal."
        )
    if spec["optimizer"]["nesterov"] and not spec["optimizer"]["momentum"]:
        raise GraftError(
            f"config: {key}.optimizer.nesterov needs a momentum above 0; set one or turn it off."
        )


def _check_chains(config: dict) -> None:
    """A source may be another experiment; following such links must come to an end."""
    for name in config["experiments"]:
        seen = []
        for experiment in ancestry(config, name):
            if experiment in seen:
                chain = " -> ".join([*seen, experiment])
                raise GraftError(f"config: sources form a circle ({chain}); break it.")
            seen.append(experiment)


def ancestry(config: dict, experiment: str | None) -> Iterator[str]:
    """An experiment, the one its source was trained by, and so on to the first."""
    while experiment is not None:
        yield experiment
        source = config["experiments"][experiment]["source"]
        experiment = config["sources"][source]["weights"].get("experiment")
