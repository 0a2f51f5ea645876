"""The loop: rates of the optimizers' groups, and what is trained of a network cut in a block."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from builders import hyperparameters
from networks import SIZE, layers_of, network_of
from sklearn.utils.class_weight import compute_class_weight

from graft.config.models import Head
from graft.core.errors import GraftError
from graft.training import loop, optimizers, targets, train


def test_transferred_layers_get_their_own_rate():
    network = network_of("vgg_mini", size=SIZE)
    scaled = hyperparameters(lr=0.2, transferred_lr_scale=0.1)
    optimizer = optimizers.make_optimizer(network, scaled, True)
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(0.02), 0.2]
    scratch = optimizers.make_optimizer(network, scaled, False)
    assert [group["lr"] for group in scratch.param_groups] == [0.2]
    assert {group["momentum"] for group in optimizer.param_groups} == {0.9}
    assert {group["weight_decay"] for group in optimizer.param_groups} == {5e-4}


def test_adamw_decays_weights_and_neither_biases_nor_normalisation():
    network = network_of("vgg_mini", size=SIZE)
    settings = hyperparameters(optimizer={"name": "adamw", "weight_decay": 0.1}, lr=0.2)
    groups = optimizers.make_optimizer(network, settings, True).param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert decays == {id(p): 0.1 if p.ndim > 1 else 0.0 for p in network.parameters()}
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {rates[id(p)] for p in network.head.parameters()} == {0.2}


@pytest.mark.parametrize(
    "architecture", ["timm/vit_tiny_patch16_224", "timm/convnext_atto", "swin_t"]
)
def test_adamw_decays_neither_position_embeddings_nor_tokens(architecture):
    """timm's `no_weight_decay` names them; torchvision's Swin has a table of relative positions."""
    network = network_of(architecture, size=64)
    settings = hyperparameters(optimizer={"name": "adamw", "weight_decay": 0.1})
    groups = optimizers.make_optimizer(network, settings, False).param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    spared = {
        name
        for name, parameter in network.backbone.body.named_parameters()
        if parameter.ndim > 1 and decays[id(parameter)] == 0
    }
    whole, names = network.backbone.traced.network, dict(network.backbone.body.named_parameters())
    listed = whole.no_weight_decay() if "no_weight_decay" in dir(whole) else set()
    assert spared == {n for n in names if n in listed or n.endswith("bias_table")}


@pytest.mark.parametrize(("clip", "moved"), [(0.0, 5.0), (1.0, 1.0), (9.0, 5.0)])
def test_gradients_are_scaled_down_to_the_norm_of_clip(clip, moved):
    """A gradient (3, 4) has the norm 5; SGD at a rate of 1 moves by the gradient."""
    layer = torch.nn.Linear(2, 1, bias=False)
    before = layer.weight.detach().clone()
    (layer(torch.tensor([[3.0, 4.0]]))).sum().backward()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    optimizers.step(optimizer, clip)
    assert float((layer.weight.detach() - before).norm()) == pytest.approx(moved)
    assert layer.weight.grad is None


def test_transferred_layers_at_a_rate_of_zero_are_no_part_of_the_optimizer():
    network = network_of("vgg_mini", size=SIZE)
    settings = hyperparameters(transferred_lr_scale=0.0)
    groups = optimizers.make_optimizer(network, settings, True).param_groups
    assert {id(p) for group in groups for p in group["params"]} == {
        id(p) for p in network.head.parameters()
    }
    assert not any(p.requires_grad for p in network.suffix.parameters())


def test_the_rates_of_rmsprop_follow_alpha():
    network = network_of("vgg_mini", "avgpool", size=SIZE)
    for options, alpha in (({}, 0.99), ({"alpha": 0.9}, 0.9)):  # 0.99 is torch's own
        settings = hyperparameters(optimizer={"name": "rmsprop", **options})
        assert optimizers.make_optimizer(network, settings, False).defaults["alpha"] == alpha


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
    assert "suffix.body.features.20.weight" in trained
    assert not any("features.17" in name for name in trained)
    own["features.18.running_var"].add_(1e-6)
    with pytest.raises(GraftError, match=r"features\.18\.running_var"):
        train.check_frozen(network, source)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "rmsprop"])
def test_updates_equal_those_of_torch_with_the_same_groups(name):
    """Five updates of a head and two transferred blocks, at three rates, against torch's class."""
    spec = {"name": name, "weight_decay": 0.1, "momentum": 0.9, "clip": 0.5}
    settings = hyperparameters(
        optimizer=spec, lr=0.01, transferred_lr_scale=0.5, layer_decay=0.1, label_smoothing=0.1
    )
    torch.manual_seed(0)
    ours = network_of("vgg_mini", "block3", head=Head(), size=SIZE)
    theirs = copy.deepcopy(ours)
    optimizer = optimizers.make_optimizer(ours, settings, True)
    groups = []
    for part, rate in (("block4", 5e-4), ("block5", 5e-3), ("head", 1e-2)):
        module = theirs.head if part == "head" else layers_of(theirs, part)
        for parameter in module.parameters():
            decay = 0.0 if name == "adamw" and parameter.ndim == 1 else 0.1
            groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    reference = {
        "adamw": lambda: torch.optim.AdamW(groups),
        "adam": lambda: torch.optim.Adam(groups),
        "sgd": lambda: torch.optim.SGD(groups, momentum=0.9),
        "rmsprop": lambda: torch.optim.RMSprop(groups, momentum=0.9),
    }[name]()
    loss = targets.MULTICLASS.loss(settings, rows_of([0, 1], 2), "cpu")
    for number in range(5):
        torch.manual_seed(number)
        inputs, labels = torch.randn(4, 64, 8, 8), torch.tensor([0, 1, 1, 0])
        loss(ours.train()(inputs), labels).backward()
        optimizers.step(optimizer, 0.5)
        torch.nn.functional.cross_entropy(
            theirs.train()(inputs), labels, label_smoothing=0.1
        ).backward()
        torch.nn.utils.clip_grad_norm_([g["params"][0] for g in groups], 0.5)
        reference.step()
        reference.zero_grad()
    for (key, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if key.endswith("bias") and "features" in key:
            continue  # before a batch norm the gradient of a bias is rounding alone
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5, msg=key)


