"""Backbones: torchvision's own networks in blocks, under its names, with random weights drawn."""

import pytest
import torch
from networks import EXPERTS, PIXELS, backbone_of, settle
from torchvision import models as torchvision_models

from graft.config import architectures
from graft.core.errors import GraftError
from graft.models.backbones import Backbone, initialise
from graft.models.transforms import to_input
from graft.models.zoo import NETWORKS

PUBLISHED = [
    "vgg16",
    "vgg16_fc7",
    "alexnet",
    "alexnet_fc7",
    "squeezenet1_0",
    "squeezenet1_1",
    "inception_v3",
    "resnet18",
    "resnet50",
    "mobilenet_v3_small",
    "efficientnet_b0",
]


def published(name):
    """torchvision's own network, with random weights."""
    torch.manual_seed(0)
    if name == "vgg16":
        # Its classifier alone has 120 million weights, which nothing here looks at.
        network = torchvision_models.VGG(
            torchvision_models.vgg.make_layers(torchvision_models.vgg.cfgs["D"]),
            num_classes=2,
            init_weights=False,
        )
        del network.classifier
        return network.eval()
    options = {"inception_v3": {"init_weights": True}, "vgg16_fc7": {"init_weights": False}}
    build = getattr(torchvision_models, name.removesuffix("_fc7"))
    return build(weights=None, **options.get(name, {})).eval()


def trunk(name, network, images):
    """What torchvision's network computes before its pooling, or before its last layer."""
    if name.endswith("_fc7"):
        return network.classifier[:6](network.avgpool(network.features(images)).flatten(1))
    if hasattr(network, "features"):
        return network.features(images)
    seen = []
    network.avgpool.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(images)
    return seen[0]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_backbone_is_torchvisions_own_network_in_blocks(name):
    theirs = settle(published(name))
    ours = Backbone(name, skip_init=True).eval()
    imported = ours.load(theirs.state_dict())
    top = ("classifier.6",) if name.endswith("_fc7") else ("classifier", "fc.", "AuxLogits.")
    assert set(imported) == {k for k in theirs.state_dict() if not k.startswith(top)}
    assert ours.blocks == list(architectures.NAMED[name].blocks)
    side = 80 if name == "inception_v3" else 64
    images = torch.rand(2, 3, side, side)
    with torch.inference_mode():
        assert torch.equal(ours(images), trunk(name, theirs, images))
    for path, module in ours.body.named_modules():
        if not list(module.children()):  # momentum, eps, dropout
            assert repr(module) == repr(theirs.get_submodule(path))


def test_only_networks_of_ours_are_registered():
    assert all(NETWORKS[name]() for name in ("vgg_mini", "cnn3"))
    with pytest.raises(KeyError):
        NETWORKS["vgg16"]


@pytest.mark.parametrize(
    "name", [name for name in architectures.NAMED if not name.endswith("_fc7")]
)
def test_random_weights_are_all_drawn_and_follow_from_the_seed(name):
    torch.use_deterministic_algorithms(True)  # what is left unset is then not a number
    try:
        torch.manual_seed(3)
        one = backbone_of(name).tensors()
        torch.manual_seed(3)
        two = backbone_of(name).tensors()
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.isfinite(one[key]).all() and torch.equal(one[key], two[key]) for key in two)


def test_random_weights_have_the_documented_spread():
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Conv2d(64, 64, 3), torch.nn.Linear(400, 300))
    initialise(layers)
    # He: the square root of 2 / (64 channels out * 3 * 3).
    assert layers[0].weight.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.02)
    assert layers[1].weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not layers[0].bias.any() and not layers[1].bias.any()


@pytest.mark.parametrize(
    ("cut", "frozen"),
    [
        ("image", []),
        ("conv1_1", ["conv1_1"]),
        ("conv3_1", ["block1", "block2", "conv3_1"]),
        ("conv3_2", ["block1", "block2", "conv3_1", "conv3_2"]),
        ("block3", ["block1", "block2", "block3"]),
        ("features.16", ["block1", "block2", "block3"]),
        ("avgpool", ["block1", "block2", "block3", "block4", "block5"]),
    ],
)
def test_what_is_before_a_cut_is_named(cut, frozen):
    assert Backbone("vgg16", skip_init=True).frozen(cut) == frozen


def test_a_stack_is_its_members_side_by_side():
    torch.manual_seed(2)
    pictures = torch.randint(0, 256, (3, 48, 48, 3), dtype=torch.uint8)
    pixels = to_input(pictures, PIXELS)
    members = {name: settle(Backbone(spec.architecture)) for name, spec in EXPERTS.items()}
    own = {
        f"{name}.{k}": v for name, member in members.items() for k, v in member.tensors().items()
    }
    for experts in (EXPERTS, dict(reversed(EXPERTS.items()))):
        stack = Backbone("stack", experts, skip_init=True).eval()
        assert set(stack.load(own)) == set(own)
        with torch.inference_mode():
            found = stack(pixels)
            expected = torch.cat(
                [
                    members[name](to_input(pictures, EXPERTS[name].transform)).mean((2, 3))
                    for name in ("caffes", "small")  # by name, whatever the mapping's order
                ],
                1,
            )
        assert found.shape == (3, 512 + 128, 1, 1)
        torch.testing.assert_close(found[:, :, 0, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("experts", [None, {"head": EXPERTS["small"]}])
def test_a_stack_that_cannot_be_is_refused(experts):
    with pytest.raises(GraftError, match=r"weights.stack: "):
        Backbone("stack", experts)
