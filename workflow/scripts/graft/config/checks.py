"""Cross-references of the config: names that must exist, and keys that must agree.

Each check raises GraftError with the key concerned.
"""

from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from graft.config import architectures
from graft.config.datasets import AnyDataset, File, Merged, Published, Render
from graft.config.models import Config, Source
from graft.config.plan import (
    ancestry,
    comparison,
    cut,
    has_regions,
    hyperparameters,
    is_multilabel,
    source_experiments,
    warm_up,
)
from graft.core.errors import GraftError, nearest
from graft.core.raw_names import raw_name


def check(config: Config) -> None:
    """Raise GraftError for the first inconsistency."""
    for name in config.run:
        _exists("experiment", name, config.experiments, "run")
    _no_user("mlflow.tracking_uri", [config.mlflow.tracking_uri], _TRACKING_ADVICE)
    for name, dataset in config.datasets.items():
        _check_dataset(config, f"datasets.{name}", dataset)
    for name, source in config.sources.items():
        _check_source(config, f"sources.{name}", source)
    for name in config.experiments:
        _check_experiment(config, name)
    _check_circles(config)
    _check_overviews(config)
    _check_predict(config)


_TRACKING_ADVICE = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead."
_MIRROR_ADVICE = "Fetch the file by hand and put it into downloads/."


def _error(key: str, problem: str) -> GraftError:
    return GraftError(f"config: {key} {problem}")


def _exists(kind: str, name: str, known: Collection[str], key: str) -> None:
    if name not in known:
        hint = nearest(name, sorted(known))
        raise _error(key, f"names the {kind} {name!r}, which is not defined. {hint}")


def _no_user(key: str, addresses: Sequence[str], advice: str) -> None:
    """Credentials in an address would be recorded with the results."""
    for address in addresses:
        try:
            user = urlsplit(address).username
        except ValueError:  # whose message may show a password
            raise _error(
                key, "is neither a URL nor a path. Correct its brackets and its host."
            ) from None
        if user:
            raise _error(key, f"has a user name or password, which would be logged. {advice}")


def _check_dataset(config: Config, key: str, dataset: AnyDataset) -> None:
    total = dataset.split.train + dataset.split.val + dataset.split.test
    if abs(total - 1) > 1e-6:
        raise _error(
            f"{key}.split", f"has train, val and test that sum to {total:g}. Make them sum to 1."
        )
    if dataset.crop == "aligned_face" and dataset.detector.name == "none":
        raise _error(
            f"{key}.crop",
            f"is aligned_face but {key}.detector.name is none. Choose a detector or crop: whole.",
        )
    if dataset.classes.one_vs_rest == "rest":
        raise _error(
            f"{key}.classes.one_vs_rest",
            "is 'rest', which is the name of all other classes. Rename the class first.",
        )
    if isinstance(dataset, Merged):
        for member in dataset.merge:
            _exists("data set", member, config.datasets, f"{key}.merge")
            if isinstance(config.datasets[member], Merged):
                raise _error(
                    f"{key}.merge",
                    f"names {member}, which is merged itself. Name the data sets that it merges.",
                )
        _check_alike(config, key, dataset.merge)
    else:
        _check_files(key, dataset)
    if dataset.crop == "patches" and not has_regions(config, key.removeprefix("datasets.")):
        raise _error(
            f"{key}.crop",
            "is patches, for which the layout must say where objects are, as voc2007 does. Choose "
            "another crop.",
        )
    if dataset.classes.one_vs_rest is not None and is_multilabel(
        config, key.removeprefix("datasets.")
    ):
        raise _error(
            f"{key}.classes.one_vs_rest",
            "is for data sets with one class per picture. Use classes.only instead.",
        )


