# The contracts (docs/architecture.md): the checked config, paths, recipes, seals, and the check
# that every rule keeps them. No rules in here.

import functools
import json
import os
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import update_config

SCRIPTS = ROOT / "workflow" / "scripts"
LOCK = ROOT / "envs" / "graft.lock"
sys.path.insert(0, str(SCRIPTS))

import caching
import cluster
import disk
import ending
import going_on
from graft.config import architectures, digests, plan, reports, stages
from graft.config.entries import entries
from graft.config.read import read_config
from graft.core import devices, files, instructions, recipes, store
from graft.core.code import Digests
from graft.core.errors import GraftError
from graft.download import digest_lock, folders
from graft.reporting import ledger

STAGES = (
    "download structure regions crop pack weights features train evaluate heat_maps compare "
    "labels plots overview report track predict export"
).split()
# `track` talks to a server, the report is about this machine, and own photographs have no place
# in a store that may be shared.
NEVER_CACHED = {"report", "track", "predict"}

DATA = "results/data/{dataset}"
EXPERIMENT = "results/experiments/{experiment}"
RUN = f"{EXPERIMENT}/{{mode}}/{{seed}}"
OVERVIEW = "results/overviews/{overview}"
FEATURES = "results/features/{dataset}/{source}/{cut}"
SOURCE = "results/sources/{source}"
# What is known of the files in users' folders; it may be lost.
NOTES = Path(".snakemake", "graft")
PREDICT = "results/predict"
REPORT = "results/report.html"
FIGURES = SCRIPTS / "graft" / "reporting" / "figures"
# A figure of the report is a module with its caption beside it.
PLOTTED = sorted(caption.stem for caption in FIGURES.glob("*.rst"))
PLOTS = [*(f"{figure}.svg" for figure in PLOTTED), "summary.csv", "summary.html", "mistakes.json"]


wildcard_constraints:
    dataset=r"\w+",
    # A part of the training samples is a folder in the experiment's (see `plan.sizes`).
    experiment=r"\w+(/train_\d+)?",
    overview=r"\w+",
    source=r"\w+",
    # `freeze_<module>` has the dots of a module's name.
    mode=r"[\w.]+",
    # Features of patches are named by how they are computed, too (see `plan.features_cut`).
    cut=r"[\w.]+",
    seed=r"\d+",
    part=plan.PART,
    file=r"[\w.-]+(?<!\.seal\.json)",


def as_module(config):
    """The config of a workflow that imports this one, over the one shipped here.

    Snakemake passes over `configfile` where a module is given a config.
    """
    if str(workflow.modifier.modify_path("results/all")) != "results/all":
        raise WorkflowError(
            "module: Graft's recipes name its results by their paths, so that `prefix` and "
            "`replace_prefix` cannot move them. Leave these out."
        )
    if not workflow.modifier.skip_configfile:
        return config
    merged = {}
    for name in ("config", "datasets", "sources", "experiments"):
        update_config(merged, load_configfile(ROOT / "config" / f"{name}.yaml"))
    update_config(merged, config)
    return merged


def checked(config):
    """The config as typed settings, with `auto` resolved once for all jobs of this run."""
    try:
        settings = read_config(config)
    except GraftError as error:
        raise WorkflowError(str(error)) from None
    compute, resolved = settings.compute, {}
    for purpose, precision in (
        ("inference", compute.inference_precision),
        ("training", compute.training_precision),
    ):
        # Jobs parse this file again, perhaps on another machine; the environment passes on
        # what the machine that started the workflow chose.
        name = f"GRAFT_{purpose.upper()}"
        if name not in os.environ:
            chosen = devices.resolve(compute.device, precision, compute.reproducible)
            os.environ[name] = f"{chosen['device']} {chosen['precision']}"
        resolved["device"], resolved[f"{purpose}_precision"] = os.environ[name].split()
    return settings.model_copy(update={"compute": compute.model_copy(update=resolved)})


