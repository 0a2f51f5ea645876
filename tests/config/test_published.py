"""The seed systems' recipes: the overlays hold the published settings, number by number.

The figures are those of the systems' own code and papers, not of the overlays.
"""

import pytest
from conftest import ROOT, SHIPPED
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from graft.config import architectures, plan, stages
from graft.config.models import Config, Tune
from graft.config.read import read_config
from graft.training import schedule


def resolved(*overlays: str) -> Config:
    merged: dict = {}
    update_config(merged, SHIPPED)
    for name in overlays:
        update_config(merged, load_configfile(ROOT / "config" / name))
    return read_config(merged)


@pytest.fixture(scope="module")
def neon():
    return resolved("imdb_wiki.yaml")


@pytest.fixture(scope="module")
def emotions():
    return resolved("fer2013.yaml")


@pytest.fixture(scope="module")
def digits():
    return resolved("mnist.yaml")


@pytest.fixture(scope="module")
def voc():
    return resolved("voc2007.yaml")


def holds(settings, expected: dict) -> None:
    """The settings have every expected value."""
    values = settings.model_dump(mode="json")
    assert {key: values[key] for key in expected} == expected


def source_of(config, experiment):
    return config.sources[config.experiments[experiment].source]


@pytest.mark.parametrize("mode", ["from_scratch", "feature_extraction", "fine_tuning"])
def test_the_neon_course_trains_as_published(neon, mode):
    found = plan.hyperparameters(neon, "neon_published", mode)
    holds(
        found,
        {
            "epochs": 10,
            "batch_size": 32,
            "lr": 1e-3,
            "transferred_lr_scale": 0.001,
            "patience": None,
            "select": "last",
            "balance": "none",
            "tune": {"lr": None, "transferred_lr_scale": None, "trials": []},
        },
    )
    holds(found.optimizer, {"name": "sgd", "momentum": 0.9, "weight_decay": 5e-4})
    assert found.schedule.name == "constant"
    holds(
        found.head,
        {"pool": "flatten", "hidden": [4096, 4096], "activation": "relu", "dropout": 0.5},
    )
    assert plan.warm_up(neon, "neon_published", mode) is None
    assert source_of(neon, "neon_published").architecture == "vgg16"
    assert neon.datasets["wiki"].packed_size == 224


def test_the_corrected_neon_recipe_only_chooses_the_scale_and_the_epoch(neon):
    published = plan.hyperparameters(neon, "neon_published", "fine_tuning")
    corrected = plan.hyperparameters(neon, "neon_corrected", "fine_tuning")
    differing = {key for key, value in published if value != dict(corrected)[key]}
    assert differing == {"tune", "select"}
    assert corrected.tune == Tune(transferred_lr_scale=(0, 0.001, 0.01, 0.1, 1))
    assert corrected.select == "accuracy"


def test_the_keras_framework_trains_the_head_first_as_published(emotions):
    found = plan.hyperparameters(emotions, "emotions_published", "feature_extraction")
    holds(found, {"epochs": 10, "batch_size": 64, "select": "last"})
    assert found.optimizer.name == "rmsprop"
    holds(
        found.head,
        {"pool": "avgpool", "hidden": [1024, 1024], "activation": "relu", "dropout": [0, 0.5]},
    )


def test_the_keras_framework_then_tunes_what_comes_after_conv4_1(emotions):
    mode = "freeze_conv4_1"
    found = plan.hyperparameters(emotions, "emotions_published", mode)
    holds(
        found,
        {
            "epochs": 100,
            "batch_size": 64,
            "lr": 1e-3,
            "transferred_lr_scale": 1.0,
            "patience": 15,
            "select": "last",
        },
    )
    assert plan.warm_up(emotions, "emotions_published", mode) == "feature_extraction"
    holds(found.optimizer, {"name": "sgd", "momentum": 0.9})
    holds(found.schedule, {"name": "time", "decay": 5e-4})
    assert mode in emotions.experiments["emotions_published"].modes


def test_the_keras_framework_feeds_a_255th_of_rgb_and_the_correction_does_not(emotions):
    fed = source_of(emotions, "emotions_published").transform
    holds(fed, {"scale": pytest.approx(1 / 255), "mean": [0, 0, 0], "std": [1, 1, 1]})
    assert fed.channels == "RGB"
    own = source_of(emotions, "emotions_corrected").transform
    holds(own, {"scale": 1, "mean": [93.5940, 104.7624, 129.1863], "channels": "BGR"})


def test_fer2013_is_made_grey_resized_and_equalised(emotions):
    holds(
        stages.pack(emotions, "fer2013"),
        {"packed_size": 224, "grayscale": True, "equalize": True},
    )
    holds(
        emotions.datasets["fer2013"].files["fer2013.csv"],
        {"md5": "f8428a1edbd21e88f42c73edd2a14f95"},
    )


def test_the_framework_s_published_accuracies_are_listed_beside_ours(emotions):
    listed = emotions.overviews["emotions"].published
    assert [row.value for row in listed] == [0.6949, 0.6464, 0.6121, 0.5668]


def test_the_article_s_perceptron_on_features_is_as_published(digits):
    found = plan.hyperparameters(digits, "digits_features", "feature_extraction")
    holds(found, {"epochs": 20, "batch_size": 128})
    assert found.optimizer.name == "adam"
    holds(
        found.head,
        {
            "pool": "flatten",
            "hidden": [1000, 500, 150],
            "activation": ["relu", "sigmoid", "sigmoid"],
            "dropout": 0.0,
        },
    )
    source = source_of(digits, "digits_features")
    assert (source.architecture, source.transform.size) == ("vgg16", 224)


