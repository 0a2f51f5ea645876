"""The config: one clear sentence for each way to get it wrong, and defaults where they belong."""

import copy
import re

import pytest
from conftest import SHIPPED
from snakemake.utils import update_config

from graft.config import architectures, plan, reports, stages
from graft.config.read import read_config
from graft.core.errors import GraftError

BOTH = ["portraits_identity", "portraits_sex"]


@pytest.fixture
def shipped():
    return copy.deepcopy(SHIPPED)


def resolve(config):
    return read_config(config)


def test_the_shipped_config_is_valid_and_completed_with_defaults(shipped):
    before = copy.deepcopy(shipped)
    config = resolve(shipped)
    assert shipped == before, "the given config must not be changed"
    assert config.datasets["portraits"].detector.min_score == 0.9
    assert config.experiments["portraits_sex"].train.optimizer.momentum == 0.9
    assert config.experiments["portraits_sex"].train.optimizer.weight_decay == 0.01


def test_parts_beyond_a_hundred_follow_those_that_were_named_before(shipped):
    shipped["datasets"]["portraits"]["shards"] = {"train": 1002, "val": 1, "test": 100}
    parts = plan.parts(resolve(shipped), "portraits")
    assert parts[:1002] == [f"train-{n:02d}" for n in range(1002)]
    assert parts[99:101] == ["train-99", "train-100"] and parts[1001] == "train-1001"
    assert parts[1002:] == ["val-00", *(f"test-{n:02d}" for n in range(100))]
    assert all(re.fullmatch(plan.PART, part) for part in parts)
    for other in ("train-0", "train-007", "train-0100", "train-", "all-00", "train-00.h5"):
        assert not re.fullmatch(plan.PART, other)
    shipped["datasets"]["portraits"]["shards"] = {"train": 10_001}
    with pytest.raises(GraftError, match=r"shards\.train .*10,?000"):
        resolve(shipped)


def test_an_unknown_key_is_named_with_the_nearest_known_one(shipped):
    shipped["datasets"]["portraits"]["packed_sise"] = 3
    with pytest.raises(
        GraftError, match=r"datasets\.portraits\.packed_sise .* Did you mean packed_size\?"
    ):
        resolve(shipped)