def folder_digests(settings):
    """(data set, file) -> digest of the folders that are needed, read by the process that starts
    the workflow."""
    if "GRAFT_FOLDERS" not in os.environ:
        digests = []
        for dataset, file in plan.folders(settings):
            folder = settings.datasets[dataset].files[file].folder
            key, notes = f"datasets.{dataset}.files.{file}.folder", NOTES / f"{dataset}.{file}.json"
            try:
                digests.append(f"{dataset}:{file}:{folders.digest(folder, key=key, memory=notes)}")
            except GraftError as error:
                raise WorkflowError(str(error)) from None
        os.environ["GRAFT_FOLDERS"] = " ".join(digests)
    listed = [entry.split(":") for entry in os.environ["GRAFT_FOLDERS"].split()]
    return {(dataset, file): digest for dataset, file, digest in listed}


def with_weight_files(settings):
    """The settings with users' own weights identified by content, as folders are."""
    if "GRAFT_WEIGHTS" not in os.environ:
        digests = []
        for source, file in plan.weight_files(settings).items():
            try:
                digests.append(f"{source}:{files.sha256(Path(file).expanduser())}")
            except OSError as error:
                raise WorkflowError(
                    f"config: sources.{source}.weights.file is {file!r}, which cannot be read "
                    f"({error.strerror}). Correct the path."
                ) from None
        os.environ["GRAFT_WEIGHTS"] = " ".join(digests)
    digests = dict(entry.split(":") for entry in os.environ["GRAFT_WEIGHTS"].split())
    return plan.with_weight_files(settings, digests)


def first_digests(settings):
    """Key -> sha256 of the files for which the config gives none, where they were met before.

    A run in a folder of its own goes by the lock beside the Snakefile as well.
    """
    if "GRAFT_LOCK" not in os.environ:
        try:
            known = digest_lock.read(ROOT / digest_lock.NAME)
            known |= digest_lock.read(Path(digest_lock.NAME))
        except GraftError as error:
            raise WorkflowError(str(error)) from None
        wanted = [] if settings.download.require_digest else digests.missing(settings)
        os.environ["GRAFT_LOCK"] = " ".join(
            f"{key}:{known[key].sha256}" for key in wanted if key in known
        )
    return dict(entry.split(":") for entry in os.environ["GRAFT_LOCK"].split())


def report_lost_files(settings):
    """Published files that are nowhere on this machine: what was made of them is still used."""
    for key, paths in plan.local_only(settings).items():
        names = [Path("downloads", Path(path).name) for path in paths]
        if not any(Path(path).expanduser().is_file() for path in (*paths, *names)):
            logger.warning(
                f"config: {key} names {', '.join(paths)}, where there is no file. What was made "
                "of it before is used; a new file cannot be read. Correct the path."
            )


def sealed(paths, seal=None):
    """Input role: artefacts together with the seals that vouch for them.

    The artefacts are `ancient`, because the seal beside each changes whenever they do, and
    being small it is compared by digest: touching files redoes nothing.
    """
    paths = [paths] if isinstance(paths, str) else list(paths)
    seals = [seal or seal_of(str(path)) for path in paths]
    return [*(ancient(path) for path in paths), *dict.fromkeys(seals)]


@functools.cache
def seal_of(path):
    """The seal of a stage's output: fit.json and metrics.json carry results besides."""
    path = Path(path)
    if path.parent.name == "plots":
        return str(path.with_name("plots.seal.json"))
    known = {
        "model.safetensors": "fit.json",
        "history.csv": "fit.json",
        "predictions.csv": "metrics.json",
        "inference.txt": "metrics.json",
        "model.onnx": "model.onnx.seal.json",
        "heat_maps.svg": "heat_maps.seal.json",
    }
    if path.parent.name == "raw":
        return f"{path}.seal.json"
    return str(path.with_name(known.get(path.name, f"{path.stem}.seal.json")))


