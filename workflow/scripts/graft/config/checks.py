"""Cross-references of the config: names that must exist, and keys that must agree.

Each check raises GraftError with the key concerned.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from graft.config import architectures
from graft.config.datasets import AnyDataset, File, Merged, Published, Render
from graft.config.experiment_checks import check_exists, check_experiment, error
from graft.config.models import SERVERS, Config
from graft.config.networks import described
from graft.config.plan import (
    ancestry,
    comparison,
    has_regions,
    is_multilabel,
    source_experiments,
)
from graft.config.sources import Source
from graft.core.errors import GraftError
from graft.core.raw_names import compression, raw_name, unread


def check(config: Config) -> None:
    """Raise GraftError for the first inconsistency."""
    for name in config.run:
        check_exists("experiment", name, config.experiments, "run")
    _check_tracking("mlflow.tracking_uri", config.mlflow.tracking_uri)
    for name, dataset in config.datasets.items():
        _check_dataset(config, f"datasets.{name}", dataset)
    for name, source in config.sources.items():
        _check_source(config, f"sources.{name}", source)
    for name in config.experiments:
        check_experiment(config, name)
    _check_circles(config)
    _check_overviews(config)
    _check_predict(config)


_TRACKING_ADVICE = (
    "Set the environment variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
    "MLFLOW_TRACKING_TOKEN, instead."
)
_MIRROR_ADVICE = "Fetch the file by hand and put it into downloads/."


def _no_user(key: str, addresses: Sequence[str], advice: str) -> None:
    """Credentials in an address would be recorded with the results."""
    for address in addresses:
        try:
            user = "@" in urlsplit(address).netloc
        except ValueError:  # whose message may show a password
            raise error(
                key, "is neither a URL nor a path. Correct its brackets and its host."
            ) from None
        if user:
            raise error(key, f"has a user name or password, which would be logged. {advice}")


def _check_tracking(key: str, address: str) -> None:
    _no_user(key, [address], _TRACKING_ADVICE)
    if address.startswith(SERVERS) and "?" in address:
        raise error(key, f"has a query, which would be logged. {_TRACKING_ADVICE}")
    if not address.startswith(("sqlite:///", *SERVERS)):  # it may hold a password, so not shown
        raise error(
            key,
            "is neither sqlite:///<path> nor the http(s):// address of a tracking server. A "
            "PostgreSQL database needs such a server: see docs/how-to/shared-tracking.md.",
        )


def _check_dataset(config: Config, key: str, dataset: AnyDataset) -> None:
    total = dataset.split.train + dataset.split.val + dataset.split.test
    if abs(total - 1) > 1e-6:
        raise error(
            f"{key}.split", f"has train, val and test that sum to {total:g}. Make them sum to 1."
        )
    if dataset.crop == "aligned_face" and dataset.detector.name == "none":
        raise error(
            f"{key}.crop",
            f"is aligned_face but {key}.detector.name is none. Choose a detector or crop: whole.",
        )
    _no_user(f"{key}.detector.url", dataset.detector.url or (), _MIRROR_ADVICE)
    if dataset.classes.one_vs_rest == "rest":
        raise error(
            f"{key}.classes.one_vs_rest",
            "is 'rest', which is the name of all other classes. Rename the class first.",
        )
    if isinstance(dataset, Merged):
        for member in dataset.merge:
            check_exists("data set", member, config.datasets, f"{key}.merge")
            if isinstance(config.datasets[member], Merged):
                raise error(
                    f"{key}.merge",
                    f"names {member}, which is merged itself. Name the data sets that it merges.",
                )
        _check_alike(config, key, dataset.merge)
    else:
        _check_files(key, dataset)
    if dataset.crop == "patches" and not has_regions(config, key.removeprefix("datasets.")):
        raise error(
            f"{key}.crop",
            "is patches, for which the layout must say where objects are, as voc2007 does. Choose "
            "another crop.",
        )
    if dataset.classes.one_vs_rest is not None and is_multilabel(
        config, key.removeprefix("datasets.")
    ):
        raise error(
            f"{key}.classes.one_vs_rest",
            "is for data sets with one class per picture. Use classes.only instead.",
        )


def _check_alike(config: Config, key: str, merged: Sequence[str]) -> None:
    several = [name for name in merged if is_multilabel(config, name)]
    if several and len(several) < len(merged):
        raise error(
            f"{key}.merge",
            f"puts data sets with several classes per picture ({', '.join(several)}) together with "
            "others. Merge sets of one kind.",
        )


def _check_files(key: str, dataset: Published) -> None:
    names = [raw_name(file) for file in dataset.files]
    if len(set(names)) < len(names):
        raise error(f"{key}.files", "has two names that are equal once unpacked. Rename one.")
    for name, file in dataset.files.items():
        place = f"{key}.files.{name}"
        _no_user(f"{place}.url", file.url or (), _MIRROR_ADVICE)
        if (file.url is not None) + (file.render is not None) + (file.folder is not None) != 1:
            raise error(place, "needs exactly one of url, render and folder.")
        if kind := unread(name):
            raise error(
                place,
                f"is a {kind} archive by its name, which is not unpacked. Unpack it by hand and "
                "give its folder instead (`folder`).",
            )
        if file.zip_encoding is not None:
            _check_zip_encoding(place, name, file.zip_encoding)
        if file.folder is not None:
            _check_folder(place, name, file)
        if file.render is not None:
            _check_render(f"{place}.render", file.render)


def _check_zip_encoding(place: str, name: str, encoding: str) -> None:
    if compression(name) != "zip":
        raise error(place, "has zip_encoding, which is for files named .zip. Remove it.")
    try:
        b"a".decode(encoding)
    except (LookupError, ValueError):
        raise error(
            f"{place}.zip_encoding",
            f"is {encoding!r}, which is no code page. Give one such as cp850, cp1252 or cp932.",
        ) from None


def _check_folder(place: str, name: str, file: File) -> None:
    if not name.endswith(".tar"):
        raise error(place, "is packed from a folder, so its name must end in .tar. Rename it.")
    given = {"sha256": file.sha256, "md5": file.md5, "size": file.size}
    for digest, value in given.items():
        if value is not None:
            raise error(
                place, f"has both folder and {digest}, which is not checked of a folder. Remove it."
            )


def _check_render(key: str, render: Render) -> None:
    """Each kind has parameters of its own; only the size of portraits is optional."""
    given = set(render.model_dump(exclude_none=True)) - {"kind"}
    needed = {"wiki": {"people", "seed"}, "lfw": {"people", "pictures", "seed"}, "digits": set()}
    required: set[str] = needed[render.kind]
    if lacking := required - given:
        raise error(
            key, f"is of the kind {render.kind}, which needs {', '.join(sorted(lacking))}. Add it."
        )
    if surplus := given - required - ({"size"} if required else set()):
        raise error(
            key,
            f"is of the kind {render.kind}, which takes no {', '.join(sorted(surplus))}. Remove "
            "it.",
        )


def _check_source(config: Config, key: str, source: Source) -> None:
    weights = source.weights
    _no_user(f"{key}.weights.url", weights.url or (), _MIRROR_ADVICE)
    given = (weights.url, weights.file, weights.torchvision, weights.experiment, weights.random)
    if sum(value is not None for value in (*given, weights.stack, weights.timm)) != 1:
        raise error(
            f"{key}.weights",
            "needs exactly one of url, file, torchvision, timm, experiment, random, stack.",
        )
    if weights.timm is not None and not source.architecture.startswith(architectures.TIMM):
        raise error(
            f"{key}.weights.timm",
            f"goes with an architecture of timm's, and {source.architecture} is none. Name it "
            "timm/<model>.<tag>, or use weights.torchvision.",
        )
    if (source.architecture == architectures.STACK) != (weights.kind == "stack"):
        raise error(
            f"{key}.architecture",
            f"is {source.architecture}, but weights.stack goes with the architecture "
            f"{architectures.STACK}, and only with it. Change one of them.",
        )
    if source.architecture not in architectures.NAMED:
        try:
            described(source.architecture, weights.torchvision)
        except GraftError as failure:
            raise error(f"{key}.architecture", f"is {source.architecture}: {failure}") from None
    if weights.kind == "random" and source.allow_new:
        raise error(f"{key}.weights", "is random, so no layer needs allow_new. Remove allow_new.")
    if weights.stack is not None:
        _check_stack(config, key, source, weights.stack)
    if weights.experiment is not None:
        _check_experiment_source(config, key, source, weights.experiment)


def _check_stack(config: Config, key: str, source: Source, members: Sequence[str]) -> None:
    own = {"transform", "allow_new", "sha256", "size"} & source.model_fields_set
    if own:
        raise error(
            f"{key}.{min(own)}",
            "is set for a stack, whose members have each their own. Remove it.",
        )
    for member in members:
        check_exists("source", member, config.sources, f"{key}.weights.stack")
        if config.sources[member].weights.kind in ("random", "stack"):
            raise error(
                f"{key}.weights.stack",
                f"names {member}, which has no weights or is a stack itself. Name sources with "
                "weights of their own.",
            )
        if member == "head":
            raise error(
                f"{key}.weights.stack",
                "names a source called head, as the classifier's layers are called. Rename it.",
            )


def _check_experiment_source(config: Config, key: str, source: Source, name: str) -> None:
    weights = source.weights
    check_exists("experiment", name, config.experiments, key)
    origin = config.experiments[name]
    if weights.mode not in origin.modes or weights.seed not in origin.seeds:
        raise error(
            f"{key}.weights",
            f"asks for mode {weights.mode} and seed {weights.seed}, which experiments.{name} does "
            "not list. Add them there.",
        )
    check_exists("source", origin.source, config.sources, f"experiments.{name}.source")
    parent = config.sources[origin.source]
    if parent.architecture != source.architecture:
        raise error(
            f"{key}.architecture",
            f"is {source.architecture} but experiments.{name} trains {parent.architecture}. Make "
            "them equal.",
        )
    if parent.transform != source.transform:
        raise error(
            f"{key}.transform",
            f"differs from that of sources.{origin.source}, with which experiments.{name} trains. "
            "Make them equal.",
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
            check_exists("experiment", experiment, config.experiments, f"{key}.experiments")
        if len({comparison(config, name).metric for name in overview.experiments}) > 1:
            raise error(
                f"{key}.experiments",
                "has experiments with one class per picture and others with several, which no "
                "metric compares. Make two overviews.",
            )
        for figure in overview.published:
            if isinstance(figure.value, tuple) and figure.value[0] > figure.value[1]:
                raise error(
                    f"{key}.published",
                    f"has {figure.label!r} from {figure.value[0]:g} to {figure.value[1]:g}. Put "
                    "the lower value first.",
                )


def _check_predict(config: Config) -> None:
    predict = config.predict
    if predict is None:
        return
    if (predict.experiment is None) == (predict.model is None):
        raise error(
            "predict", "needs exactly one of experiment (with mode and seed) and model (a file)."
        )
    if predict.experiment is None:
        return
    check_exists("experiment", predict.experiment, config.experiments, "predict.experiment")
    experiment = config.experiments[predict.experiment]
    if predict.mode not in experiment.modes or predict.seed not in experiment.seeds:
        raise error(
            "predict",
            f"asks for mode {predict.mode} and seed {predict.seed}, but experiments."
            f"{predict.experiment} lists the modes {', '.join(experiment.modes)} and the seeds "
            f"{', '.join(map(str, experiment.seeds))}. Choose of these.",
        )