def test_a_misspelt_required_key_is_reported_as_unknown_and_not_as_missing(shipped):
    shipped["datasets"]["portraits"]["layuot"] = shipped["datasets"]["portraits"].pop("layout")
    with pytest.raises(GraftError, match="Did you mean layout"):
        resolve(shipped)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("run", ["portraits_sx"], "Did you mean portraits_sex"),
        ("experiments.portraits_sex.dataset", "portrait", "Did you mean portraits"),
        ("experiments.portraits_sex.source", "nowhere", "Choose one of "),
        (
            "experiments.portraits_sex.modes",
            ["fine_tunning"],
            "the modes of vgg_mini are from_scratch",
        ),
        ("experiments.portraits_sex.modes", ["freeze_layer1"], "freeze_block1"),
        ("experiments.portraits_sex.source", "vgg_mini", "no weights to transfer"),
        (
            "experiments.portraits_sex.train.head",
            {"hidden": [4, 3], "activation": ["relu"]},
            "head.activation lists 1 values for the 2 layers",
        ),
        ("experiments.portraits_sex.train.head", {"activation": "rely"}, "Did you mean relu"),
        ("datasets.portraits.split.train", 0.9, "sum to 1"),
        ("experiments.portraits_sex.seeds", 3, r"seeds is 3. Give a list \(for example \[3\]\)"),
        ("experiments.portraits_sex.train.lr", "5e-4", "Give a number .* write 0.0005"),
        ("datasets.portraits.detector", {"name": "none"}, "crop: whole"),
        ("datasets.portraits.detector", {"name": "mtcn"}, "Did you mean mtcnn"),
        ("datasets.portraits.files", {"a.tar": {}}, "exactly one of url"),
        ("sources.vgg_mini.weights", {}, "exactly one of url, file"),
        ("sources.portraits_identity.weights.seed", 7, "does not list"),
        ("sources.portraits_identity.architecture", "vgg16", "trains vgg_mini"),
        (
            "experiments.portraits_sex.train.optimizer",
            {"momentum": 0, "nesterov": True},
            "nesterov",
        ),
        (
            "experiments.portraits_sex.train",
            {"class_weights": "balanced", "balance": "weighted"},
            "class_weights is balanced, and so is balance: weighted",
        ),
        (
            "datasets.portraits.files",
            {"a.tar": {"render": {"kind": "lfw", "people": 3, "seed": 1}}},
            "needs pictures",
        ),
        ("experiments.portraits_sex.train.epochs", 0, "Give at least 1"),
        *(
            ("experiments.portraits_sex.train.augment", {name: value}, sentence)
            for name, value, sentence in (
                ("crop", [0, 1], r"augment\.crop\.0 is 0\. Give above 0"),
                ("crop", [0.5, 1.5], r"augment\.crop\.1 is 1\.5\. Give at most 1"),
                ("crop", [1, 0.5], r"augment\.crop is \[1, 0\.5\]: the lower value comes first"),
                ("crop", 0.5, r"augment\.crop is 0\.5\. Give a list"),
                ("crop", [0.5], r"augment\.crop"),
                ("color", 1.5, r"augment\.color is 1\.5\. Give at most 1"),
                ("randaugment", {"ops": 0}, r"augment\.randaugment\.ops is 0\. Give at least 1"),
                ("randaugment", {"magnitude": 31}, r"magnitude is 31\. Give at most 30"),
                ("randaugment", {"magnitud": 3}, "Did you mean magnitude"),
                ("randaugment", True, "randaugment is True. Give a mapping"),
                ("mixup", -1, r"augment\.mixup is -1\. Give at least 0"),
                ("cutmix", -1, r"augment\.cutmix is -1\. Give at least 0"),
            )
        ),
        ("datasets", {"../x": {}}, "not a usable name"),
        ("datasets", {3: {}}, "datasets has the key 3, which YAML does not read as text. Quote it"),
        *(
            (
                "mlflow",
                {"tracking_uri": address},
                rf"^config: mlflow\.tracking_uri {sentence}(?!.*secret)",
            )
            for address, sentence in {
                "http://[x/a": "is neither a URL nor",
                "https://me:secret@x/a": "has a user name or password, which",
                "https://:secret@x/a": "has a user name or password, which",
                "https://secret@x/a": "has a user name or password, which",
                "https://x/a?token=secret": "has a query, which",
                "postgresql://x/a?password=secret": "is neither sqlite:///<path> nor",
                "results/mlflow.db": "is neither sqlite:///<path> nor",
            }.items()
        ),
        (
            "datasets.portraits.files",
            {"a.tar": {"url": ["http://me:secret@[x/a"]}},
            r"files\.a\.tar\.url is neither a URL nor a path",
        ),
        *(
            (
                f"datasets.portraits.options.{name}",
                value,
                rf"options\.{name}\b.* (Give |is missing|is not a known key)",
            )
            for name, value in {
                "min_age": "3",
                "max_age": 80.5,
                "age_groups": [20.5],
                "crop_margin": "0.4",
                "min_pictures": "2",
                "box": [1, 2],
                "table": ["x"],
            }.items()
        ),
        ("datasets.portraits.options", {"min_agee": 3}, "Did you mean min_age"),
        *(
            ("overviews", {"o": overview}, sentence)
            for overview, sentence in (
                ({"experiments": ["portraits_sx"]}, "o.experiments names .* mean portraits_sex"),
                ({"experiments": []}, "overviews.o.experiments"),
                ({"experiments": BOTH, "published": [{"label": "x", "value": 83}]}, "0.value"),
                (
                    {"experiments": BOTH, "published": [{"label": "x", "value": [0.9, 0.8]}]},
                    "lower value",
                ),
                ({"experiments": BOTH, "published": [{"value": 0.9}]}, "0.label is missing"),
            )
        ),
        *(
            ("predict", predict, sentence)
            for predict, sentence in (
                ({}, "predict.pictures is missing"),
                ({"experiment": "portraits_sex"}, "predict.pictures is missing"),
                ({"pictures": "p"}, "exactly one of experiment"),
                (
                    {"pictures": "p", "experiment": "portraits_sex", "model": "m"},
                    "exactly one of experiment",
                ),
                ({"pictures": "p", "experiment": "portrait_sex"}, "mean portraits_sex"),
                (
                    {"pictures": "p", "experiment": "portraits_identity"},
                    "mode fine_tuning and seed 0, but experiments.portraits_identity lists the "
                    "modes from_scratch and the seeds 0",
                ),
                (
                    {"pictures": "p", "experiment": "portraits_sex", "seed": 9},
                    "the seeds 0, 1, 2",
                ),
            )
        ),
    ],
)
def test_each_mistake_gets_one_sentence(shipped, path, value, sentence):
    *parents, last = path.split(".")
    place = shipped
    for key in parents:
        place = place[key]
    place[last] = value
    with pytest.raises(GraftError, match=sentence) as caught:
        resolve(shipped)
    assert "\n" not in str(caught.value)


