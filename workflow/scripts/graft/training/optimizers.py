"""Optimizers: which parameters learn at which rate, the update itself, and moving averages."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from graft.config.models import Hyperparameters, Optimizer
from graft.models.network import Network


def make_optimizer(
    network: Network, settings: Hyperparameters, transferred: bool
) -> torch.optim.Optimizer:
    """The optimizer of the layers after the cut and of the head.

    Transferred layers learn at `transferred_lr_scale` times the head's rate, and with `layer_decay`
    each block at that times the rate of the block after it (Clark et al. 2020, arXiv:2003.10555).
    A scale of 0 freezes them. Fused optimizers read each weight once: a fourth of the time of an
    update on a CPU; but torch's fused SGD wants gradients of all parameters from the first update
    on, which gradual unfreezing does not give.
    """
    spec, blocks = settings.optimizer, network.trained_blocks
    scale = settings.transferred_lr_scale if transferred else 1.0
    decay = settings.layer_decay if transferred else 1.0
    if scale == 0:
        network.freeze_blocks(len(blocks))
    rates = [settings.lr * scale * decay**depth for depth in reversed(range(len(blocks)))]
    # Besides the weights of layers, networks have position embeddings and tokens of two and more
    # dimensions; timm's `no_weight_decay` lists these.
    weights = {id(p) for name, p in network.named_parameters() if name.endswith("weight")}
    parameters: dict[tuple[float, float], list[nn.Parameter]] = {}
    parts = [*(block.parameters() for block in blocks), network.head.parameters()]
    for part, rate in zip(parts, (*rates, settings.lr), strict=True):
        for parameter in part:
            if rate > 0:
                is_decayed = parameter.ndim > 1 and id(parameter) in weights
                key = rate, _weight_decay(spec, is_decayed)
                parameters.setdefault(key, []).append(parameter)
    groups = [
        {"params": group, "lr": rate, "initial_lr": rate, "weight_decay": weight_decay}
        for (rate, weight_decay), group in parameters.items()
    ]
    fused = settings.unfreeze.every is None
    match spec.name:
        case "adamw":
            return torch.optim.AdamW(groups, fused=True)
        case "adam":
            return torch.optim.Adam(groups, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(groups, alpha=spec.alpha, momentum=spec.momentum)
    return torch.optim.SGD(groups, momentum=spec.momentum, nesterov=spec.nesterov, fused=fused)


def _weight_decay(spec: Optimizer, is_decayed: bool) -> float:
    """With AdamW that of biases, normalisation, position embeddings and tokens is 0."""
    return 0.0 if spec.name == "adamw" and not is_decayed else spec.weight_decay


def step(optimizer: torch.optim.Optimizer, clip: float) -> None:
    """An update by gradients whose norm is at most `clip` (> 0; Pascanu et al. 2013)."""
    if clip:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
    optimizer.zero_grad()


class Average:
    """An exponential moving average of the weights after the cut, from their first update on.

    That of `torch.optim.swa_utils.AveragedModel` with `get_ema_multi_avg_fn(decay)`; running
    statistics are not averaged. A decay of 0 averages nothing.
    """

    def __init__(self, network: Network, decay: float, values: Sequence[torch.Tensor] = ()):
        """`values` are the averages so far of a training that goes on."""
        parts = (network.suffix, network.head)
        self.parameters = [p for part in parts for p in part.parameters()] if decay else []
        self.values = [value.to(p) for value, p in zip(values, self.parameters, strict=False)]
        self.decay = decay

    @torch.no_grad()
    def update(self) -> None:
        if self.parameters and self.values:
            get_ema_multi_avg_fn(self.decay)(self.values, self.parameters, len(self.values))
        else:
            self.values = [parameter.clone() for parameter in self.parameters]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The network's weights are the averages while in here."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, value in zip(self.parameters, self.values, strict=False):
            kept = parameter.clone()
            parameter.copy_(value)
            value.copy_(kept)
