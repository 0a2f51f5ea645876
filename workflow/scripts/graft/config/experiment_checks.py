"""Cross-references within an experiment: its modes, its training and its data set must agree.

Each check raises GraftError with the key concerned.
"""

from collections.abc import Collection

from graft.config import architectures
from graft.config.models import Config
from graft.config.plan import cut, hyperparameters, is_multilabel, warm_up
from graft.core.errors import GraftError, nearest


def check_experiment(config: Config, name: str) -> None:
    """Raise GraftError for the first inconsistency of an experiment."""
    experiment, key = config.experiments[name], f"experiments.{name}"
    check_exists("data set", experiment.dataset, config.datasets, f"{key}.dataset")
    check_exists("source", experiment.source, config.sources, f"{key}.source")
    source = config.sources[experiment.source]
    _check_patches(config, name)
    for mode in (*experiment.modes, *experiment.train.modes):
        if not architectures.is_mode(mode, source.architecture):
            raise error(
                f"{key}.modes",
                f"has {mode!r}; the modes of {source.architecture} are "
                f"{architectures.modes(source.architecture)}. Choose of these.",
            )
    for mode in experiment.modes:
        if architectures.is_transferred(mode) and source.weights.kind == "random":
            raise error(
                f"{key}.modes",
                f"has {mode}, but sources.{experiment.source} has no weights to transfer. Use "
                "from_scratch alone or name another source.",
            )
    if any("modes" in override.model_fields_set for override in experiment.train.modes.values()):
        raise error(f"{key}.train.modes", "must not hold another modes key. Remove it.")
    for mode in experiment.modes:
        _check_training(config, name, mode)
        for trained in (mode, warm_up(config, name, mode)):
            if trained and cut(config, name, trained) != architectures.IMAGE:
                _check_augment_of_features(config, name, trained)


def _check_training(config: Config, experiment: str, mode: str) -> None:
    key, training = f"experiments.{experiment}.train", hyperparameters(config, experiment, mode)
    first = warm_up(config, experiment, mode)
    if first and hyperparameters(config, experiment, first).head != training.head:
        raise error(
            f"{key}.modes",
            f"gives {mode} another head than {first}, whose trained head it starts from. Make them "
            "equal.",
        )
    head = training.head
    for name, values in {"activation": head.activation, "dropout": head.dropout}.items():
        if isinstance(values, tuple) and len(values) != len(head.hidden):
            raise error(
                f"{key}.head.{name}",
                f"lists {len(values)} values for the {len(head.hidden)} layers of head.hidden. "
                "Give one for each, or one for all.",
            )
    _check_target(config, experiment, mode)
    if training.class_weights == "balanced" and training.balance != "none":
        raise error(
            f"{key}.class_weights",
            f"is balanced, and so is balance: {training.balance}. Rare classes would count twice; "
            "use one of them.",
        )
    if training.optimizer.nesterov and not training.optimizer.momentum:
        raise error(
            f"{key}.optimizer.nesterov", "needs a momentum above 0. Set one or turn it off."
        )


def _check_target(config: Config, experiment: str, mode: str) -> None:
    """Some settings are for one class per picture, some for several."""
    key, dataset = f"experiments.{experiment}", config.experiments[experiment].dataset
    training = hyperparameters(config, experiment, mode)
    if not is_multilabel(config, dataset):
        if training.select == "mean_ap":
            raise error(
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
            raise error(
                f"experiments.{experiment}.train.{f'modes.{mode}.' if own else ''}augment.{name}",
                f"is set for {mode}, which trains on stored features. Set it under "
                "train.modes.from_scratch or train.modes.fine_tuning instead.",
            )


def _check_patches(config: Config, name: str) -> None:
    """Patches need pictures that are kept whole, and labels of patches the places of objects."""
    experiment = config.experiments[name]
    dataset = config.datasets[experiment.dataset]
    if experiment.patches is not None and dataset.crop != "patches":
        raise error(
            f"experiments.{name}.patches",
            f"needs a data set of crop: patches, and that of {experiment.dataset} is "
            f"{dataset.crop}. Change one of them.",
        )


def error(key: str, problem: str) -> GraftError:
    return GraftError(f"config: {key} {problem}")


def check_exists(kind: str, name: str, known: Collection[str], key: str) -> None:
    if name not in known:
        hint = nearest(name, sorted(known))
        raise error(key, f"names the {kind} {name!r}, which is not defined. {hint}")
