"""Certificates: torchvision's and timm's networks equal their halves, and wrong halves are seen."""

import pytest
import timm
import torch
from networks import backbone_of
from timm.layers import BatchNormAct2d
from torch import fx, nn
from torchvision import models

from graft.core.errors import GraftError
from graft.models import zoo
from graft.models.backbones import Backbone
from graft.models.certificate import certify
from graft.models.cuts import Traced
from graft.models.network import split

TORCHVISION = """
alexnet convnext_tiny densenet121 densenet161 densenet169 densenet201 efficientnet_b0
efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_v2_s googlenet
inception_v3 mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large
mobilenet_v3_small regnet_x_1_6gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_y_1_6gf
regnet_y_3_2gf regnet_y_400mf regnet_y_800mf resnet18 resnet34 resnet50 resnext50_32x4d
shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0
squeezenet1_1 swin_t swin_v2_t maxvit_t
"""
"""torchvision's classifiers below 30 million parameters, and AlexNet."""

TIMM = """
resnet18 resnet26d resnet50.a1_in1k resnetv2_50 seresnet50 ecaresnet26t res2net50_14w_8s
efficientnet_b0 tf_efficientnetv2_b0 mobilenetv3_small_050 mobilenetv4_conv_small regnetx_002
regnety_004 convnext_atto convnextv2_atto.fcmae_ft_in1k nfnet_l0 repvgg_a0 ghostnet_050 dla34
hrnet_w18_small densenet121 fastvit_t8 edgenext_xx_small efficientvit_b0 mnasnet_050
hardcorenas_a vit_tiny_patch16_224 vit_small_patch14_dinov2.lvd142m
vit_small_patch16_dinov3.lvd1689m vit_base_patch16_clip_224.openai
vit_base_patch16_siglip_gap_224 deit_tiny_distilled_patch16_224 deit3_small_patch16_224
eva02_tiny_patch14_224 beit_base_patch16_224 cait_xxs24_224 swin_tiny_patch4_window7_224
maxvit_nano_rw_256 mobilevit_xs poolformer_s12 mixer_s32_224 resmlp_12_224 levit_128s
coatnet_nano_rw_224
"""
"""Convolutional, attention, hybrid and MLP networks."""

SIZES = {
    "inception_v3": 96,
    "maxvit_t": 224,
    "timm/vit_small_patch14_dinov2.lvd142m": 56,
    "timm/eva02_tiny_patch14_224": 56,
    **dict.fromkeys(
        (
            "timm/swin_tiny_patch4_window7_224",
            "timm/mixer_s32_224",
            "timm/resmlp_12_224",
            "timm/levit_128s",
            "timm/coatnet_nano_rw_224",
        ),
        224,
    ),
    "timm/maxvit_nano_rw_256": 256,
}
"""Of networks that take no pictures of 64 pixels."""


def certified(architecture):
    size = SIZES.get(architecture, 64)
    torch.manual_seed(0)
    backbone = Backbone(architecture, size=size)
    ends = backbone.blocks
    return certify(backbone, size, [ends[0], ends[len(ends) // 2], ends[-1]])


@pytest.mark.parametrize("name", TORCHVISION.split())
def test_torchvision_s_classifiers_equal_their_halves(name):
    assert len(certified(name).cuts) == 3


@pytest.mark.parametrize("name", TIMM.split())
def test_timm_s_networks_equal_their_halves(name):
    assert len(certified(f"timm/{name}").cuts) == 3


def test_the_list_has_all_of_torchvision_s_small_classifiers():
    for name in set(zoo.torchvision_classifiers()) - set(TORCHVISION.split()):
        weights = list(models.get_model_weights(name))
        assert all(w.meta["num_params"] >= 30e6 for w in weights), name


def test_a_certificate_leaves_weights_and_statistics_as_they_were():
    backbone = backbone_of("vgg_mini")
    before = {name: tensor.clone() for name, tensor in backbone.tensors().items()}
    certificate = certify(backbone, 32)
    assert certificate.cuts == [f"block{n}" for n in range(1, 6)] and certificate.size == 32
    after = backbone.tensors()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in backbone.parameters()) and backbone.training


def skipping(backbone, cut):
    """A second half without its first batch normalisation."""
    before, after = split(backbone, cut)
    graph = after.body.graph
    node = next(
        n
        for n in graph.nodes
        if n.op == "call_module" and isinstance(after.body.get_submodule(n.target), nn.BatchNorm2d)
    )
    node.replace_all_uses_with(node.args[0])
    graph.erase_node(node)
    after.body.recompile()
    return before, after


def unpruned(backbone, cut):
    """A second half that still has the modules of the first."""
    before, after = split(backbone, cut)
    after.body.add_module(
        "left_over", next(m for m in before.body.modules() if isinstance(m, nn.Conv2d))
    )
    return before, after


@pytest.mark.parametrize(
    ("halves", "problem"),
    [(skipping, "the output in evaluation"), (unpruned, "its two halves share modules")],
)
def test_wrong_halves_are_refused(halves, problem):
    torch.manual_seed(0)
    backbone = backbone_of("vgg_mini")
    for layer in backbone.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
    with pytest.raises(GraftError, match=f"vgg_mini cannot be cut at block2: {problem}"):
        certify(backbone, 32, ["block2"], halves)


def test_a_graph_that_holds_batch_normalisation_in_evaluation_is_refused():
    """timm's BatchNormAct2d has its switch inside; recorded from within, it is a constant."""
    torch.manual_seed(0)
    network = timm.create_model("efficientnet_b0", num_classes=0)

    class Inside(fx.Tracer):
        def is_leaf_module(self, module, name):
            return not isinstance(module, BatchNormAct2d) and super().is_leaf_module(module, name)

    backbone = Backbone("timm/efficientnet_b0", size=64)
    assert isinstance(backbone.traced, Traced)
    whole = fx.GraphModule(network, Inside().trace(network.eval()))
    backbone.traced.network.load_state_dict(network.state_dict())

    def baked(backbone, cut):
        own = dict(backbone.body.named_parameters())
        for name, parameter in whole.named_parameters():
            parameter.data = own[name].data
        return nn.Identity(), whole

    with pytest.raises(GraftError, match="in training"):
        certify(backbone, 64, ["blocks.2"], baked)


def test_a_network_that_makes_a_buffer_anew_while_it_runs_keeps_it():
    """ConViT's table of distances has no entries before the first pictures."""
    backbone = Backbone("timm/convit_tiny", size=96)
    before = {name: tensor.clone() for name, tensor in backbone.body.named_buffers()}
    assert certify(backbone, 96).cuts
    after = dict(backbone.body.named_buffers())
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