def _check_patches(config: Config, name: str) -> None:
    """Patches need pictures that are kept whole, and labels of patches the places of objects."""
    experiment = config.experiments[name]
    dataset = config.datasets[experiment.dataset]
    if experiment.patches is not None and dataset.crop != "patches":
        raise _error(
            f"experiments.{name}.patches",
            f"needs a data set of crop: patches, and that of {experiment.dataset} is "
            f"{dataset.crop}. Change one of them.",
        )


def _check_alike(config: Config, key: str, merged: Sequence[str]) -> None:
    several = [name for name in merged if is_multilabel(config, name)]
    if several and len(several) < len(merged):
        raise _error(
            f"{key}.merge",
            f"puts data sets with several classes per picture ({', '.join(several)}) together with "
            "others. Merge sets of one kind.",
        )


def _check_files(key: str, dataset: Published) -> None:
    names = [raw_name(file) for file in dataset.files]
    if len(set(names)) < len(names):
        raise _error(f"{key}.files", "has two names that are equal once unpacked. Rename one.")
    for name, file in dataset.files.items():
        place = f"{key}.files.{name}"
        _no_user(f"{place}.url", file.url or (), _MIRROR_ADVICE)
        if (file.url is not None) + (file.render is not None) + (file.folder is not None) != 1:
            raise _error(place, "needs exactly one of url (with sha256 or md5), render and folder.")
        if file.folder is not None:
            _check_folder(place, name, file)
        if file.render is not None:
            _check_render(f"{place}.render", file.render)


def _check_folder(place: str, name: str, file: File) -> None:
    if not name.endswith(".tar"):
        raise _error(place, "is packed from a folder, so its name must end in .tar. Rename it.")
    given = {"sha256": file.sha256, "md5": file.md5, "size": file.size}
    for digest, value in given.items():
        if value is not None:
            raise _error(
                place, f"has both folder and {digest}, which is not checked of a folder. Remove it."
            )


def _check_render(key: str, render: Render) -> None:
    """Each kind has parameters of its own; only the size of portraits is optional."""
    given = set(render.model_dump(exclude_none=True)) - {"kind"}
    needed = {"wiki": {"people", "seed"}, "lfw": {"people", "pictures", "seed"}, "digits": set()}
    required: set[str] = needed[render.kind]
    if lacking := required - given:
        raise _error(
            key, f"is of the kind {render.kind}, which needs {', '.join(sorted(lacking))}. Add it."
        )
    if surplus := given - required - ({"size"} if required else set()):
        raise _error(
            key,
            f"is of the kind {render.kind}, which takes no {', '.join(sorted(surplus))}. Remove "
            "it.",
        )


def _check_source(config: Config, key: str, source: Source) -> None:
    weights = source.weights
    _no_user(f"{key}.weights.url", weights.url or (), _MIRROR_ADVICE)
    given = (weights.url, weights.file, weights.torchvision, weights.experiment, weights.random)
    if sum(value is not None for value in (*given, weights.stack)) != 1:
        raise _error(
            f"{key}.weights",
            "needs exactly one of url, file, torchvision, experiment, random, stack.",
        )
    if (source.architecture == architectures.STACK) != (weights.kind == "stack"):
        raise _error(
            f"{key}.architecture",
            f"is {source.architecture}, but weights.stack goes with the architecture "
            f"{architectures.STACK}, and only with it. Change one of them.",
        )
    if weights.kind == "random" and source.allow_new:
        raise _error(f"{key}.weights", "is random, so no layer needs allow_new. Remove allow_new.")
    if weights.stack is not None:
        _check_stack(config, key, source, weights.stack)
    if weights.experiment is not None:
        _check_experiment_source(config, key, source, weights.experiment)


def _check_stack(config: Config, key: str, source: Source, members: Sequence[str]) -> None:
    own = {"transform", "allow_new", "sha256", "size"} & source.model_fields_set
    if own:
        raise _error(
            f"{key}.{min(own)}",
            "is set for a stack, whose members have each their own. Remove it.",
        )
    for member in members:
        _exists("source", member, config.sources, f"{key}.weights.stack")
        if config.sources[member].weights.kind in ("random", "stack"):
            raise _error(
                f"{key}.weights.stack",
                f"names {member}, which has no weights or is a stack itself. Name sources with "
                "weights of their own.",
            )
        if member == "head":
            raise _error(
                f"{key}.weights.stack",
                "names a source called head, as the classifier's layers are called. Rename it.",
            )


