"""The loop: rates of the optimizers' groups, and what is trained of a network cut in a block."""

import pytest
import torch
from builders import hyperparameters
from networks import SIZE, network_of

from graft.core.errors import GraftError
from graft.training import loop, train


def test_transferred_layers_get_their_own_rate():
    network = network_of("vgg_mini", size=SIZE)
    scaled = hyperparameters(lr=0.2, transferred_lr_scale=0.1)
    optimizer = loop.make_optimizer(network, scaled, True)
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(0.02), 0.2]
    scratch = loop.make_optimizer(network, scaled, False)
    assert [group["lr"] for group in scratch.param_groups] == [0.2, 0.2]
    assert {group["momentum"] for group in optimizer.param_groups} == {0.9}
    assert {group["weight_decay"] for group in optimizer.param_groups} == {5e-4}


def test_adamw_decays_weights_and_neither_biases_nor_normalisation():
    network = network_of("vgg_mini", size=SIZE)
    settings = hyperparameters(optimizer={"name": "adamw", "weight_decay": 0.1}, lr=0.2)
    groups = loop.make_optimizer(network, settings, True).param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert decays == {id(p): 0.1 if p.ndim > 1 else 0.0 for p in network.parameters()}
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {rates[id(p)] for p in network.head.parameters()} == {0.2}


@pytest.mark.parametrize(("clip", "moved"), [(0.0, 5.0), (1.0, 1.0), (9.0, 5.0)])
def test_gradients_are_scaled_down_to_the_norm_of_clip(clip, moved):
    """A gradient (3, 4) has the norm 5; SGD at a rate of 1 moves by the gradient."""
    layer = torch.nn.Linear(2, 1, bias=False)
    before = layer.weight.detach().clone()
    (layer(torch.tensor([[3.0, 4.0]]))).sum().backward()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    loop.step(optimizer, clip)
    assert float((layer.weight.detach() - before).norm()) == pytest.approx(moved)
    assert layer.weight.grad is None


def test_transferred_layers_at_a_rate_of_zero_are_no_part_of_the_optimizer():
    network = network_of("vgg_mini", size=SIZE)
    settings = hyperparameters(transferred_lr_scale=0.0)
    groups = loop.make_optimizer(network, settings, True).param_groups
    assert {id(p) for group in groups for p in group["params"]} == {
        id(p) for p in network.head.parameters()
    }
    assert not any(p.requires_grad for p in network.suffix.parameters())


def test_the_rates_of_rmsprop_follow_alpha():
    network = network_of("vgg_mini", "avgpool", size=SIZE)
    for options, alpha in (({}, 0.99), ({"alpha": 0.9}, 0.9)):  # 0.99 is torch's own
        settings = hyperparameters(optimizer={"name": "rmsprop", **options})
        assert loop.make_optimizer(network, settings, False).defaults["alpha"] == alpha


def test_a_layer_frozen_within_a_block_is_checked_and_the_rest_of_it_trains():
    network = network_of("vgg_mini", "conv3_2")
    source = {k: v.clone() for k, v in network.backbone.tensors().items()}
    network.train()
    network.whole(torch.rand(4, 3, 64, 64)).sum().backward()
    torch.optim.SGD(network.parameters(), lr=1.0).step()
    train.check_frozen(network, source)
    own = network.backbone.tensors()
    # In torchvision's numbering conv3_2 and its batch norm are 17 and 18, conv3_3 is 20.
    assert not torch.equal(own["features.20.weight"], source["features.20.weight"])
    trained = loop._trained_tensors(network)
    assert "suffix.block3.features_20.weight" in trained
    assert not any("features_17" in name for name in trained)
    own["features.18.running_var"].add_(1e-6)
    with pytest.raises(GraftError, match=r"features\.18\.running_var"):
        train.check_frozen(network, source)
