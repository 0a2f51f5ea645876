"""Networks: the same function however they are cut, and what is frozen stays frozen."""

import numpy as np
import pytest
import torch
from networks import backbone_of, network_of, settle

from graft.config import architectures
from graft.config.models import Head
from graft.core.errors import GraftError
from graft.models.backbones import Backbone
from graft.models.network import Standardize, folded, head_layers, split


@pytest.mark.parametrize("name", architectures.NAMED)
def test_every_cut_gives_the_same_maps_as_the_whole_backbone(name):
    torch.manual_seed(1)
    side = {"inception_v3": 75, "cnn3": 148, "alexnet": 63, "alexnet_fc7": 63}.get(name, 32)
    images = torch.rand(2, 3, side, side)
    backbone = settle(backbone_of(name))
    with torch.inference_mode():
        expected = backbone(images)
        named = architectures.NAMED[name]
        for cut in (architectures.IMAGE, *named.blocks, *named.layers):
            before, after = split(backbone, cut)
            names = backbone.tensors(cut)
            assert len(names) == len(before.state_dict())
            assert len(backbone.tensors()) == len(names) + len(after.state_dict())
            torch.testing.assert_close(after(before(images)), expected, rtol=1e-4, atol=1e-5)
        for pool in architectures.POOLS:
            pooled = split(backbone, pool)[0](images)
            whole = expected.mean((2, 3)) if expected.ndim == 4 else expected
            assert torch.equal(pooled, whole if pool == "avgpool" else expected.flatten(1))


@pytest.mark.parametrize("name", ["vgg_mini", "squeezenet1_0"])
def test_every_cut_gives_the_same_logits_as_the_whole_network(name):
    torch.manual_seed(1)
    images = torch.rand(2, 3, 64, 64)
    tensors, expected = None, None
    for cut in (
        architectures.IMAGE,
        *architectures.NAMED[name].blocks,
        *architectures.NAMED[name].layers,
        "avgpool",
    ):
        network = network_of(name, cut, classes=3).eval()
        if tensors is None:
            tensors = {k: v.clone() for k, v in network.tensors().items()}
        network.backbone.load(tensors)
        network.load_head(tensors, "test")
        with torch.inference_mode():
            found = network.whole(images)
        expected = found if expected is None else expected
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("cut", "layers"), [("conv1_1", 1), ("conv2_1", 3), ("conv3_1", 5), ("conv4_2", 9)]
)
def test_a_cut_within_a_block_takes_the_activation_along(cut, layers):
    """The convolutions of the prefix, counted by hand, and the activation behind the last."""
    before, after = split(Backbone("vgg16", skip_init=True), cut)
    flat = [m for m in before.modules() if not isinstance(m, torch.nn.Sequential)]
    assert sum(isinstance(m, torch.nn.Conv2d) for m in flat) == layers
    assert isinstance(flat[-1], torch.nn.ReLU)
    assert isinstance(next(m for m in after.modules() if not list(m.children())), torch.nn.Conv2d)


def test_a_head_is_drawn_alike_whether_the_backbone_is_drawn_or_loaded():
    heads = []
    for skip_init in (False, True):
        torch.manual_seed(4)
        network = network_of("vgg_mini", skip_init=skip_init)
        heads.append(network.head.state_dict())
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_the_baselines_have_the_parameters_counted_by_hand():
    head = Head(pool="flatten", hidden=(500, 500, 500))
    mlp = network_of("mlp", head=head, classes=10, size=28)
    assert parameters(mlp.backbone) == 0
    assert parameters(mlp) == (3 * 28 * 28 + 1) * 500 + 2 * 501 * 500 + 501 * 10
    network = network_of("cnn3", head=Head(pool="flatten"), classes=10, size=224)
    assert parameters(network.backbone) == (3 * 25 + 1) * 32 + 2 * (32 * 25 + 1) * 32
    assert parameters(network.head) == (2 * 2 * 32 + 1) * 10


def test_an_mlp_sees_the_pixels():
    plain = Head(pool="flatten", standardize=False)
    network = network_of("mlp", head=plain, size=4).eval()
    images = torch.rand(3, 3, 4, 4)
    with torch.inference_mode():
        expected = images.flatten(1) @ network.head[0].weight.T + network.head[0].bias
        torch.testing.assert_close(network.whole(images), expected)