def _check_experiment_source(config: Config, key: str, source: Source, name: str) -> None:
    weights = source.weights
    _exists("experiment", name, config.experiments, key)
    origin = config.experiments[name]
    if weights.mode not in origin.modes or weights.seed not in origin.seeds:
        raise _error(
            f"{key}.weights",
            f"asks for mode {weights.mode} and seed {weights.seed}, which experiments.{name} does "
            "not list. Add them there.",
        )
    _exists("source", origin.source, config.sources, f"experiments.{name}.source")
    parent = config.sources[origin.source]
    if parent.architecture != source.architecture:
        raise _error(
            f"{key}.architecture",
            f"is {source.architecture} but experiments.{name} trains {parent.architecture}. Make "
            "them equal.",
        )
    if parent.transform != source.transform:
        raise _error(
            f"{key}.transform",
            f"differs from that of sources.{origin.source}, with which experiments.{name} trains. "
            "Make them equal.",
        )


def _check_experiment(config: Config, name: str) -> None:
    experiment, key = config.experiments[name], f"experiments.{name}"
    _exists("data set", experiment.dataset, config.datasets, f"{key}.dataset")
    _exists("source", experiment.source, config.sources, f"{key}.source")
    source = config.sources[experiment.source]
    _check_patches(config, name)
    for mode in (*experiment.modes, *experiment.train.modes):
        if not architectures.is_mode(mode, source.architecture):
            raise _error(
                f"{key}.modes",
                f"has {mode!r}; the modes of {source.architecture} are "
                f"{architectures.modes(source.architecture)}. Choose of these.",
            )
    for mode in experiment.modes:
        if architectures.is_transferred(mode) and source.weights.kind == "random":
            raise _error(
                f"{key}.modes",
                f"has {mode}, but sources.{experiment.source} has no weights to transfer. Use "
                "from_scratch alone or name another source.",
            )
    if any("modes" in override.model_fields_set for override in experiment.train.modes.values()):
        raise _error(f"{key}.train.modes", "must not hold another modes key. Remove it.")
    for mode in experiment.modes:
        _check_training(config, name, mode)
        for trained in (mode, warm_up(config, name, mode)):
            if trained and cut(config, name, trained) != architectures.IMAGE:
                _check_augment_of_features(config, name, trained)


def _check_training(config: Config, experiment: str, mode: str) -> None:
    key, training = f"experiments.{experiment}.train", hyperparameters(config, experiment, mode)
    first = warm_up(config, experiment, mode)
    if first and hyperparameters(config, experiment, first).head != training.head:
        raise _error(
            f"{key}.modes",
            f"gives {mode} another head than {first}, whose trained head it starts from. Make them "
            "equal.",
        )
    head = training.head
    for name, values in {"activation": head.activation, "dropout": head.dropout}.items():
        if isinstance(values, tuple) and len(values) != len(head.hidden):
            raise _error(
                f"{key}.head.{name}",
                f"lists {len(values)} values for the {len(head.hidden)} layers of head.hidden. "
                "Give one for each, or one for all.",
            )
    _check_target(config, experiment, mode)
    if training.class_weights == "balanced" and training.balance != "none":
        raise _error(
            f"{key}.class_weights",
            f"is balanced, and so is balance: {training.balance}. Rare classes would count twice; "
            "use one of them.",
        )
    if training.optimizer.nesterov and not training.optimizer.momentum:
        raise _error(
            f"{key}.optimizer.nesterov", "needs a momentum above 0. Set one or turn it off."
        )


