"""The config: checked against its schema, completed with defaults, and free of loose ends."""

import copy
import difflib
import math
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator

from graft.config import architectures
from graft.core.errors import GraftError
from graft.core.raw_names import raw_name

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


IMAGENET = {
    "scale": 1 / 255,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "channels": "RGB",
}
"""torchvision's normalisation of ImageNet, which is the schema's default."""

PIXELS = {"size": None, "scale": 1.0, "mean": [0.0] * 3, "std": [1.0] * 3, "channels": "RGB"}
"""The transform that leaves pictures as they are."""


def resolve(config: dict, schema: dict) -> dict:
    """A complete copy of `config`: every default filled in, every reference known to lead home.

    A key that is null is as if it were not there, so that an overlay can take keys away; where
    the schema knows null as a value it stays. Raises GraftError in one sentence that names the
    key and what to do.
    """
    _check_keys(config, ())
    validator = _Validator(schema)
    config = _without_nulls(copy.deepcopy(config), schema, validator)
    errors = list(validator.iter_errors(config))
    if errors:
        # An unknown key explains the missing one it was meant to be, so it is told first.
        raise GraftError(
            _sentence(
                min(errors, key=lambda e: (e.validator != "additionalProperties", e.json_path))
            )
        )
    _check_stacks(config)
    config = _complete(config, schema, schema)
    for check in (
        _check_run,
        _check_ledger,
        _check_datasets,
        _check_sources,
        _check_experiments,
        _check_chains,
        _check_overviews,
        _check_predict,
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


def warm_up(config: dict, experiment: str, mode: str) -> str | None:
    """The mode whose trained head a mode starts from; None where its head starts random."""
    wanted = training(config, experiment, mode)["warm_up"]
    return architectures.warm_up(mode) if wanted else None


def transform(config: dict, source: str) -> dict:
    """What a source's network expects its pictures to be, once its weights are here.

    That is the source's own `transform`; or, where it is folded into the first convolution,
    torchvision's for ImageNet; or, for a stack, whose members have their own, plain pixels.
    """
    spec = config["sources"][source]
    if "stack" in spec["weights"]:
        return dict(PIXELS)
    return {**spec["transform"], **(IMAGENET if spec["fold"] else {})}


def teachers(config: dict, source: str) -> list[str]:
    """The experiments whose models a source is made of: none, one, or those of a stack."""
    weights = config["sources"][source]["weights"]
    if "stack" in weights:
        found = [teacher for member in weights["stack"] for teacher in teachers(config, member)]
        return list(dict.fromkeys(found))
    return [weights["experiment"]] if "experiment" in weights else []


_KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a mapping of keys to values",
    "string": "text",
}


def _sentence(error: ValidationError) -> str:
    while error.context:  # of several forms that a value may have, tell of the one it is nearest to
        error = max(error.context, key=lambda e: (len(e.absolute_path), e.validator != "type"))
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
    if error.validator == "type":
        wanted = error.validator_value
        names = [_KINDS[name] for name in ([wanted] if isinstance(wanted, str) else wanted)]
        hint = ""
        if "array" in wanted and not isinstance(error.instance, dict | list):
            hint = f" ([{error.instance}], say)"
        elif isinstance(error.instance, str) and {"a number", "a whole number"} & set(names):
            hint = " (YAML reads 5e-4 as text: write 0.0005; --config '{...}' makes all text)"
        return f"config: {where} is {error.instance!r}; give {' or '.join(names)}{hint}."
    if error.parent is None and "propertyNames" in error.absolute_schema_path:
        return (
            f"config: {error.instance!r} under {where} is not a usable name; "
            "use letters, digits and underscores."
        )
    return f"config: {where} is not valid ({error.message}); see config/README.md."


def _dotted(path) -> str:
    return ".".join(str(part) for part in path)


