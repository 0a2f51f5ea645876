"""Networks that no table lists: what a config learns of them from another process, and keeps."""

import copy
import subprocess

import pytest
from conftest import SHIPPED

from graft.config import architectures, networks, plan, stages
from graft.config.read import read_config
from graft.core.errors import GraftError

VIT = "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """An empty folder for descriptions."""
    monkeypatch.setattr(networks, "MEMORY", tmp_path / "networks")
    networks.described.cache_clear()
    yield tmp_path / "networks"
    networks.described.cache_clear()


def test_a_network_is_described_once_and_then_read(memory, monkeypatch):
    found = networks.described("resnet34", "IMAGENET1K_V1")
    assert found.cuts["layer4.2"] == found.cuts["layer4"] == "layer4"
    assert found.blocks[:2] == ["maxpool", "layer1.0"] and "layer4" in found.after_weights
    assert found.transform["size"] == 224 and found.transform["crop_pct"] == 224 / 256
    networks.described.cache_clear()
    monkeypatch.setattr(subprocess, "run", None)
    assert networks.described("resnet34", "IMAGENET1K_V1") == found


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("resnet35", r"torchvision has no classifier 'resnet35'\. Did you mean resnet"),
        ("timm/resnet18.a9_in1k", r"timm has no weights 'a9_in1k' of resnet18"),
    ],
)
def test_a_network_that_does_not_exist_is_named(memory, architecture, message):
    with pytest.raises(GraftError, match=message):
        networks.described(architecture)
    assert not memory.exists()


def test_modes_and_input_of_a_network_of_timm_s(memory):
    cuts = {"freeze_blocks.7": "blocks.7", "freeze_blocks": "blocks.11"}
    for mode, cut in cuts.items():
        assert architectures.is_mode(mode, VIT)
        assert architectures.cut(mode, VIT, "avgpool") == cut
        assert architectures.trains_transferred(mode, VIT)  # a normalisation at least
    assert architectures.cut("logistic_probe", VIT, "flatten") == "pooled"
    assert not architectures.trains_transferred("freeze_norm", VIT)
    assert not architectures.is_mode("freeze_blocks.7.attn", VIT)
    assert "freeze_blocks.3" in architectures.modes(VIT)
    assert plan.read_cut("blocks.7") == ("blocks.7", None)
    assert plan.read_cut("blocks.7.single") == ("blocks.7", "single")


def test_what_the_config_does_not_set_of_the_input_is_the_weights_own(memory):
    config = copy.deepcopy(SHIPPED)
    config["sources"]["vit"] = {
        "architecture": VIT,
        "weights": {"timm": "main"},
        "transform": {"size": 64, "crop_pct": 1},
    }
    config["experiments"]["seen"] = {
        "dataset": "portraits",
        "source": "vit",
        "modes": ["feature_extraction", "freeze_blocks.7"],
    }
    config["run"] = ["seen"]
    settings = read_config(config)
    transform = stages.backbone(settings, "vit").transform
    assert (transform.size, transform.crop_pct, transform.interpolation) == (64, 1, "bicubic")
    assert transform.mean == transform.std == (0.5, 0.5, 0.5)
    assert ("portraits", "vit", "blocks.7") in plan.cuts(settings)
    config["experiments"]["seen"]["modes"] = ["freeze_blocks.12"]
    with pytest.raises(GraftError, match=r"experiments.seen.modes has 'freeze_blocks.12'"):
        read_config(config)
