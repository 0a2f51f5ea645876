"""Certificates: a proof, on random pictures, that a network and its two halves are the same.

At each cut the halves one after the other have to give, bit for bit, what the network's own forward
gives in evaluation, and in training with the same seed the same loss, gradients and buffers. They
must not share anything with a state, or freezing the one would change the other.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from graft.core.errors import GraftError
from graft.models.backbones import Backbone
from graft.models.network import split

Halves = Callable[[Backbone, str], tuple[nn.Module, nn.Module]]
Tensors = dict[str, torch.Tensor]

PICTURES = 2


class Certificate(NamedTuple):
    """The cuts that were proved, for pictures of `size` pixels."""

    cuts: list[str]
    size: int


class _Step(NamedTuple):
    """What a step of training gives."""

    output: torch.Tensor
    gradients: Tensors
    buffers: Tensors


def certify(
    backbone: Backbone, size: int, cuts: Sequence[str] | None = None, halves: Halves = split
) -> Certificate:
    """Prove some cuts of a backbone, or those behind its blocks; its weights stay as they are.

    size: of the pictures in pixels. halves: how the backbone is cut (tests pass others).

    Raises GraftError, which names the cut and what differs.
    """
    proved = list(backbone.blocks if cuts is None else cuts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pictures = torch.randn(PICTURES, 3, size, size)
    was_training = backbone.training
    buffers = {name: tensor.clone() for name, tensor in backbone.body.named_buffers()}
    evaluated = _evaluated(backbone, backbone.reference, pictures, buffers)
    step = _step(backbone, backbone.reference, pictures, buffers)
    try:
        for cut in proved:
            before, after = halves(backbone, cut)
            _check_apart(backbone, cut, before, after)
            together = nn.Sequential(before, after)
            output = _evaluated(backbone, together, pictures, buffers)
            if not torch.equal(output, evaluated):
                raise _unequal(backbone, cut, "output in evaluation")
            found = _step(backbone, together, pictures, buffers)
            if not torch.equal(found.output, step.output):
                raise _unequal(backbone, cut, "output in training")
            if not _equal(found.gradients, step.gradients):
                raise _unequal(backbone, cut, "gradient in training")
            if not _equal(found.buffers, step.buffers):
                raise _unequal(backbone, cut, "set of buffers after training")
    finally:
        _restore(backbone, buffers)
        backbone.zero_grad()
        backbone.train(was_training)
    return Certificate(proved, size)


def _check_apart(backbone: Backbone, cut: str, before: nn.Module, after: nn.Module) -> None:
    """The halves share no module or tensor with a state, and what one of them is switched to
    leaves the other as it was."""
    shared = {id(m) for m in before.modules() if _has_state(m)}.intersection(
        map(id, after.modules())
    )
    tensors = {id(t) for t in (*before.parameters(), *before.buffers())}
    if shared or tensors.intersection(map(id, (*after.parameters(), *after.buffers()))):
        raise GraftError(
            f"{backbone.architecture} cannot be cut at {cut}: its two halves share modules or "
            "tensors. Choose another cut, or another architecture."
        )


def _has_state(module: nn.Module) -> bool:
    return bool(module.state_dict()) or isinstance(module, nn.Dropout)


@torch.no_grad()  # in inference mode, a buffer made anew could not be written to again
def _evaluated(
    backbone: Backbone, module: Callable, pictures: torch.Tensor, buffers: Tensors
) -> torch.Tensor:
    _restore(backbone, buffers)
    backbone.eval()
    return module(pictures.clone())


def _step(backbone: Backbone, module: Callable, pictures: torch.Tensor, buffers: Tensors) -> _Step:
    """A forward and a backward pass in training, from the same buffers and seed each time."""
    _restore(backbone, buffers)
    backbone.zero_grad()
    backbone.train()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(1)
        output = module(pictures.clone())
        weights = torch.linspace(-1, 1, output.numel()).view(output.shape)
        if output.requires_grad:
            (output * weights).sum().backward()
    gradients = {n: p.grad for n, p in backbone.body.named_parameters() if p.grad is not None}
    after = {name: tensor.clone() for name, tensor in backbone.body.named_buffers()}
    return _Step(output.detach(), gradients, after)


def _restore(backbone: Backbone, buffers: Tensors) -> None:
    with torch.no_grad():
        for name, tensor in backbone.body.named_buffers():
            if tensor.shape == buffers[name].shape:
                tensor.copy_(buffers[name])
            else:  # its module has made it anew, for pictures of this size (timm's ConViT)
                holder, _, field = name.rpartition(".")
                backbone.body.get_submodule(holder)._buffers[field] = buffers[name].clone()


def _equal(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def _unequal(backbone: Backbone, cut: str, what: str) -> GraftError:
    return GraftError(
        f"{backbone.architecture} cannot be cut at {cut}: the {what} of its two halves is not that "
        "of the network. Choose another cut, or another architecture."
    )
