"""timm's weights: where they are, and that a file becomes what timm itself makes of it."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from graft.core.errors import GraftError
from graft.models import timm_weights
from graft.models.backbones import Backbone

NAME = "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@pytest.fixture
def file(tmp_path):
    """A whole network of timm's with its classifier, as timm publishes it."""
    torch.manual_seed(7)
    network = timm.create_model("vit_tiny_patch16_224").eval()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors", network


def test_weights_are_in_the_tag_s_repository_at_a_revision():
    found = timm_weights.published(
        "timm/resnet50.a1_in1k", "767268603ca0cb0bfe326fa87277f19c419566ef"
    )
    assert found.url == (
        "https://huggingface.co/timm/resnet50.a1_in1k/resolve/"
        "767268603ca0cb0bfe326fa87277f19c419566ef/model.safetensors"
    )
    assert found.name == "resnet50.a1_in1k.safetensors" and found.licence == "apache-2.0"


def test_a_model_without_published_weights_is_refused():
    with pytest.raises(GraftError, match=r"weights.timm: timm names no weights of botnet50ts_256"):
        timm_weights.published("timm/botnet50ts_256", "main")


def test_a_file_gives_the_features_of_timm_s_own_network(file):
    path, network = file
    backbone = Backbone(NAME, size=224)
    assert len(backbone.load(timm_weights.read(path, NAME, None))) == len(backbone.tensors())
    pictures = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features(pictures), pre_logits=True)
        assert torch.equal(backbone.eval()(pictures), expected)


def test_position_embeddings_are_those_that_timm_resizes(file):
    path, network = file
    tensors = timm_weights.read(path, NAME, 96)
    resized = timm.layers.resample_abs_pos_embed(network.pos_embed, (6, 6), num_prefix_tokens=1)
    torch.testing.assert_close(tensors["pos_embed"], resized)


def test_weights_of_another_model_are_refused(file):
    with pytest.raises(GraftError, match=r"model.safetensors: timm cannot read it as weights of"):
        timm_weights.read(file[0], "timm/resnet18.a1_in1k", None)
