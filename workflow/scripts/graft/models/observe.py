"""Observations: what each operation of a network's graph gives, for batches of two sizes."""

from collections.abc import Collection
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

BATCHES = (2, 3)
"""The batches whose values are compared to see what depends on the size of a batch."""


class Observed(NamedTuple):
    """What an operation gave for each of the `BATCHES`."""

    values: tuple[Any, ...]
    """Of what is fixed (see `cuts.Traced`)."""
    shapes: tuple[tuple[int, ...] | None, ...]
    """Of tensors; None for anything else."""
    flops: int
    """Of a picture, as torch counts them: convolutions and matrix products, two a multiplication"""

    @property
    def is_of_batch(self) -> bool:
        one, other = self.values
        if isinstance(one, torch.Tensor):
            return not (one.shape == other.shape and torch.equal(one, other))
        return bool(one != other)


def observe(
    network: nn.Module, graph: fx.Graph, fixed: Collection[fx.Node], size: int
) -> dict[fx.Node, Observed]:
    """Run a network's graph on black pictures (n, 3, size, size), n as in `BATCHES`.

    fixed: the operations whose values are kept.
    """
    runs = []
    for batch in BATCHES:
        run = _Run(network, graph, fixed)
        with torch.no_grad():
            run.run(torch.zeros(batch, 3, size, size))
        runs.append(run)
    return {
        node: Observed(
            tuple(run.values_of.get(node) for run in runs),
            tuple(run.shapes_of.get(node) for run in runs),
            runs[0].flops_of.get(node, 0) // BATCHES[0],
        )
        for node in graph.nodes
    }


class _Run(fx.Interpreter):
    """Runs a graph and notes values, shapes and floating-point operations."""

    def __init__(self, network: nn.Module, graph: fx.Graph, fixed: Collection[fx.Node]):
        super().__init__(network, graph=graph)
        self.fixed = fixed
        self.values_of: dict[fx.Node, Any] = {}
        self.shapes_of: dict[fx.Node, tuple[int, ...]] = {}
        self.flops_of: dict[fx.Node, int] = {}

    def run_node(self, node: fx.Node) -> Any:
        with FlopCounterMode(display=False) as counter:
            value = super().run_node(node)
        self.flops_of[node] = counter.get_total_flops()
        if node in self.fixed:
            self.values_of[node] = value.clone() if isinstance(value, torch.Tensor) else value
        if isinstance(value, torch.Tensor):
            self.shapes_of[node] = tuple(value.shape)
        return value