def _without_nulls(value, schema: dict, validator: Validator):
    """Leave out keys that are null where the schema does not allow null; unknown keys stay."""
    if "$ref" in schema:
        schema = validator.schema["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if not isinstance(value, dict) or schema.get("type") != "object":
        return value
    kept = {}
    for key, item in value.items():
        inner = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
        if not isinstance(inner, dict):
            kept[key] = item
        elif item is not None or validator.evolve(schema=inner).is_valid(None):
            kept[key] = _without_nulls(item, inner, validator)
    return kept


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


def _check_keys(value, path: tuple) -> None:
    """YAML reads keys such as 1 and yes as numbers and truth values, which name nothing."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check_keys(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                where = f"{_dotted(path)} has" if path else "it has"
                raise GraftError(
                    f"config: {where} the key {key!r}, which YAML does not read as text; quote it."
                )
            _check_keys(item, (*path, key))


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
        _check_origin(config, name)
        names = [raw_name(file) for file in dataset.get("files", {})]
        if len(set(names)) < len(names):
            raise GraftError(
                f"config: two of {key}.files have the same name once unpacked; rename one."
            )
        for file, spec in dataset.get("files", {}).items():
            _check_mirrors(f"{key}.files.{file}.url", spec.get("url", []))
            if len({"url", "render", "folder"} & set(spec)) != 1:
                raise GraftError(
                    f"config: {key}.files.{file} needs exactly one of url (with sha256 or md5), "
                    "render and folder."
                )
            if "folder" in spec and not file.endswith(".tar"):
                raise GraftError(
                    f"config: {key}.files.{file} is packed from a folder, so its name must end in "
                    ".tar; rename it."
                )
            digests = [name for name in ("sha256", "md5", "size") if spec.get(name) is not None]
            if "folder" in spec and digests:
                raise GraftError(
                    f"config: {key}.files.{file} has both folder and {digests[0]}, which is not "
                    "checked of a folder; leave it out."
                )
            if "render" in spec:
                _check_render(f"{key}.files.{file}.render", spec["render"])
        if dataset["crop"] == "aligned_face" and dataset["detector"]["name"] == "none":
            raise GraftError(
                f"config: {key}.crop is aligned_face but {key}.detector.name is none; "
                "choose a detector or crop: whole."
            )


def _check_origin(config: dict, name: str) -> None:
    """A data set has pictures of its own, or it merges sets that have."""
    dataset, key = config["datasets"][name], f"datasets.{name}"
    needed = ("layout", "files", "label")
    if "merge" not in dataset:
        if missing := [part for part in needed if part not in dataset]:
            raise GraftError(
                f"config: {key}.{missing[0]} is missing; add it, or name the data sets to merge in "
                f"{key}.merge."
            )
    elif given := [part for part in (*needed, "options") if dataset.get(part)]:
        raise GraftError(
            f"config: {key} has both merge and {given[0]}, which the merged data sets have each of "
            "their own; leave one of them out."
        )
    for member in dataset.get("merge", []):
        _known("the data set", member, config["datasets"], f"{key}.merge")
        if "merge" in config["datasets"][member]:
            raise GraftError(
                f"config: {key}.merge names {member}, which is merged itself; name the data sets "
                "that it merges."
            )
    if dataset["classes"].get("one_vs_rest") == "rest":
        raise GraftError(
            f"config: {key}.classes.one_vs_rest is 'rest', which is what all other classes are "
            "called; rename the class first."
        )


def _check_render(key: str, render: dict) -> None:
    """Each kind takes parameters of its own; only the size of drawn portraits may be left out."""
    kind, given = render["kind"], set(render) - {"kind"}
    needed = {"wiki": {"people", "seed"}, "lfw": {"people", "pictures", "seed"}, "digits": set()}
    if lacking := needed[kind] - given:
        raise GraftError(
            f"config: {key}: the kind {kind} needs {', '.join(sorted(lacking))}; add what is "
            "missing."
        )
    if surplus := given - needed[kind] - ({"size"} if needed[kind] else set()):
        raise GraftError(
            f"config: {key}: the kind {kind} takes no {', '.join(sorted(surplus))}; leave that out."
        )


def _check_sources(config: dict) -> None:
    for name, source in config["sources"].items():
        key = f"sources.{name}"
        _check_mirrors(f"{key}.weights.url", source["weights"].get("url", []))
        kinds = {"url", "torchvision", "experiment", "random", "stack"} & set(source["weights"])
        if len(kinds) != 1:
            raise GraftError(
                f"config: {key}.weights needs exactly one of url, torchvision, experiment, random, "
                "stack."
            )
        if (source["architecture"] == architectures.STACK) != (kinds == {"stack"}):
            raise GraftError(
                f"config: {key}.architecture is {source['architecture']}, but weights.stack goes "
                f"with the architecture {architectures.STACK}, and only with it."
            )
        if kinds == {"random"} and (source["fold"] or source["allow_new"]):
            raise GraftError(
                f"config: {key}.weights is random, so there is nothing to fold and no layer to "
                "allow_new; leave both out."
            )
        for member in source["weights"].get("stack", []):
            _known("the source", member, config["sources"], f"{key}.weights.stack")
            weights = config["sources"][member]["weights"]
            if "random" in weights or "stack" in weights:
                raise GraftError(
                    f"config: {key}.weights.stack names {member}, which has no weights or is a "
                    "stack itself; name sources with weights of their own."
                )
            if member == "head":
                raise GraftError(
                    f"config: {key}.weights.stack names a source called head, as the classifier's "
                    "layers are called; rename it."
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
            if transform(config, origin["source"]) != source["transform"]:
                folded = config["sources"][origin["source"]]["fold"]
                raise GraftError(
                    f"config: {key}.transform differs from that of sources.{origin['source']}"
                    f"{' after folding' if folded else ''}, with which experiments."
                    f"{weights['experiment']} trains; make them equal."
                )


def _check_stacks(config: dict) -> None:
    """Before defaults are filled in: what a stack's members say is not said of the stack."""
    for name, source in config["sources"].items():
        said = {"transform", "fold", "allow_new", "sha256", "size"} & set(source)
        if "stack" in source["weights"] and said:
            raise GraftError(
                f"config: sources.{name}.{min(said)} is set for a stack, whose members each have "
                "their own; leave it out."
            )


def _check_overviews(config: dict) -> None:
    for name, overview in config["overviews"].items():
        key = f"overviews.{name}"
        for experiment in overview["experiments"]:
            _known("the experiment", experiment, config["experiments"], f"{key}.experiments")
        for figure in overview["published"]:
            value = figure["value"]
            if isinstance(value, list) and value[0] > value[1]:
                raise GraftError(
                    f"config: {key}.published has {figure['label']!r} from {value[0]:g} to "
                    f"{value[1]:g}; put the lower value first."
                )


def _check_mirrors(key: str, mirrors: list[str]) -> None:
    if any(_has_user(key, mirror) for mirror in mirrors):
        raise GraftError(
            f"config: {key} holds a user name or password, which would be logged; "
            "fetch the file by hand and put it into downloads/."
        )


def _has_user(key: str, address: str) -> bool:
    try:
        return bool(urlsplit(address).username)
    except ValueError:  # whose message may show a password
        raise GraftError(
            f"config: {key} holds what is neither a URL nor a path; correct its brackets and "
            "its host."
        ) from None


def _check_ledger(config: dict) -> None:
    if _has_user("mlflow.tracking_uri", config["mlflow"]["tracking_uri"]):
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
                raise GraftError(
                    f"config: {key}.modes has {mode!r}; {architecture} knows "
                    f"{architectures.modes(architecture)}."
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
    first = warm_up(config, experiment, mode)
    if first and training(config, experiment, first)["head"] != spec["head"]:
        raise GraftError(
            f"config: {key}.modes gives {mode} another head than {first}, whose trained head it "
            "starts from; make them equal."
        )
    head = spec["head"]
    for name in ("activation", "dropout"):
        if isinstance(head[name], list) and len(head[name]) != len(head["hidden"]):
            raise GraftError(
                f"config: {key}.head.{name} lists {len(head[name])} values for the "
                f"{len(head['hidden'])} layers of head.hidden; give one for each, or one for all."
            )
    if spec["optimizer"]["nesterov"] and not spec["optimizer"]["momentum"]:
        raise GraftError(
            f"config: {key}.optimizer.nesterov needs a momentum above 0; set one or turn it off."
        )


def _check_predict(config: dict) -> None:
    if "predict" not in config:
        return
    asked = config["predict"]
    if ("experiment" in asked) == ("model" in asked):
        raise GraftError(
            "config: predict needs exactly one of experiment (with mode and seed) and model (a "
            "file)."
        )
    if "model" in asked:
        return
    name, mode, seed = asked["experiment"], asked["mode"], asked["seed"]
    _known("the experiment", name, config["experiments"], "predict.experiment")
    modes, seeds = (config["experiments"][name][key] for key in ("modes", "seeds"))
    if mode not in modes or seed not in seeds:
        raise GraftError(
            f"config: predict asks for mode {mode} and seed {seed}, but experiments.{name} lists "
            f"the modes {', '.join(modes)} and the seeds {', '.join(map(str, seeds))}; choose of "
            "these."
        )


def _check_chains(config: dict) -> None:
    """A source may be made of other experiments; following such links must come to an end."""

    def follow(experiment: str, path: tuple[str, ...]) -> None:
        if experiment in path:
            chain = " -> ".join([*path, experiment])
            raise GraftError(f"config: sources form a circle ({chain}); break it.")
        if experiment not in ended:
            for teacher in teachers(config, config["experiments"][experiment]["source"]):
                follow(teacher, (*path, experiment))
            ended.add(experiment)

    ended: set[str] = set()
    for name in config["experiments"]:
        follow(name, ())


def ancestry(config: dict, experiment: str) -> list[str]:
    """An experiment, those that its source is made of, and so on, each once."""
    found = [experiment]
    for name in found:
        taught_by = teachers(config, config["experiments"][name]["source"])
        found += [teacher for teacher in taught_by if teacher not in found]
    return found