def recipe(stage, settings_of):
    """`params: recipe=recipe("pack", lambda w: stages.pack(settings, w.dataset))`.

    The settings are those of all parts of a split, and computed once: `settings_of` is given the
    wildcards with `split` instead of `part`.
    """

    @functools.cache
    def known(wildcards):
        chosen = settings_of(SimpleNamespace(**dict(wildcards)))
        return chosen.recipe(), code_digest(stage, frozenset(entries(chosen)))

    def build(wildcards):
        given = dict(wildcards.items())
        chosen, code = known(
            tuple(
                ("split", value.partition("-")[0]) if name == "part" else (name, value)
                for name, value in given.items()
            )
        )
        return recipes.recipe(
            stage,
            wildcards=given,
            settings=chosen,
            inputs={
                role: _role(item, wildcards) for role, item in rule_of(stage).input._allitems()
            },
            code=code,
            lock=LOCK,
        )

    build.recipe_of = stage
    return build


def rule_of(stage):
    """The rule of a stage, which a workflow that imports this one may have given another name."""
    return getattr(rules, stage).rule


@functools.cache
def code_digest(stage, chosen):
    """Digest of the code that a stage reaches with these registered implementations."""
    return CODE.digest(stage, chosen)


def _role(item, wildcards):
    """The paths that play an input role, with the wildcards filled in."""
    item = getattr(item, "callable", item)
    item = getattr(item, "in_full", item)
    found = item(wildcards) if callable(item) else item
    paths = [found] if isinstance(found, str) else found
    given = dict(wildcards.items())
    return [path.format(**given) if "{" in path else path for path in map(str, paths)]


def by_seals(find):
    """An input function that gives Snakemake the seals alone of what `find` gives.

    Snakemake plans with every file of every job, and experiments read all parts. Its recipe names
    the artefacts too, which is what a job reads and what decides whether a seal still holds.
    """

    def of_seals(wildcards):
        return find(wildcards)[1]

    of_seals.in_full = lambda wildcards: find(wildcards)[0]
    return of_seals


@functools.cache
def sealed_parts(pattern, dataset, source, cut, splits):
    """The sealed files of a data set's parts, and their seals alone."""
    given = {"dataset": dataset, "source": source, "cut": cut}
    paths = [pattern.format(part=part, **given) for part in plan.parts(settings, dataset, *splits)]
    return sealed(paths), list(dict.fromkeys(map(seal_of, paths)))


def growing(first):
    """A resource, in MB or minutes, of which a job that failed for want of it gets more.

    Retries are the profile's: a cluster's have some, this machine's has none.
    """
    return lambda wildcards, attempt: first * attempt


def need(wildcards):
    """The (dataset, source, cut) that a run of an experiment reads its inputs at."""
    return need_of(wildcards.experiment, wildcards.mode)


@functools.cache
def need_of(experiment, mode):
    chosen = plan.experiment_of(settings, experiment)
    return chosen.dataset, chosen.source, plan.features_cut(settings, experiment, mode)


def inputs_at_cut(*splits):
    """Input function: packs where nothing is frozen, else the features at the mode's cut."""

    def find(wildcards):
        dataset, source, cut = need(wildcards)
        folder = f"{DATA}/packs" if cut == architectures.IMAGE else FEATURES
        return sealed_parts(f"{folder}/{{part}}.h5", dataset, source, cut, splits)

    return by_seals(find)


def predicting_model(wildcards):
    """The model to predict with, where it is one of this workflow's own.

    What is missing is reported here, because a job that starts removes the last predictions first.
    """
    predict = settings.predict
    try:
        if predict is None:
            raise GraftError(
                "config: predict.pictures is missing. Name your folder of pictures and a model "
                "(see config/README.md)."
            )
        folders.pictures(predict.pictures, key="predict.pictures")
        if predict.model is not None and not Path(predict.model).expanduser().is_file():
            raise GraftError(
                f"config: predict.model is {predict.model!r}, where there is no file. Name a "
                "model.safetensors of this workflow."
            )
        if predict.detector is not None and not Path(predict.detector).expanduser().is_file():
            raise GraftError(
                f"config: predict.detector is {predict.detector!r}, where there is no file. "
                "Correct the path."
            )
    except GraftError as error:
        raise WorkflowError(str(error)) from None
    if predict.model is not None:
        return []
    run = {"experiment": predict.experiment, "mode": predict.mode, "seed": predict.seed}
    return sealed(f"{RUN}/model.safetensors".format(**run))