PICTURES_ONLY = {"crop": [0.5, 1], "color": 0.4, "randaugment": {"ops": 2}, "cutmix": 1}


@pytest.mark.parametrize("name", PICTURES_ONLY)
def test_features_that_were_stored_once_cannot_be_augmented_anew(shipped, name):
    train, augment = shipped["experiments"]["portraits_sex"]["train"], {name: PICTURES_ONLY[name]}
    shipped["experiments"]["portraits_sex"]["modes"] = ["fine_tuning"]
    sentence = rf"train\.{{}}augment\.{name} is set for {{}}, which trains on stored .*from_scratch"
    train["augment"] = augment  # and so of the warm-up
    with pytest.raises(GraftError, match=sentence.format("", "feature_extraction")):
        resolve(shipped)
    train["warm_up"] = False
    resolve(shipped)
    shipped["experiments"]["portraits_sex"]["modes"] = ["freeze_block5"]
    with pytest.raises(GraftError, match=sentence.format("", "freeze_block5")):
        resolve(shipped)
    del train["augment"], train["warm_up"]
    train["modes"] = {"feature_extraction": {"augment": augment}}
    with pytest.raises(
        GraftError, match=sentence.format(r"modes\.feature_extraction\.", "feature_extraction")
    ):
        resolve(shipped)
    shipped["experiments"]["portraits_sex"]["modes"] = ["from_scratch", "fine_tuning"]
    train["modes"] = {"fine_tuning": {"augment": augment}, "from_scratch": {"augment": augment}}
    assert plan.hyperparameters(resolve(shipped), "portraits_sex", "fine_tuning").augment.flip


def test_features_may_be_mixed_and_a_mode_turns_off_what_the_experiment_sets(shipped):
    train = shipped["experiments"]["portraits_sex"]["train"]
    train["augment"] = {"mixup": 0.2, "crop": [0.5, 1], "randaugment": {}}
    train["modes"] = {"feature_extraction": {"augment": {"crop": None, "randaugment": None}}}
    config = resolve(shipped)
    augment = plan.hyperparameters(config, "portraits_sex", "feature_extraction").augment
    assert (augment.mixup, augment.crop, augment.randaugment) == (0.2, None, None)
    augment = plan.hyperparameters(config, "portraits_sex", "fine_tuning").augment
    assert augment.crop == (0.5, 1) and augment.randaugment.magnitude == 9


def test_sources_must_not_form_a_circle(shipped):
    shipped["experiments"]["portraits_identity"]["source"] = "portraits_identity"
    with pytest.raises(GraftError, match="circle"):
        resolve(shipped)


