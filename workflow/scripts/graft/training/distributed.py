"""Training on several processes: the part of a batch that is a process's own, and what all share.

Each process, a rank, has the whole network and the same order of rows. It reads and computes its
part of each batch. The outputs of all parts are then known to every rank, which takes the loss of
the whole batch from them, and `DistributedDataParallel` adds the gradients up. So the updates are
those of one process, but for the order of sums, and no loss needs to know of ranks.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode

from graft.core.errors import GraftError

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for the others before it fails: more than any of them takes alone."""


@dataclass(frozen=True)
class Group:
    """The processes of a training, as one of them sees it. By default it is alone."""

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this is the rank that writes files and reports."""
        return self.rank == 0

    def part(self, rows: int, block: int = 1) -> slice:
        """This rank's own of so many rows: consecutive ones, in whole blocks but for the last."""
        ends = self._ends(rows, block)
        return slice(ends[self.rank], ends[self.rank + 1])

    def batch(self, rows: int) -> slice:
        """This rank's own of the rows of an update. GraftError if there are too few for all."""
        if rows < self.size:
            raise GraftError(
                f"compute.training_processes: an update of {rows} samples cannot be divided among "
                f"{self.size} processes. Lower it, or raise train.batch_size."
            )
        return self.part(rows)

    def joined(self, own: torch.Tensor, rows: int, block: int = 1) -> torch.Tensor:
        """All rows (rows, ...), of which each rank has its `part` (n, ...).

        The gradient is that of the rank's own.
        """
        if self.size == 1:
            return own
        ends = self._ends(rows, block)
        lengths = [after - before for before, after in zip(ends, ends[1:], strict=False)]
        padded = own.new_zeros((max(lengths), *own.shape[1:]))
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        found = [part[:length] for part, length in zip(parts, lengths, strict=True)]
        found[self.rank] = own
        return torch.cat(found)

    def agreed(self, value: T) -> T:
        """The first rank's value: what is decided from it is decided by all alike."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def seed_torch(self, rng: np.random.Generator) -> None:
        """Seed what torch draws, which is for this rank's own samples (dropout, augmentation).

        The generator stays equal in all ranks.
        """
        torch.manual_seed(int(rng.integers(2**62)) + self.rank)

    def parallel(self, network: nn.Module) -> nn.Module:
        """A network whose `backward` leaves in each rank the mean gradient over ranks.

        Which parameters are trained must not change afterwards; make another one then.
        """
        if self.size == 1:
            return network
        # Running statistics are equal already: each rank takes them of the whole batch.
        return DistributedDataParallel(network, forward_sync_buffers=False)

    def backward(self, loss: torch.Tensor) -> None:
        """The gradient of a loss of all rows, each rank's own having given a part of it."""
        (loss * self.size).backward()

    def whole_batches(self) -> contextlib.AbstractContextManager:
        """Batch normalisations in here normalise by the rows of all ranks."""
        return contextlib.nullcontext() if self.size == 1 else _WholeBatches()

    def _ends(self, rows: int, block: int) -> list[int]:
        blocks = -(-rows // block)
        return [min(rows, block * (blocks * n // self.size)) for n in range(self.size + 1)]


ALONE = Group()


def join(store: Path, device: str) -> Group:
    """Meet the other ranks that torch's launcher has started, over a file that all of them see.

    Each has a GPU of its own where `device` is `cuda`. All are on one machine, so they talk over
    the loopback interface. Raises GraftError if the job has fewer GPUs than processes.
    """
    rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    backend = "gloo"
    if device == "cuda":
        seen = torch.cuda.device_count()
        if seen < size:
            raise GraftError(
                f"compute.training_processes is {size}, but the job sees {seen} GPUs. Ask for "
                "one each (the resource gpu of the rule train), or lower it."
            )
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
    meeting = dist.FileStore(str(store), size)
    dist.init_process_group(backend, store=meeting, rank=rank, world_size=size, timeout=TIMEOUT)
    return Group(rank, size)


def leave() -> None:
    """Part from the other ranks, when all is done."""
    dist.destroy_process_group()


class _WholeBatches(TorchFunctionMode):
    """Batch normalisation in training mode, whatever module asks for it, over all ranks.

    torch's own SyncBatchNorm knows no CPU, and takes the place of a module, which would lose the
    activation that timm's have.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        call = batch_norm if func is functional.batch_norm else func
        return call(*args, **(kwargs or {}))


def batch_norm(  # noqa: PLR0917 as torch has them
    inputs: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """`functional.batch_norm` of inputs (n, channels, ...), of which each rank has other rows.

    The running variance is the unbiased one, as in torch.
    """
    if not training:
        return functional.batch_norm(
            inputs, running_mean, running_var, weight, bias, training, momentum, eps
        )
    channels = inputs.shape[1]
    weight = inputs.new_ones(channels).float() if weight is None else weight
    bias = inputs.new_zeros(channels).float() if bias is None else bias
    outputs, mean, variance = _Normalisation.apply(inputs, weight, bias, eps)
    for running, found in ((running_mean, mean), (running_var, variance)):
        if running is not None:
            running.lerp_(found.to(running), momentum)
    return outputs


class _Normalisation(torch.autograd.Function):
    """The backward pass is that of Ioffe & Szegedy (2015), with means over the rows of all ranks.

    Values are float32 and their sums float64, as in torch on a CPU: the gradient is a small
    difference of large numbers. Gradients of weight and bias are of a rank's own rows.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        values, others = inputs.float(), [0, *range(2, inputs.ndim)]
        shape = [1, -1, *(1 for _ in others[1:])]
        rows = values.numel() / values.shape[1]
        centre = values.mean(others)
        centred = values - centre.view(shape)  # squares of values far from 0 lose their digits
        centre = centre.double()
        total = centred.sum(others, dtype=torch.float64) + rows * centre
        squares = (centred**2).sum(others, dtype=torch.float64)
        squares += 2 * centre * total - rows * centre**2
        sums = torch.stack([total, squares, torch.full_like(total, rows)])
        dist.all_reduce(sums)
        count = sums[2]
        mean = sums[0] / count
        variance = (sums[1] / count - mean**2).clamp(min=0)
        scale = (variance + eps).rsqrt().float().view(shape)
        normalised = (values - mean.float().view(shape)) * scale
        outputs = normalised * weight.view(shape) + bias.view(shape)
        ctx.save_for_backward(normalised, weight, scale, count)
        unbiased = variance * count / (count - 1)
        ctx.mark_non_differentiable(mean, unbiased)
        return outputs.to(inputs.dtype), mean, unbiased

    @staticmethod
    def backward(
        ctx: Any, *gradients: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        normalised, weight, scale, count = ctx.saved_tensors
        gradient, others = gradients[0].float(), [0, *range(2, normalised.ndim)]
        own = torch.stack(
            [
                gradient.sum(others, dtype=torch.float64),
                (gradient * normalised).sum(others, dtype=torch.float64),
            ]
        )
        sums = own.clone()
        dist.all_reduce(sums)
        shift, slope = (sums / count).float().view(2, *scale.shape)
        found = (gradient - shift - normalised * slope) * (scale * weight.view(scale.shape))
        return found.to(gradients[0].dtype), own[1].to(weight), own[0].to(weight), None