def test_the_prefix_stays_frozen_while_the_suffix_trains():
    network = network_of("vgg_mini", "block2")
    before = {k: v.clone() for k, v in network.backbone.tensors("block2").items()}
    network.train()
    assert not network.prefix.training and network.suffix.training
    assert not any(p.requires_grad for p in network.prefix.parameters())
    network.whole(torch.rand(4, 3, 64, 64)).sum().backward()
    torch.optim.SGD(network.parameters(), lr=1.0).step()
    after = network.backbone.tensors("block2")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any("running_mean" in name for name in before)


def test_a_head_has_the_layers_asked_for():
    head = head_layers(Head(hidden=(4, 3), activation="tanh", dropout=0.5), 5, 2)
    kinds = [type(layer).__name__ for layer in head]
    assert kinds == [
        "Standardize",
        "Linear",
        "Tanh",
        "Dropout",
        "Linear",
        "Tanh",
        "Dropout",
        "Linear",
    ]
    assert [layer.out_features for layer in head if hasattr(layer, "out_features")] == [4, 3, 2]


@pytest.mark.parametrize(
    ("head", "kinds"),
    [
        (
            Head(hidden=(4, 3), activation=("relu", "sigmoid"), dropout=(0.0, 0.5)),
            ["Linear", "ReLU", "Linear", "Sigmoid", "Dropout", "Linear"],
        ),
        (Head(dropout=0.5), ["Dropout", "Linear"]),
        (Head(dropout=()), ["Linear"]),
    ],
)
def test_each_hidden_layer_can_have_its_own_activation_and_dropout(head, kinds):
    assert [type(layer).__name__ for layer in head_layers(head, 5, 2)] == ["Standardize", *kinds]
    plain = head.model_copy(update={"standardize": False})
    assert [type(layer).__name__ for layer in head_layers(plain, 5, 2)] == kinds


def features(n=50, seed=0):
    """Features with a large mean, a constant column and one of rounding errors."""
    values = torch.from_numpy(np.random.default_rng(seed).normal(40, 3, (n, 5))).float()
    values[:, 1], values[:, 3] = 0.0, 7.0
    values[::2, 3] += 1e-6
    return values


@pytest.mark.parametrize("batch", [1, 7, 50])
def test_standardisation_has_the_moments_of_all_rows_however_they_arrive(batch):
    values, layer = features(), Standardize(5)
    layer.fit(values.split(batch))
    expected = values.double().numpy()
    np.testing.assert_allclose(layer.mean, expected.mean(0), rtol=1e-6)
    deviations = expected.std(0)
    deviations[[1, 3]] = 1.0
    np.testing.assert_allclose(layer.std, deviations, rtol=1e-6)
    outputs = layer(values)[:, [0, 2, 4]]
    torch.testing.assert_close(outputs.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs.std(0, correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_a_head_with_its_standardisation_folded_gives_the_same_logits():
    for settings in (Head(), Head(hidden=(4,), dropout=0.5), Head(standardize=False)):
        head = head_layers(settings, 5, 3).eval()
        if settings.standardize:
            head[0].fit([features()])
        other = folded(head)
        assert not any(isinstance(layer, Standardize) for layer in other)
        torch.testing.assert_close(other(features(9, 1)), head(features(9, 1)))


LEAST_SIDES = {
    **dict.fromkeys(("vgg_mini", "vgg16", "vgg16_fc7"), 32),
    **dict.fromkeys(("alexnet", "alexnet_fc7"), 63),
    **{"squeezenet1_0": 21, "squeezenet1_1": 17, "inception_v3": 75, "cnn3": 148},
}


@pytest.mark.parametrize("name", [name for name in architectures.NAMED if name != "stack"])
def test_a_picture_too_small_for_the_architecture_is_refused(name):
    least = LEAST_SIDES.get(name, 8)
    network_of(name, size=least, skip_init=True)
    if least > 16:  # the least that a config may ask for
        with pytest.raises(GraftError, match=f"{least - 1} pixels are too small for {name}"):
            network_of(name, size=least - 1, skip_init=True)