def test_a_mode_overrides_single_keys_of_the_experiments_training(shipped):
    shipped["experiments"]["portraits_sex"]["train"]["modes"] = {
        "fine_tuning": {"epochs": 3, "optimizer": {"momentum": 0.5}}
    }
    config = resolve(shipped)
    tuned = plan.hyperparameters(config, "portraits_sex", "fine_tuning")
    plain = plan.hyperparameters(config, "portraits_sex", "from_scratch")
    assert (tuned.epochs, tuned.optimizer.momentum) == (3, 0.5)
    assert tuned.optimizer.weight_decay == plain.optimizer.weight_decay == 0.01
    assert plain.epochs != 3


def test_running_an_experiment_includes_the_one_its_source_comes_from(shipped):
    shipped["run"] = ["portraits_sex"]
    config = resolve(shipped)
    assert plan.experiments(config) == ["portraits_sex", "portraits_identity"]
    assert plan.datasets(config) == ["portraits", "portraits_identity"]
    assert plan.sources(config) == ["portraits_identity"]
    assert plan.cuts(config) == [("portraits", "portraits_identity", "avgpool")]


def test_a_servers_address_is_handed_to_trainings_outside_their_recipes(shipped):
    without = resolve(shipped)
    assert stages.live_tracking(without) is None
    shipped["mlflow"] = {"tracking_uri": "http://x:5000", "experiment": "ours"}
    config = resolve(shipped)
    assert stages.live_tracking(config) == {"tracking_uri": "http://x:5000", "name": "ours"}
    asked = ("portraits_sex", "fine_tuning")
    assert stages.train(config, *asked) == stages.train(without, *asked)


def test_sizes_are_trainings_beside_the_experiments_own(shipped):
    shipped["experiments"]["portraits_sex"]["train_sizes"] = [50, "all", 20]
    config = resolve(shipped)
    names = {"portraits_sex/train_20": 20, "portraits_sex/train_50": 50}
    assert list(plan.sizes(config, "portraits_sex").items()) == list(names.items())
    assert plan.sizes(config, "portraits_identity") == {}
    own = stages.train(config, "portraits_sex", "fine_tuning")
    for name, size in names.items():
        part = stages.train(config, name, "fine_tuning")
        assert part == own.model_copy(update={"train_size": size})
        assert plan.warm_up(config, name, "fine_tuning") == "feature_extraction"
        assert plan.runs(config, name) == plan.runs(config, "portraits_sex")
    assert own.train_size is None
    assert plan.experiments(config) == plan.experiments(resolve(shipped))
    with pytest.raises(KeyError):
        stages.train(config, "portraits_sex/train_30", "fine_tuning")


@pytest.mark.parametrize("sizes", [[0], ["some"], [20, 20], 20])
def test_sizes_are_numbers_of_samples_or_all(shipped, sizes):
    shipped["experiments"]["portraits_sex"]["train_sizes"] = sizes
    with pytest.raises(GraftError, match=r"experiments\.portraits_sex\.train_sizes"):
        resolve(shipped)


def test_a_file_of_ones_own_is_a_published_one_with_its_digest(shipped):
    source = shipped["sources"]["portraits_identity"]
    source["weights"] = {"file": "my/net.pth"}
    config = resolve(shipped)
    assert plan.weight_files(config) == {"portraits_identity": "my/net.pth"}
    known = plan.with_weight_files(config, {"portraits_identity": "a" * 64})
    one = stages.weights(known, "portraits_identity")
    assert one.sha256 == "a" * 64 and one.weights.kind == "url"
    assert stages.source_mirrors(known, "portraits_identity")["url"] == ["my/net.pth"]
    other = plan.with_weight_files(config, {"portraits_identity": "b" * 64})
    assert stages.weights(other, "portraits_identity") != one
    # Another path with the same content is the same source; a digest that is given is kept.
    source["weights"] = {"file": "elsewhere/net.pth"}
    moved = plan.with_weight_files(resolve(shipped), {"portraits_identity": "a" * 64})
    assert stages.weights(moved, "portraits_identity") == one
    source["sha256"] = "c" * 64
    given = plan.with_weight_files(resolve(shipped), {"portraits_identity": "a" * 64})
    assert given.sources["portraits_identity"].sha256 == "c" * 64


