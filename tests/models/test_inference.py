"""A prepared prefix computes what the prefix does."""

import pytest
import torch
from networks import backbone_of, settle
from timm.layers import BatchNormAct2d
from torch import fx, nn

from graft.models.inference import fold_batch_norms, prepared, round_weights
from graft.models.network import split


class Layers(nn.Module):
    """Convolutions whose normalisation can be folded, and two where it cannot."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, bias=False)
        self.first_norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 1)
        self.second_norm = BatchNormAct2d(4)
        self.used_twice = nn.Conv2d(4, 4, 1)
        self.third_norm = nn.BatchNorm2d(4)
        self.last_norm = nn.BatchNorm2d(4)

    def forward(self, pictures):
        maps = self.second_norm(self.second(self.first_norm(self.first(pictures))))
        both = self.used_twice(maps)
        return self.last_norm((self.third_norm(both) + both).relu())


class Tracer(fx.Tracer):
    def is_leaf_module(self, module, name):
        return isinstance(module, BatchNormAct2d) or super().is_leaf_module(module, name)


def layers():
    torch.manual_seed(0)
    network = settle(Layers())
    return fx.GraphModule(network, Tracer().trace(network)).eval()


def norms(network):
    return [name for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]


def test_folding_leaves_what_is_computed_and_the_activation_of_a_normalisation():
    network, pictures = layers(), torch.randn(2, 3, 6, 6)
    expected = network(pictures)
    fold_batch_norms(network)
    assert norms(network) == ["third_norm", "last_norm"]
    torch.testing.assert_close(network(pictures), expected, rtol=1e-5, atol=1e-6)


def test_a_folded_layer_has_the_weights_computed_by_hand():
    network = fx.symbolic_trace(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0)))
    convolution, norm = network.get_submodule("0"), network.get_submodule("1")
    for tensor, value in (
        (convolution.weight, 3.0),
        (convolution.bias, 5.0),
        (norm.running_mean, 1.0),
        (norm.running_var, 4.0),
        (norm.weight, 6.0),
        (norm.bias, 7.0),
    ):
        tensor.data.fill_(value)
    fold_batch_norms(network.eval())
    folded = network.get_submodule("0")
    # (3 x + 5 - 1) / 2 * 6 + 7
    assert (folded.weight.item(), folded.bias.item()) == (9.0, 19.0)


def test_rounding_weights_once_is_what_autocast_does_in_each_batch():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Flatten(), nn.LayerNorm(128), nn.Linear(128, 4), nn.Softmax(1)
    ).requires_grad_(False)
    pictures = torch.randn(2, 3, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        expected = network(pictures)
        round_weights(network)
        assert network[0].weight.dtype == network[3].bias.dtype == torch.bfloat16
        assert network[2].weight.dtype == torch.float32
        assert torch.equal(network(pictures), expected)


@pytest.mark.parametrize("name", ["vgg_mini", "resnet18", "stack"])
def test_prefixes_are_prepared_and_stay_as_they_are(name):
    torch.manual_seed(0)
    prefix = split(settle(backbone_of(name)), "avgpool")[0]
    pictures = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        expected = prefix(pictures)
    exact = prepared(prefix, device="cpu", precision="fp32")(pictures)
    rounded = prepared(prefix, device="cpu", precision="bf16")(pictures)
    torch.testing.assert_close(exact, expected, rtol=1e-5, atol=1e-5)
    assert nn.functional.cosine_similarity(rounded.float(), expected).min() > 0.9995
    assert norms(prefix) and all(p.dtype == torch.float32 for p in prefix.parameters())
    with torch.inference_mode():
        assert torch.equal(prefix(pictures), expected)