def predicting_detector(wildcards):
    """The file that the model's face detector needs, where the model is the workflow's own."""
    predict = settings.predict
    if predict is None or predict.experiment is None:
        return []
    return detector_file_of(settings.experiments[predict.experiment].dataset)


def predict_settings(wildcards):
    """What predictions depend on beside the workflow's own model."""
    predict = settings.predict
    pictures = folders.digest(
        predict.pictures, key="predict.pictures", memory=NOTES / "predict.json"
    )
    model = files.sha256(Path(predict.model).expanduser()) if predict.model else None
    return stages.predict(settings, pictures, model)


def source_model(wildcards):
    """The model of another experiment, where that is what the source's weights are."""
    weights = settings.sources[wildcards.source].weights
    if weights.experiment is None:
        return []
    run = {"experiment": weights.experiment, "mode": weights.mode, "seed": weights.seed}
    return sealed(f"{RUN}/model.safetensors".format(**run))


def raw_files(wildcards):
    """The raw files of a data set, or of those that it merges."""
    return sealed(
        f"{DATA}/raw/{file}".format(dataset=member)
        for member, file in plan.raw_files(settings, wildcards.dataset)
    )


def detector_file(wildcards):
    """The file that the face detector of a data set needs, if it does."""
    return detector_file_of(wildcards.dataset)


def detector_file_of(dataset):
    return sealed(
        f"{DATA}/raw/{file}".format(dataset=dataset)
        for dataset, file in plan.detector_files(settings, dataset)
    )


def regions_of(wildcards):
    """Where objects are in the pictures of a data set, if it is published."""
    if not plan.has_regions(settings, wildcards.dataset):
        return []
    return sealed(f"{DATA}/regions.csv".format(dataset=wildcards.dataset))


def stack_members(wildcards):
    """The sources that stand side by side in this one, where it is a stack."""
    members = settings.sources[wildcards.source].weights.stack or ()
    return sealed(f"{SOURCE.format(source=member)}.safetensors" for member in members)


def transferred_source(wildcards):
    """The source, unless the mode uses nothing but its structure."""
    if not architectures.is_transferred(wildcards.mode):
        return []
    return sealed(SOURCE.format(source=need(wildcards)[1]) + ".safetensors")


def warm_up_model(wildcards):
    """The model whose head this mode starts from, if it does not start from a random one."""
    mode = plan.warm_up(settings, wildcards.experiment, wildcards.mode)
    if mode is None:
        return []
    run = {"experiment": wildcards.experiment, "seed": wildcards.seed, "mode": mode}
    return sealed(f"{RUN}/model.safetensors".format(**run))


def over_runs(pattern):
    """Input function: sealed files of every (mode, seed) of the experiment or the overview's."""

    def find(wildcards):
        if view := wildcards.get("overview"):
            names = settings.overviews[view].experiments
            listed = [size for name in names for size in (*plan.sizes(settings, name), name)]
        else:
            listed = [wildcards.experiment]
        return sealed(
            pattern.format(experiment=experiment, mode=mode, seed=seed)
            for experiment in listed
            for mode, seed in plan.runs(settings, experiment)
        )

    return find


def over_sizes(pattern):
    """Input function: sealed files of every (mode, seed) of the experiment, at all its sizes."""

    def find(wildcards):
        name = wildcards.experiment
        return sealed(
            pattern.format(experiment=size, mode=mode, seed=seed)
            for size in (*plan.sizes(settings, name), name)
            for mode, seed in plan.runs(settings, size)
        )

    return find


def of_every_run(pattern):
    """Sealed files of every run of all experiments."""
    return sealed(
        pattern.format(experiment=experiment, mode=mode, seed=seed)
        for experiment in plan.experiments(settings)
        for mode, seed in plan.runs(settings, experiment)
    )