def test_files_that_only_this_machine_can_have_are_listed(shipped):
    files = shipped["datasets"]["portraits"]["files"]
    files["wiki_crop.tar"] = {"url": ["a.tar", "https://x.org/a.tar"], "sha256": "0" * 64}
    assert plan.local_only(resolve(shipped)) == {}
    files["wiki_crop.tar"]["url"] = ["a.tar", "b.tar"]
    listed = plan.local_only(resolve(shipped))
    assert listed == {"datasets.portraits.files.wiki_crop.tar.url": ["a.tar", "b.tar"]}


def test_a_mirror_is_no_part_of_what_a_stage_depends_on(shipped):
    files = shipped["datasets"]["portraits"]["files"]
    files["wiki_crop.tar"] = {"url": ["a.tar"], "sha256": "0" * 64}
    one = stages.download(resolve(shipped), "portraits", "wiki_crop.tar")
    files["wiki_crop.tar"]["url"] = ["b.tar", "a.tar"]
    assert stages.download(resolve(shipped), "portraits", "wiki_crop.tar") == one
    files["wiki_crop.tar"]["sha256"] = "1" * 64
    assert stages.download(resolve(shipped), "portraits", "wiki_crop.tar") != one


def test_whole_pictures_do_not_depend_on_the_detector(shipped):
    aligned = stages.crop(resolve(shipped), "portraits")
    assert aligned.detector is not None and aligned.device is not None
    portraits = shipped["datasets"]["portraits"]
    portraits["crop"] = "whole"
    whole = stages.crop(resolve(shipped), "portraits")
    portraits["detector"] = {"min_score": 0.5}
    shipped["compute"]["device"] = "cuda"
    assert stages.crop(resolve(shipped), "portraits") == whole
    assert (whole.crop, whole.crop_size) == ("whole", aligned.crop_size)


def test_recipes_of_training_can_differ_by_mode(shipped):
    own = {
        "balance": "upsample",
        "warm_up": False,
        "select": "last",
        "schedule": {"name": "plateau", "patience": 3, "min_lr": 0.001},
        "optimizer": {"name": "rmsprop", "alpha": 0.9},
    }
    shipped["experiments"]["portraits_sex"]["train"]["modes"] = {"fine_tuning": own}
    config = resolve(shipped)
    tuned = plan.hyperparameters(config, "portraits_sex", "fine_tuning")
    plain = plan.hyperparameters(config, "portraits_sex", "feature_extraction")
    for key, value in own.items():
        if key == "warm_up":
            assert plan.warm_up(config, "portraits_sex", "fine_tuning") is None
            continue
        one, other = tuned.model_dump()[key], plain.model_dump()[key]
        assert one == ({**other, **value} if isinstance(value, dict) else value) != other
    assert (plain.balance, plain.select) == ("none", "accuracy")
    assert (plain.schedule.patience, plain.schedule.min_lr) == (5, 0.0)