def test_an_average_is_that_of_torch():
    torch.manual_seed(0)
    network = network_of("vgg_mini", "avgpool", head=Head(), size=SIZE)
    theirs = torch.optim.swa_utils.AveragedModel(
        network.head, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    average = optimizers.Average(network, 0.9)
    for _ in range(4):
        with torch.no_grad():
            for parameter in network.head.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update()
        theirs.update_parameters(network.head)
    last = [parameter.detach().clone() for parameter in network.head.parameters()]
    with average.applied():
        averaged = [parameter.detach().clone() for parameter in network.head.parameters()]
    for mine, other in zip(averaged, theirs.module.parameters(), strict=True):
        torch.testing.assert_close(mine, other)
    for now, before in zip(network.head.parameters(), last, strict=True):
        assert torch.equal(now, before) and not torch.equal(now, averaged[0])


def test_an_average_of_decay_zero_is_the_network_itself():
    network = network_of("vgg_mini", "avgpool", head=Head(), size=SIZE)
    average = optimizers.Average(network, 0.0)
    average.update()
    assert average.values == []


def test_balanced_class_weights_are_those_of_scikit_learn():
    rows = rows_of([0] * 6 + [1] * 3 + [2], 3)
    loss = targets.MULTICLASS.loss(hyperparameters(class_weights="balanced"), rows, "cpu")
    expected = compute_class_weight("balanced", classes=np.arange(3), y=rows.labels)
    assert loss.weight.numpy() == pytest.approx(expected)
    assert targets.MULTICLASS.loss(hyperparameters(), rows, "cpu").weight is None


def rows_of(labels, classes):
    return SimpleNamespace(labels=np.array(labels), classes=list("abcdef"[:classes]))


def learner_of(network, *, transferred=True, **changes):
    rows = rows_of([0, 1], 2)
    data = SimpleNamespace(data=rows, target=targets.MULTICLASS, device="cpu")
    settings = hyperparameters(**changes)
    return loop.Learner(network, settings, data, transferred=transferred, precision="fp32")


def test_blocks_are_unfrozen_from_the_last_to_the_first():
    network = network_of("vgg_mini", "block2", size=SIZE)
    learner = learner_of(network, unfreeze={"every": 2})
    for epoch, trained in ((0, []), (1, []), (2, ["block5"]), (4, ["block4", "block5"])):
        learner._start(epoch)
        for block in ("block3", "block4", "block5"):
            layers = layers_of(network, block)
            assert {layer.training for layer in layers} == {block in trained}
            assert {p.requires_grad for p in layers.parameters()} == {block in trained}
        assert network.head.training
        assert not any(layer.training for layer in layers_of(network, "block2"))


@pytest.mark.parametrize("transferred", [True, False])
def test_statistics_of_transferred_batch_norms_can_be_frozen_while_weights_are_tuned(transferred):
    network = network_of("vgg_mini", "block3" if transferred else "image", size=SIZE)
    learner = learner_of(network, transferred=transferred, batch_norm="frozen")
    learner._start(0)
    norms = [m for m in network.suffix.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and {norm.training for norm in norms} == {not transferred}
    assert all(p.requires_grad for norm in norms for p in norm.parameters())