def over_parts(pattern, *splits):
    """Input function: sealed parts of the experiment's (or wildcard's) data set."""

    def find(wildcards):
        dataset = (
            wildcards.get("dataset") or plan.experiment_of(settings, wildcards.experiment).dataset
        )
        return sealed_parts(pattern, dataset, None, None, splits)

    return by_seals(find)


def captions():
    """Figure -> its caption."""
    places = {name: FIGURES / f"{name}.rst" for name in PLOTTED}
    places["heat_maps"] = ROOT / "workflow" / "report" / "heat_maps.rst"
    return {name: place.read_text(encoding="utf-8") for name, place in places.items()}


def reproduction():
    """What the report says of this run; results do not depend on it."""
    snakefile = os.path.relpath(workflow.main_snakefile)
    overlays = [os.path.relpath(path) for path in workflow.overwrite_configfiles]
    options = [] if snakefile == "Snakefile" else ["--snakefile", snakefile]
    options += ["--configfile", *overlays] if overlays else []
    return {
        "command": shlex.join(["snakemake", "--cores", "all", *options]),
        "config": files.digest(read_config(config).model_dump(mode="json")),
        "memory": str(NOTES / "report.json"),
    }


def targets(stage):
    """The seals that stand for everything a stage has to make."""
    datasets, experiments = plan.datasets(settings), plan.experiments(settings)
    trained = [name for e in experiments for name in (*plan.sizes(settings, e), e)]
    runs = [(e, mode, seed) for e in trained for mode, seed in plan.runs(settings, e)]
    match stage:
        case "download":
            return [
                f"{DATA}/raw/{file}.seal.json".format(dataset=member)
                for dataset in datasets
                for member, file in (
                    *plan.raw_files(settings, dataset),
                    *plan.detector_files(settings, dataset),
                )
            ]
        case "structure":
            return expand(f"{DATA}/data_file.seal.json", dataset=datasets)
        case "regions":
            placed = [name for name in datasets if plan.has_regions(settings, name)]
            return expand(f"{DATA}/regions.seal.json", dataset=placed)
        case "crop" | "pack":
            folder = {"crop": "crops", "pack": "packs"}[stage]
            return [
                f"{DATA}/{folder}/{part}.seal.json".format(dataset=dataset)
                for dataset in datasets
                for part in plan.parts(settings, dataset)
            ]
        case "weights":
            return expand(f"{SOURCE}.seal.json", source=plan.sources(settings))
        case "features":
            return [
                f"{FEATURES}/{part}.seal.json".format(dataset=dataset, source=source, cut=cut)
                for dataset, source, cut in plan.cuts(settings)
                for part in plan.parts(settings, dataset)
            ]
        case "train" | "evaluate":
            file = {"train": "fit.json", "evaluate": "metrics.json"}[stage]
            return [f"{RUN}/{file}".format(experiment=e, mode=m, seed=s) for e, m, s in runs]
        case "heat_maps":
            on_patches = [e for e in experiments if settings.experiments[e].patches is not None]
            return [
                f"{RUN}/heat_maps.seal.json".format(experiment=e, mode=mode, seed=seed)
                for e in on_patches
                for mode in settings.experiments[e].modes
                for seed in settings.experiments[e].seeds[:1]
            ]
        case "compare":
            return expand(f"{EXPERIMENT}/comparison.seal.json", experiment=experiments)
        case "labels":
            sized = [name for name in experiments if plan.sizes(settings, name)]
            return expand(f"{EXPERIMENT}/labels.seal.json", experiment=sized)
        case "plots":
            return expand(f"{EXPERIMENT}/plots/{{name}}", experiment=experiments, name=PLOTS)
        case "overview":
            return expand(
                f"{OVERVIEW}/overview.{{kind}}",
                overview=plan.overviews(settings),
                kind=["svg", "html", "csv", "seal.json"],
            )
        case "report":
            return [seal_of(REPORT)]
        case "track":
            return expand(f"{EXPERIMENT}/mlflow.json", experiment=experiments)
        case "predict":
            return [f"{PREDICT}/predictions.seal.json"] if settings.predict else []
        case "export":
            return [
                f"{RUN}/model.onnx.seal.json".format(experiment=e, mode=m, seed=s)
                for e, m, s in runs
            ]