@pytest.mark.parametrize(
    ("train", "scratch", "tuned"),
    [
        ({}, (plan.RATES, None), plan.BOTH),
        ({"lr": 0.01}, (None, None), (None, plan.SCALES)),
        ({"transferred_lr_scale": 1}, (plan.RATES, None), (plan.RATES, None)),
        ({"modes": {"fine_tuning": {"lr": 0.01}}}, (plan.RATES, None), (None, plan.SCALES)),
        ({"tune": {}}, (None, None), (None, None)),
        ({"lr": 0.5, "tune": {"lr": [1, 2]}}, ((1, 2), None), ((1, 2), None)),
        ({"modes": {"fine_tuning": {"tune": {}}}}, (plan.RATES, None), (None, None)),
        (
            {"optimizer": {"name": "sgd"}},
            ((0.003, 0.01, 0.03, 0.1), None),
            ((0.003, 0.01), plan.BOTH[1]),
        ),
    ],
)
def test_what_is_not_set_is_tuned_on_an_equal_budget(shipped, train, scratch, tuned):
    shipped["experiments"]["portraits_sex"]["train"] = train
    config = resolve(shipped)
    grids = {
        mode: plan.hyperparameters(config, "portraits_sex", mode).tune
        for mode in ("from_scratch", "feature_extraction", "fine_tuning")
    }
    assert grids["from_scratch"] == grids["feature_extraction"]
    if "modes" not in train:  # of nothing transferred, no scale matters
        last = plan.hyperparameters(config, "portraits_sex", "freeze_block5").tune
        assert last == grids["feature_extraction"]
    for grid, expected in ((grids["from_scratch"], scratch), (grids["fine_tuning"], tuned)):
        assert (grid.lr, grid.transferred_lr_scale) == expected
        if any(expected) and "tune" not in train:
            size = len(grid.lr or [0]) * len(grid.transferred_lr_scale or [0])
            assert (size, grid.trials) == (4, plan.TRIALS)


def test_characters_are_not_mirrored_unless_asked(shipped):
    experiment = shipped["experiments"]["portraits_sex"]
    experiment["train"] = {}

    def flips():
        return plan.hyperparameters(resolve(shipped), "portraits_sex", "fine_tuning").augment.flip

    assert flips() is True
    experiment["dataset"] = "digits"
    assert flips() is False
    experiment["train"] = {"augment": {"flip": True}}
    assert flips() is True
    merged = {"merge": ["digits", "portraits"], "crop": "whole", "packed_size": 64}
    shipped["datasets"]["both"] = merged
    experiment |= {"dataset": "both", "train": {}}
    assert flips() is False


def test_without_a_warm_up_feature_extraction_is_not_trained_unless_listed(shipped):
    experiment = shipped["experiments"]["portraits_sex"]
    experiment["modes"] = ["from_scratch", "fine_tuning"]
    shipped["run"] = ["portraits_sex"]
    warm = resolve(shipped)
    assert plan.warm_up(warm, "portraits_sex", "fine_tuning") == "feature_extraction"
    assert plan.warm_up(warm, "portraits_sex", "from_scratch") is None
    assert plan.cuts(warm) == [("portraits", "portraits_identity", "avgpool")]

    # A head of another shape is no matter where none is handed over.
    experiment["train"]["modes"] = {"fine_tuning": {"warm_up": False, "head": {"hidden": [8]}}}
    cold = resolve(shipped)
    assert plan.warm_up(cold, "portraits_sex", "fine_tuning") is None
    assert plan.cuts(cold) == []
    experiment["modes"].append("feature_extraction")
    assert plan.cuts(resolve(shipped)) == plan.cuts(warm)


def test_a_probe_starts_from_no_head_and_may_be_beside_any(shipped):
    experiment = shipped["experiments"]["portraits_sex"]
    experiment["modes"] = ["fine_tuning", *architectures.PROBES]
    experiment["train"]["modes"] = {"knn_probe": {"head": {"hidden": [8]}}}
    config = read_config(shipped)
    for mode in architectures.PROBES:
        assert plan.warm_up(config, "portraits_sex", mode) is None
        trained = stages.train(config, "portraits_sex", mode)
        assert trained.cut == "avgpool"
        experiment["train"]["epochs"] = 7
        assert stages.train(read_config(shipped), "portraits_sex", mode) == trained, "no epochs"