def _check_target(config: Config, experiment: str, mode: str) -> None:
    """Some settings are for one class per picture, some for several."""
    key, dataset = f"experiments.{experiment}", config.experiments[experiment].dataset
    training = hyperparameters(config, experiment, mode)
    if not is_multilabel(config, dataset):
        if training.select == "mean_ap":
            raise _error(
                f"{key}.train.select",
                f"is mean_ap, but the pictures of {dataset} have one class each. Choose another.",
            )
        return
    of_one = {
        f"modes has {mode}, which": mode in architectures.PROBES,
        f"train.select is {training.select}, which": training.select == "balanced_accuracy",
        f"train.balance is {training.balance}, which": training.balance != "none",
        "train.augment.mixup": training.augment.mixup > 0,
        "train.augment.cutmix": training.augment.cutmix > 0,
    }
    for setting, used in of_one.items():
        if used:
            raise GraftError(
                f"config: {key}.{setting} is for one class per picture, and those of {dataset} may "
                "have several. Change it."
            )


def _check_augment_of_features(config: Config, experiment: str, mode: str) -> None:
    """What is drawn anew for each picture cannot be done to features that were stored once."""
    augment = hyperparameters(config, experiment, mode).augment
    override = config.experiments[experiment].train.modes.get(mode)
    for name, value in {
        "crop": augment.crop,
        "color": augment.color,
        "randaugment": augment.randaugment,
        "cutmix": augment.cutmix,
    }.items():
        own = override is not None and name in override.augment.model_fields_set
        if value:
            raise _error(
                f"experiments.{experiment}.train.{f'modes.{mode}.' if own else ''}augment.{name}",
                f"is set for {mode}, which trains on stored features. Set it under "
                "train.modes.from_scratch or train.modes.fine_tuning instead.",
            )


def _check_circles(config: Config) -> None:
    """A source may come from other experiments; following such links must end."""
    finished: set[str] = set()

    def follow(experiment: str, path: tuple[str, ...]) -> None:
        if experiment in path:
            chain = " -> ".join([*path, experiment])
            raise GraftError(f"config: sources form a circle ({chain}). Break it.")
        if experiment not in finished:
            for parent in source_experiments(config, config.experiments[experiment].source):
                follow(parent, (*path, experiment))
            finished.add(experiment)

    for name in config.experiments:
        follow(name, ())
    for name in config.run:
        ancestry(config, name)


def _check_overviews(config: Config) -> None:
    for name, overview in config.overviews.items():
        key = f"overviews.{name}"
        for experiment in overview.experiments:
            _exists("experiment", experiment, config.experiments, f"{key}.experiments")
        if len({comparison(config, name).metric for name in overview.experiments}) > 1:
            raise _error(
                f"{key}.experiments",
                "has experiments with one class per picture and others with several, which no "
                "metric compares. Make two overviews.",
            )
        for figure in overview.published:
            if isinstance(figure.value, tuple) and figure.value[0] > figure.value[1]:
                raise _error(
                    f"{key}.published",
                    f"has {figure.label!r} from {figure.value[0]:g} to {figure.value[1]:g}. Put "
                    "the lower value first.",
                )


def _check_predict(config: Config) -> None:
    predict = config.predict
    if predict is None:
        return
    if (predict.experiment is None) == (predict.model is None):
        raise _error(
            "predict", "needs exactly one of experiment (with mode and seed) and model (a file)."
        )
    if predict.experiment is None:
        return
    _exists("experiment", predict.experiment, config.experiments, "predict.experiment")
    experiment = config.experiments[predict.experiment]
    if predict.mode not in experiment.modes or predict.seed not in experiment.seeds:
        raise _error(
            "predict",
            f"asks for mode {predict.mode} and seed {predict.seed}, but experiments."
            f"{predict.experiment} lists the modes {', '.join(experiment.modes)} and the seeds "
            f"{', '.join(map(str, experiment.seeds))}. Choose of these.",
        )
