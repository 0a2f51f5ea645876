"""Sources in the config: stacks, models of other experiments, and what each mistake gives."""

import copy

import pytest
from conftest import SHIPPED
from networks import PIXELS

from graft.config import plan, stages
from graft.config.read import read_config
from graft.core.errors import GraftError


@pytest.fixture
def shipped():
    return copy.deepcopy(SHIPPED)


def chain(config, **more):
    """A source made of what portraits_sex learns, and an experiment that uses it."""
    config["sources"]["taught"] = {
        "architecture": "vgg_mini",
        "weights": {"experiment": "portraits_sex", "mode": "fine_tuning", "seed": 0},
        "transform": SHIPPED["sources"]["vgg_mini"]["transform"],
        **more,
    }


def stacked(config, *members, **more):
    config["sources"]["pair"] = {
        "architecture": "stack",
        "weights": {"stack": list(members)},
        **more,
    }
    config["experiments"]["paired"] = {
        "dataset": "portraits",
        "source": "pair",
        "modes": ["feature_extraction"],
    }
    config["run"] = ["paired"]


def test_a_stacks_members_and_their_teachers_are_made_as_well(shipped):
    chain(shipped)
    stacked(shipped, "taught", "imagenet_squeezenet1_1")
    config = read_config(shipped)
    assert plan.experiments(config) == ["paired", "portraits_sex", "portraits_identity"]
    assert plan.sources(config) == [
        "pair",
        "taught",
        "imagenet_squeezenet1_1",
        "portraits_identity",
    ]
    settings = stages.weights(config, "pair")
    assert settings.weights.kind == "stack" and settings.backbone.transform == PIXELS
    experts = stages.train(config, "paired", "feature_extraction").backbone.experts
    assert experts["taught"].transform.mean == (0.5, 0.5, 0.5)
    assert experts["imagenet_squeezenet1_1"].architecture == "squeezenet1_1"
    assert stages.backbone(config, "taught").experts is None


def test_two_members_can_come_from_one_experiment(shipped):
    chain(shipped)
    stacked(shipped, "taught", "portraits_identity")
    assert plan.source_experiments(read_config(shipped), "pair") == [
        "portraits_sex",
        "portraits_identity",
    ]


def test_a_stack_must_not_be_made_from_what_it_trains(shipped):
    chain(shipped)
    stacked(shipped, "taught", "imagenet_squeezenet1_1")
    stem = shipped["experiments"]["portraits_identity"]
    shipped["sources"]["late"] = {
        **shipped["sources"]["taught"],
        "weights": {"experiment": "portraits_identity", "mode": "from_scratch", "seed": 0},
    }
    stem["source"] = "taught"
    with pytest.raises(GraftError, match="circle .*portraits_sex.*portraits_identity"):
        read_config(shipped)


def one_member(config):
    config["sources"]["pair"]["weights"]["stack"] = ["imagenet_vgg16"]


def unknown_member(config):
    config["sources"]["pair"]["weights"]["stack"] = ["imagenet_vgg16", "imagenet_vgg61"]


def random_member(config):
    config["sources"]["pair"]["weights"]["stack"] = ["imagenet_vgg16", "vgg_mini"]


def stack_of_stacks(config):
    config["sources"]["pairs"] = copy.deepcopy(config["sources"]["pair"])
    config["sources"]["pairs"]["weights"]["stack"] = ["pair", "imagenet_vgg16"]


def own_transform(config):
    config["sources"]["pair"]["transform"] = {"size": 64}


def no_stack(config):
    config["sources"]["pair"]["architecture"] = "vgg16"


def stack_without_members(config):
    config["sources"]["pair"]["weights"] = {"random": True}


def headed(config):
    config["sources"]["head"] = config["sources"]["imagenet_vgg16"]
    config["sources"]["pair"]["weights"]["stack"] = ["imagenet_vgg16", "head"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (one_member, r"sources\.pair\.weights\.stack "),
        (unknown_member, "Did you mean imagenet_vgg16"),
        (random_member, "names vgg_mini, which has no weights or is a stack"),
        (stack_of_stacks, "names pair, which has no weights or is a stack"),
        (own_transform, r"sources\.pair\.transform is set for a stack"),
        (no_stack, r"sources\.pair\.architecture is vgg16, but weights\.stack"),
        (stack_without_members, r"sources\.pair\.architecture is stack"),
        (headed, r"sources\.pair\.weights\.stack names a source called head"),
    ],
)
def test_each_mistake_in_a_source_gets_one_sentence(shipped, change, sentence):
    stacked(shipped, "imagenet_vgg16", "imagenet_alexnet")
    read_config(shipped)
    change(shipped)
    with pytest.raises(GraftError, match=sentence) as caught:
        read_config(shipped)
    assert "\n" not in str(caught.value)