def test_processes_share_trainings_by_epochs_and_no_probes(shipped):
    shipped["compute"]["training_processes"] = 3
    config = read_config(shipped)
    for mode in architectures.MODES:
        count = stages.train(config, "portraits_sex", mode).processes
        assert count == (1 if mode in architectures.PROBES else 3)


def test_whether_there_is_a_warm_up_changes_no_recipe_but_by_its_input(shipped):
    warm = resolve(shipped)
    shipped["experiments"]["portraits_sex"]["train"]["warm_up"] = False
    for mode in ("from_scratch", "feature_extraction", "fine_tuning"):
        recipes = [stages.train(c, "portraits_sex", mode) for c in (warm, resolve(shipped))]
        assert recipes[0] == recipes[1]


@pytest.mark.parametrize(("asked", "used"), [("auto", "fp32"), ("fp32", "fp32"), ("bf16", "bf16")])
def test_evaluation_and_prediction_have_a_precision_of_their_own(shipped, asked, used):
    shipped["predict"] = {
        "pictures": "photos",
        "experiment": "portraits_sex",
        "mode": "from_scratch",
    }
    shipped["compute"] |= {"training_precision": "bf16", "evaluation_precision": asked}
    shipped["compute"] |= {"reproducible": "fast", "device": "cuda"}
    config = resolve(shipped)
    assert stages.train(config, "portraits_sex", "from_scratch").precision == "bf16"
    assert stages.evaluate(config, "portraits_sex").precision == used
    assert stages.predict(config, "digest", None).precision == used


def merged(config, overlay):
    update_config(config, overlay)
    return config


def test_null_takes_a_key_away(shipped):
    sex = shipped["experiments"]["portraits_sex"]
    sex["train"]["modes"] = {"fine_tuning": {"epochs": 3}, "freeze_block3": {"epochs": 4}}
    archive = {"url": ["a.tar"], "sha256": "0" * 64, "render": None}
    overlay = {
        "compute": None,
        "datasets": {
            "portraits": {
                "limit": {"train": None},
                "files": {"wiki_crop.tar": archive},
                "options": {"min_face_score": None},
            },
            "portraits_identity": {"files": {"portraits_identity.tgz": None, "b.tgz": archive}},
        },
        "sources": {"imagenet_vgg16": None},
        "experiments": {
            "portraits_sex": {
                "train": {"modes": {"freeze_block3": None}, "patience": None, "lr": None}
            }
        },
    }
    config = resolve(merged(shipped, overlay))
    train = config.experiments["portraits_sex"].train
    assert {m: t.model_dump(exclude_unset=True) for m, t in train.modes.items()} == {
        "fine_tuning": {"epochs": 3}
    }
    assert train.lr == 0.001, "the default again"
    assert train.patience is None, "a value, where null is one"
    assert config.compute.batch_size == 32
    assert list(config.datasets["portraits_identity"].files) == ["b.tgz"]
    assert config.datasets["portraits"].files["wiki_crop.tar"].render is None
    assert config.datasets["portraits"].limit.train is None
    assert "imagenet_vgg16" not in config.sources
    options = config.datasets["portraits"].options
    assert (options.crop_margin, options.min_face_score) == (None, 1.0), "a value, and a default"


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ({"datasets": {"portraits": {"label": None}}}, r"portraits\.label is missing"),
        ({"datasets": {"portraits": {"lable": None}}}, "Did you mean label"),
        ({"datasets": {"portraits": None}}, "'portraits', which is not defined"),
        ({"sources": {"imagenet_vgg16": {"weights": {"torchvision": None}}}}, "exactly one of"),
        ({"run": [None]}, r"run\.0 is None. Give text"),
    ],
)
def test_a_key_that_is_needed_cannot_be_taken_away(shipped, overlay, sentence):
    with pytest.raises(GraftError, match=sentence):
        resolve(merged(shipped, overlay))