def mend_links():
    """Results link into the store, which may have been moved or purged since the last run; and
    MLflow's database names the folder that it was made in."""
    ledger.mend(settings.mlflow.tracking_uri)
    try:
        redirected, removed = store.mend_links(Path("results"), STORE)
    except OSError as error:
        raise WorkflowError(
            f"results/: a link into the store cannot be mended ({error})."
        ) from None
    if redirected:
        logger.info(f"{redirected} links in results/ now lead to the store in {STORE}.")
    if removed:
        logger.info(f"{removed} links in results/ led to entries that the store no longer has.")


def check_contracts():
    """Refuse a workflow in which a rule breaks the caching contract."""
    names = {rule_of(stage): stage for stage in STAGES}
    for this in sorted(workflow.modifier.rules, key=str):
        if this.norun:
            continue
        made = dict(this.params._allitems()).get("recipe")
        problems = recipes.check_rule(
            names.get(this, this.name),
            recipe_stage=getattr(made, "recipe_of", None),
            script=this.script,
            cached=bool(this.cache and this.cache.output),
            outputs=[
                (role, set(getattr(file, "flags", {}))) for role, file in this.output._allitems()
            ],
            inputs=[role for role, _ in this.input._allitems()],
            forbidden={
                "run": this.run_func_src is not None and this.script is None,
                "shadow": this.shadow_depth is not None,
                "benchmark": this.benchmark is not None,
            },
            may_skip_cache=NEVER_CACHED.__contains__,
        )
        if problems:
            raise WorkflowError(
                f"rule {this.name} {'; '.join(problems)} (see docs/architecture.md)."
            )


CODE = Digests(SCRIPTS, memory=NOTES / "code.json")
config = as_module(config)
settings = with_weight_files(checked(config))
LOCKED = first_digests(settings)
settings = digests.entered(settings, LOCKED)
# Whether a digest was published does not change what a file is either.
DIGESTS = json.dumps({"locked": sorted(LOCKED), "trust": not settings.download.require_digest})
FOLDER_DIGESTS = folder_digests(settings)
gpus = int(settings.compute.device == "cuda")
STORE = Path(os.environ.get("SNAKEMAKE_OUTPUT_CACHE", ".store")).absolute()
os.environ["SNAKEMAKE_OUTPUT_CACHE"] = str(STORE)
if workflow.is_main_process and not workflow.modifier.is_main_snakefile():
    # `onstart`, which does this otherwise, is that of the workflow that imports this one.
    caching.make(STORE)
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault(caching.REDO, "")
INSTRUCTIONS = instructions.variables(settings.compute.reproducible, instructions.cpu())
os.environ.update(INSTRUCTIONS)


# What every job has to see as this process does, wherever it runs.
envvars:
    "SNAKEMAKE_OUTPUT_CACHE",
    "MLFLOW_DISABLE_TELEMETRY",
    "GRAFT_INFERENCE",
    "GRAFT_TRAINING",
    "GRAFT_FOLDERS",
    "GRAFT_WEIGHTS",
    "GRAFT_LOCK",
    caching.REDO,
    *INSTRUCTIONS,


CLUSTER = cluster.Cluster(workflow)
END = ending.Ending(
    workflow, plan.experiments(settings), settings.mlflow.tracking_uri, CLUSTER.ended
)

if workflow.is_main_process:
    mend_links()
    report_lost_files(settings)


onstart:
    caching.check_room(STORE)
    CLUSTER.prepare(read_config(config).compute.device, settings.compute.device)
    disk.check_features(workflow, settings, STORE)


onsuccess:
    END.success()


onerror:
    END.failure()
