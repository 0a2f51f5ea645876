"""The config: one clear sentence for each way to get it wrong, and defaults where they belong."""

import copy

import pytest
from conftest import SCHEMA, SHIPPED

from graft import config as configs
from graft import settings
from graft.errors import GraftError


@pytest.fixture
def shipped():
    return copy.deepcopy(SHIPPED)


def resolve(config):
    return configs.resolve(config, SCHEMA)


def test_the_shipped_config_is_valid_and_completed_with_defaults(shipped):
    before = copy.deepcopy(shipped)
    config = resolve(shipped)
    assert shipped == before, "the given config must not be changed"
    assert config["datasets"]["portraits"]["detector"]["min_score"] == 0.9
    assert config["experiments"]["portraits_sex"]["train"]["optimizer"]["momentum"] == 0.9
    assert config["experiments"]["portraits_sex"]["train"]["optimizer"]["weight_decay"] == 5e-4


def test_an_unknown_key_is_named_with_the_nearest_known_one(shipped):
    shipped["datasets"]["portraits"]["image_sise"] = 3
    with pytest.raises(
        GraftError, match=r"datasets\.portraits\.image_sise .* did you mean image_size\?"
    ):
        resolve(shipped)


def test_a_misspelt_required_key_is_told_as_unknown_and_not_as_missing(shipped):
    shipped["datasets"]["portraits"]["layuot"] = shipped["datasets"]["portraits"].pop("layout")
    with pytest.raises(GraftError, match="did you mean layout"):
        resolve(shipped)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("run", ["portraits_sx"], "did you mean portraits_sex"),
        ("experiments.portraits_sex.dataset", "portrait", "did you mean portraits"),
        ("experiments.portraits_sex.source", "nowhere", "known: "),
        ("experiments.portraits_sex.modes", ["fine_tunning"], "vgg_mini knows from_scratch"),
        ("experiments.portraits_sex.modes", ["freeze_layer1"], "freeze_block1"),
        ("experiments.portraits_sex.source", "vgg_mini", "no weights to transfer"),
        ("datasets.portraits.split.train", 0.9, "sum to 1"),
        ("datasets.portraits.detector", {"name": "none"}, "crop: whole"),
        ("datasets.portraits.detector", {"name": "mtcn"}, "did you mean mtcnn"),
        ("datasets.portraits.files", {"a.tar": {}}, "exactly one of url"),
        ("sources.vgg_mini.weights", {}, "exactly one of url, torchvision"),
        ("sources.portraits_identity.weights.seed", 7, "does not list"),
        ("sources.portraits_identity.architecture", "vgg16", "trains vgg_mini"),
        ("features", {"flip": False}, "other views"),
        (
            "experiments.portraits_sex.train.optimizer",
            {"momentum": 0, "nesterov": True},
            "nesterov",
        ),
        (
            "datasets.portraits.files",
            {"a.tar": {"render": {"kind": "lfw", "people": 3, "seed": 1}}},
            "needs pictures",
        ),
        ("experiments.portraits_sex.train.epochs", 0, "minimum"),
        ("datasets", {"../x": {}}, "not a usable name"),
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


def test_sources_must_not_form_a_circle(shipped):
    shipped["experiments"]["portraits_identity"]["source"] = "portraits_identity"
    with pytest.raises(GraftError, match="circle"):
        resolve(shipped)


def test_a_mode_overrides_single_keys_of_the_experiments_training(shipped):
    shipped["experiments"]["portraits_sex"]["train"]["modes"] = {
        "fine_tuning": {"epochs": 3, "optimizer": {"momentum": 0.5}}
    }
    config = resolve(shipped)
    tuned = configs.training(config, "portraits_sex", "fine_tuning")
    plain = configs.training(config, "portraits_sex", "from_scratch")
    assert (tuned["epochs"], tuned["optimizer"]["momentum"]) == (3, 0.5)
    assert tuned["optimizer"]["weight_decay"] == plain["optimizer"]["weight_decay"] == 5e-4
    assert plain["epochs"] != 3


def test_running_an_experiment_includes_the_one_its_source_comes_from(shipped):
    shipped["run"] = ["portraits_sex"]
    config = resolve(shipped)
    assert settings.experiments(config) == ["portraits_sex", "portraits_identity"]
    assert settings.datasets(config) == ["portraits", "portraits_identity"]
    assert settings.sources(config) == ["portraits_identity"]
    assert settings.cuts(config) == [("portraits", "portraits_identity", "avgpool")]


def test_a_mirror_is_no_part_of_what_a_stage_depends_on(shipped):
    files = shipped["datasets"]["portraits"]["files"]
    files["wiki_crop.tar"] = {"url": ["a.tar"], "sha256": "0" * 64}
    one = settings.download(resolve(shipped), "portraits", "wiki_crop.tar")
    files["wiki_crop.tar"]["url"] = ["b.tar", "a.tar"]
    assert settings.download(resolve(shipped), "portraits", "wiki_crop.tar") == one
    files["wiki_crop.tar"]["sha256"] = "1" * 64
    assert settings.download(resolve(shipped), "portraits", "wiki_crop.tar") != one