def test_folders_of_an_experiment_that_is_only_predicted_with_are_packed_as_well(shipped):
    shipped["datasets"]["mine"] = {
        "layout": "folder",
        "files": {"mine.tar": {"folder": "photos"}},
        "label": "class",
        "packed_size": 32,
    }
    shipped["experiments"]["mine"] = {
        "dataset": "mine",
        "source": "vgg_mini",
        "modes": ["from_scratch"],
    }
    assert plan.folders(resolve(shipped)) == []
    shipped["predict"] = {"pictures": "others", "experiment": "mine", "mode": "from_scratch"}
    assert plan.folders(resolve(shipped)) == [("mine", "mine.tar")]


def test_an_overview_is_made_if_all_of_its_experiments_are_run(shipped):
    shipped["overviews"] = {"o": {"experiments": BOTH}}
    config = resolve(shipped)
    assert plan.overviews(config) == ["o"]
    own = resolve({**shipped, "run": ["portraits_sex"]})
    assert plan.overviews(own) == ["o"]  # portraits_identity is run for its source
    assert plan.overviews(resolve({**shipped, "run": ["portraits_identity"]})) == []
    settings = reports.overview(config, "o")
    sizes = ["portraits_sex/train_20", "portraits_sex/train_40"]
    identity, sex = BOTH
    assert [spec.name for spec in settings.experiments] == [identity, *sizes, sex]
    assert settings.published == () and settings.title == "o"


def several(shipped, **train):
    """An experiment on pictures of several classes."""
    files = {"m.tar": {"folder": "photos"}}
    table = {"layout": "folder", "files": files, "label": {"multi": True}, "crop": "whole"}
    shipped["datasets"]["many"] = table | {"packed_size": 32, "options": {"table": "t.csv"}}
    experiment = {"dataset": "many", "source": "blank", "modes": ["from_scratch"], "train": train}
    shipped["sources"]["blank"] = {"architecture": "vgg_mini", "weights": {"random": True}}
    shipped["experiments"]["many"] = experiment
    return shipped


def test_several_classes_per_picture_have_a_metric_and_a_choice_of_their_own(shipped):
    config = resolve(several(shipped))
    assert config.datasets["many"].label == "classes" and plan.is_multilabel(config, "many")
    assert plan.hyperparameters(config, "many", "from_scratch").select == "mean_ap"
    assert plan.comparison(config, "many").metric == "mean_ap"
    assert plan.comparison(config, "portraits_sex").metric == "accuracy"
    assert reports.plots(config, "many").select == "mean_ap"
    given = resolve(several(shipped, select="loss"))
    assert plan.hyperparameters(given, "many", "from_scratch").select == "loss"


@pytest.mark.parametrize(
    ("train", "problem"),
    [
        ({"select": "balanced_accuracy"}, "train.select is balanced_accuracy, which is for one"),
        ({"balance": "upsample"}, "train.balance is upsample, which is for one class per picture"),
        ({"augment": {"mixup": 0.2}}, "train.augment.mixup is for one class per picture"),
    ],
)
def test_what_is_for_one_class_per_picture_is_refused_for_several(shipped, train, problem):
    with pytest.raises(GraftError, match=problem):
        resolve(several(shipped, **train))


def test_data_sets_of_one_and_of_several_classes_per_picture_are_not_mixed(shipped):
    several(shipped)
    shipped["datasets"]["both"] = {"merge": ["many", "portraits"], "packed_size": 32}
    with pytest.raises(GraftError, match=r"datasets.both.merge puts .* \(many\) together with"):
        resolve(shipped)
    del shipped["datasets"]["both"]
    shipped["overviews"] = {"o": {"experiments": ["many", "portraits_sex"]}}
    with pytest.raises(GraftError, match="overviews.o.experiments .* which no metric compares"):
        resolve(shipped)


def test_mean_average_precision_chooses_among_several_classes_only(shipped):
    shipped["experiments"]["portraits_sex"]["train"]["select"] = "mean_ap"
    with pytest.raises(GraftError, match="train.select is mean_ap, but the pictures of portraits"):
        resolve(shipped)
