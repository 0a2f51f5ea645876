"""Architectures: modes, the cuts they mean, and what is frozen before a cut."""

import pytest

from graft.config import architectures


@pytest.mark.parametrize(
    ("mode", "cut"),
    [
        ("freeze_conv1_1", "conv1_1"),
        ("freeze_conv3_1", "conv3_1"),
        ("freeze_conv3_3", "block3"),
        ("freeze_conv2_2", "block2"),
        ("freeze_block3", "block3"),
        ("feature_extraction", "avgpool"),
        ("logistic_probe", "avgpool"),
        ("fine_tuning", "image"),
    ],
)
def test_a_mode_freezes_up_to_and_with_its_layer(mode, cut):
    assert architectures.is_mode(mode, "vgg16")
    assert architectures.cut(mode, "vgg16", "avgpool") == cut


@pytest.mark.parametrize(
    ("mode", "architecture"),
    [
        ("freeze_conv3_4", "vgg16"),
        ("freeze_conv3_1", "resnet18"),
        ("freeze_fc6", "vgg16"),
        ("feature_extraction", "mlp"),
        ("knn_probe", "mlp"),
        ("freeze_small", "stack"),
        ("freeze_image", "vgg16"),
    ],
)
def test_a_mode_that_names_nothing_to_freeze_is_no_mode(mode, architecture):
    assert not architectures.is_mode(mode, architecture)


def test_the_modes_of_an_architecture_are_listed_with_its_layers():
    assert architectures.modes("mlp") == "from_scratch"
    listed = architectures.modes("vgg16")
    assert listed.endswith("freeze_block5, and freeze_<layer> for conv1_1 to conv5_3")


def test_a_mode_that_freezes_the_last_block_trains_a_head_alone():
    trained = ("fine_tuning", "freeze_block4", "freeze_conv5_2")
    alone = ("from_scratch", "feature_extraction", "knn_probe", "freeze_block5", "freeze_conv5_3")
    assert all(architectures.trains_transferred(mode, "vgg16") for mode in trained)
    assert not any(architectures.trains_transferred(mode, "vgg16") for mode in alone)
    assert architectures.warm_up("freeze_block5") == "feature_extraction"
    assert not architectures.trains_transferred("from_scratch", "mlp")