def test_the_article_freezes_the_first_five_convolutions_as_published(digits):
    (mode,) = digits.experiments["digits_frozen"].modes
    found = plan.hyperparameters(digits, "digits_frozen", mode)
    holds(found, {"epochs": 10, "batch_size": 16, "lr": 1e-3, "transferred_lr_scale": 1.0})
    holds(found.optimizer, {"name": "sgd", "nesterov": True})
    assert found.head.hidden == ()
    architecture = source_of(digits, "digits_frozen").architecture
    assert architectures.blocks(architecture)[-1] == "fc7"
    # Keras' first eight layers: the input, five convolutions, and the poolings after two blocks.
    layers = list(architectures.NAMED[architecture].layers)
    assert layers.index(architectures.cut(mode, architecture, "flatten")) == 4


@pytest.mark.parametrize(
    ("experiment", "architecture", "head"),
    [
        ("digits_mlp", "mlp", {"hidden": [500, 500, 500], "dropout": 0.0}),
        ("digits_cnn3", "cnn3", {"hidden": [64], "dropout": 0.5}),
    ],
)
def test_the_article_s_baselines_have_the_published_layers(digits, experiment, architecture, head):
    source = source_of(digits, experiment)
    assert source.architecture == architecture
    assert source.transform.size == 224  # 3 x 224 x 224 are the perceptron's 150,528 inputs
    holds(plan.hyperparameters(digits, experiment, "from_scratch").head, head)


def test_patches_are_those_of_oquab_with_neon_s_grid(voc):
    dataset = voc.datasets["voc2007"]
    holds(
        dataset.patches,
        {
            "scales": [1, 1.3, 1.6, 2, 2.3, 2.6, 3, 3.3, 3.6, 4, 4.3, 4.6, 5],
            "enough": 448,
            "after": 10,
            "of_patch": 0.2,
            "of_object": 0.6,
            "side": None,
        },
    )
    assert dataset.crop == "patches" and dataset.packed_size == 224
    files = {name: (file.size, file.md5) for name, file in dataset.files.items()}
    assert files == {
        "VOCtrainval_06-Nov-2007.tar": (460032000, "c52e279531787c972589f7e41ab4ae64"),
        "VOCtest_06-Nov-2007.tar": (451020800, "b6e924de25625d8de591ea690078ad9f"),
    }
    assert source_of(voc, "voc_published").architecture == "alexnet_fc7"
    holds(
        voc.experiments["voc_published"].patches,
        {"per_picture": 448, "batches": "picture", "features": "single"},
    )


NEON_VOC = {
    "from_scratch": (1e-2, 0.1, [8, 14, 18, 20]),
    "feature_extraction": (1e-4, 0.9, [15, 20]),
    "fine_tuning": (1e-4, 0.9, [15, 20]),
}
"""Rate, momentum, and the epochs at which the rate falls to a tenth."""


@pytest.mark.parametrize("mode", NEON_VOC)
def test_patches_are_trained_as_published(voc, mode):
    rate, momentum, steps = NEON_VOC[mode]
    found = plan.hyperparameters(voc, "voc_published", mode)
    holds(found, {"lr": rate, "transferred_lr_scale": 1.0, "select": "last", "patience": None})
    holds(found.optimizer, {"name": "sgd", "momentum": momentum, "weight_decay": 5e-4, "clip": 0})
    holds(found.head, {"hidden": [4096], "activation": "relu", "dropout": 0.5})
    holds(found.head_start, {"std": 0.005, "bias": 0.1})
    assert found.tune == Tune() and plan.warm_up(voc, "voc_published", mode) is None
    # neon's Schedule(step_config=steps, change=0.1), epoch by epoch.
    neon_rate, expected = rate, []
    for epoch in range(24):
        neon_rate *= 0.1 if epoch in steps else 1
        expected.append(neon_rate)
    factors = [schedule.learning_rate_factor(found, epoch, 3 * epoch, 3) for epoch in range(24)]
    assert [rate * factor for factor in factors] == pytest.approx(expected)


def test_oquab_s_frozen_layers_end_with_fc7(voc):
    assert plan.cut(voc, "voc_published", "feature_extraction") == "avgpool"
    assert architectures.blocks("alexnet_fc7")[-2:] == ["fc6", "fc7"]
    corrected = voc.experiments["voc_corrected"]
    assert corrected.patches.batches == "mixed"
    found = plan.hyperparameters(voc, "voc_corrected", "fine_tuning")
    assert found.select == "mean_ap" and found.tune.lr
    assert voc.experiments["voc_whole"].patches is None


@pytest.mark.parametrize(
    ("overlays", "changed"),
    [
        (
            ("imdb_wiki.yaml", "lfw_squeezenet.yaml", "kit/imdb_wiki.yaml"),
            {"epochs", "head"},
        ),
        (("fer2013.yaml", "kit/fer2013.yaml"), {"epochs"}),
        (("mnist.yaml", "kit/mnist.yaml"), {"epochs", "head"}),
        # Single modes have other numbers of epochs; see below for all else.
        (("voc2007.yaml", "kit/voc2007.yaml"), {"epochs", "batch_size", "modes"}),
    ],
    ids=lambda value: value[0].split(".")[0] if isinstance(value, tuple) else None,
)
def test_the_overlays_for_the_kit_change_sizes_and_nothing_else_of_a_recipe(overlays, changed):
    recipe, kit = resolved(overlays[0]), resolved(*overlays)
    for name in (name for name in plan.experiments(kit) if name in recipe.experiments):
        published = recipe.experiments[name].train
        run = kit.experiments[name].train
        differing = {key for key, value in run if value != dict(published)[key]}
        assert differing <= changed, name
        pool = {"pool": "avgpool"}
        assert run.head.model_copy(update=pool) == published.head.model_copy(update=pool)
