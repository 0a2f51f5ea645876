"""Inference: a frozen prefix, prepared to be run over many pictures.

With bf16, batch normalisation is folded into the convolution before it (Jacob et al. 2018,
arXiv:1712.05877, section 3.2), and weights that `torch.autocast` would round in each batch are
rounded once, which changes no bit. All else, such as layer normalisation, stays as autocast has it.
"""

import copy
from collections import Counter
from collections.abc import Callable

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Exact types: a subclass may compute its weights from the ones that it holds. By name, because
# importing timm takes a second.
_CONVOLUTIONS = ("torch.nn.modules.conv.Conv2d", "timm.layers.conv2d_same.Conv2dSame")
_ROUNDED = (*_CONVOLUTIONS, "torch.nn.modules.linear.Linear")
_WITH_ACTIVATION = "timm.layers.norm_act.BatchNormAct2d"
_NORMALISATIONS = ("torch.nn.modules.batchnorm.BatchNorm2d", _WITH_ACTIVATION)


Prepared = Callable[[torch.Tensor], torch.Tensor]
"""float32 (n, 3, height, width), channels last, to what a network makes of them."""


def prepared(prefix: nn.Module, *, device: str, precision: str) -> Prepared:
    """A function that computes what `prefix` does in evaluation mode; the prefix stays as it is.

    It takes pictures on `device`. precision: `bf16` computes
    under autocast, with batch normalisations folded; `fp32` computes exactly as the prefix does.
    """
    network = copy.deepcopy(prefix).eval().requires_grad_(False)
    if precision == "bf16":
        for graph in [part for part in network.modules() if isinstance(part, fx.GraphModule)]:
            fold_batch_norms(graph)
        round_weights(network)
    network.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def compute(inputs: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            return network(inputs)

    return compute


def fold_batch_norms(network: fx.GraphModule) -> None:
    """Fold each batch normalisation into the convolution before it, in place.

    It has to be the only use of what the convolution gives. An activation that belongs to the
    normalisation (timm's `BatchNormAct2d`) stays.
    """
    calls = Counter(node.target for node in network.graph.nodes if node.op == "call_module")
    for node in list(network.graph.nodes):
        if node.op != "call_module" or calls[node.target] > 1:
            continue
        norm = network.get_submodule(node.target)
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            continue
        if _type(norm) not in _NORMALISATIONS:
            continue
        before = node.args[0]
        if before.op != "call_module" or calls[before.target] > 1 or len(before.users) > 1:
            continue
        convolution = network.get_submodule(before.target)
        if not isinstance(convolution, nn.Conv2d) or _type(convolution) not in _CONVOLUTIONS:
            continue
        network.set_submodule(before.target, fuse_conv_bn_eval(convolution, norm))
        if _type(norm) == _WITH_ACTIVATION:
            kept = nn.Sequential(norm.get_submodule("drop"), norm.get_submodule("act"))
            network.set_submodule(node.target, kept)
        else:
            node.replace_all_uses_with(before)
            network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    network.recompile()


def round_weights(network: nn.Module) -> None:
    """Round the weights of convolutions and linear layers to bf16, in place."""
    for layer in network.modules():
        if _type(layer) in _ROUNDED:
            layer.to(torch.bfloat16)


def _type(layer: nn.Module) -> str:
    return f"{type(layer).__module__}.{type(layer).__qualname__}"
