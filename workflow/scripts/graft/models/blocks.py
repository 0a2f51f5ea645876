"""Blocks: the layers of a network in groups of equal depth, which are unfrozen or slowed together.

The groups of the listed architectures are their blocks. Those of timm's networks are timm's own
(`group_matcher`); of others a group ends before the next layer with weights behind a cut.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

from torch import fx, nn

from graft.models.cuts import Cut, Traced

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Block:
    """Layers of one depth: their modules, and their parameters in the network's order."""

    def __init__(self, modules: list[nn.Module], parameters: list[nn.Parameter]):
        self.modules, self._parameters = modules, parameters

    def parameters(self) -> Iterator[nn.Parameter]:
        return iter(self._parameters)

    def eval(self) -> None:
        for module in self.modules:
            module.eval()

    def requires_grad_(self, wanted: bool) -> None:
        for parameter in self._parameters:
            parameter.requires_grad_(wanted)


def ends(traced: Traced) -> dict[str, fx.Node]:
    """The last operation of each block of a network, by the name of its cut, in order.

    Cuts within a unit, such as a bottleneck, end no block; and what has no matrix or kernel
    (normalisation, activation, pooling) belongs to the block before it.
    """
    named = dict(traced.network.named_parameters())
    matrices = sorted(
        place for name, place in traced.states().items() if name in named and named[name].ndim > 1
    )
    end = max(traced.states().values(), default=-1)
    last: dict[int, Cut] = {}
    for cut in _between_units(traced):
        last[bisect_right(matrices, traced.place[cut.node])] = cut
        if traced.place[cut.node] >= end:
            break
    return {cut.names[0]: cut.node for count, cut in last.items() if count}


def _between_units(traced: Traced) -> Iterator[Cut]:
    """The cuts that are not within a unit: a module that is no container and behind which there is
    a cut, and within which no other such module ends at a cut."""
    modules, cuts = dict(traced.network.named_modules()), traced.cuts()
    layered = {
        name
        for cut in cuts
        for name in cut.names
        if not isinstance(modules[name], CONTAINERS) and any(True for _ in modules[name].children())
    }
    units = [n for n in layered if not any(other.startswith(f"{n}.") for other in layered)]
    for cut in cuts:
        if not any(cut.names[0].startswith(f"{unit}.") and unit not in cut.names for unit in units):
            yield cut


def after(traced: Traced, start: fx.Node, blocks: Mapping[str, fx.Node]) -> list[Block]:
    """The blocks with weights after an operation, in order; the first may be cut through."""
    named = dict(traced.network.named_parameters())
    order = {id(parameter): at for at, parameter in enumerate(named.values())}
    modules: dict[int, list[nn.Module]] = {}
    parameters: dict[int, list[nn.Parameter]] = {}
    for node, depth in _depths(traced, blocks).items():
        if traced.place[node] <= traced.place[start]:
            continue
        if node.op == "call_module":
            module = traced.network.get_submodule(str(node.target))
            modules.setdefault(depth, []).append(module)
            parameters.setdefault(depth, []).extend(module.parameters())
        elif node.op == "get_attr" and str(node.target) in named:
            parameters.setdefault(depth, []).append(named[str(node.target)])
    return [
        Block(modules.get(depth, []), sorted(set(found), key=lambda p: order.get(id(p), -1)))
        for depth, found in sorted(parameters.items())
        if found
    ]


def _depths(traced: Traced, blocks: Mapping[str, fx.Node]) -> dict[fx.Node, int]:
    """The depth of each operation with modules or tensors, from 0."""
    network: Any = traced.network
    if "group_matcher" not in dir(network):
        places = [traced.place[end] for end in blocks.values()]
        last = max(len(places) - 1, 0)
        return {n: min(bisect_left(places, place), last) for n, place in traced.place.items()}
    from timm.models import group_parameters

    groups = group_parameters(network, network.group_matcher(coarse=False), reverse=True)
    depths, depth = {}, 0
    for node in traced.nodes:
        names = traced.states_of(node)
        depth = min((groups[name] for name in names if name in groups), default=depth)
        depths[node] = depth
    return depths
