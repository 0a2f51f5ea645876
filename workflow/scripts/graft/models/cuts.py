"""Cuts: a network as a graph, the places where it can be cut in two, and its two halves.

`torch.fx` records what a network's forward computes (Reed et al. 2022, arXiv:2112.08429). A cut is
the last operation of a named module through which everything goes that comes from the picture: its
output is all that the rest of the network needs. Both halves are graphs over the network's own
modules, with which they share weights, modes and gradients.

What depends on the shape of the picture alone (a grid of positions) and is needed on both sides is
computed for one size and kept as a constant. What depends on the size of the batch cannot be.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torchvision.models.feature_extraction import NodePathTracer
from torchvision.ops import StochasticDepth

from graft.core.errors import GraftError
from graft.models.observe import Observed, observe

IDENTITIES = (nn.Identity, _DropoutNd)
"""Modules that change nothing in evaluation; a cut behind one is the cut before it."""

_SHAPE_ATTRIBUTES = ("shape", "ndim", "dtype", "device")
_SHAPE_METHODS = ("size", "dim", "numel")


class Cut(NamedTuple):
    """A place where a network can be cut: after `node`, with which the modules `names` end."""

    node: fx.Node
    names: tuple[str, ...]
    """The module that gives the cut its name comes first."""


class Traced:
    """A network with its graph.

    network: takes pictures float (n, 3, height, width). Its weights are not looked at.
    size: the side in pixels of pictures that it takes, for what follows from their shape.
    leaves, functions: modules and functions that are recorded as one operation each.

    Raises GraftError where what the network does depends on the values that it computes.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        size: int,
        leaves: Iterable[type[nn.Module]] = (),
        functions: Iterable[Callable[..., Any]] = (),
    ):
        self.network, self.name, self.size = network, name, size
        self.classifier = ""
        """How the names of the tensors of a dropped classifier begin."""
        tracer = NodePathTracer(
            # Inside these a switch between training and evaluation would become a constant.
            leaf_modules=[*leaves, _BatchNorm, StochasticDepth],
            autowrap_functions=tuple(functions),
        )
        was_training = network.training
        network.eval()
        try:
            self.graph = tracer.trace(network, concrete_args=_defaults(network))
        except Exception as error:  # what the network's own code raises on symbolic values
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise GraftError(
                f"{name}: the network cannot be recorded as a graph, so it cannot be cut in two "
                f"({reason}). Choose another architecture."
            ) from None
        finally:
            network.train(was_training)
        self.paths: dict[fx.Node, str] = dict(tracer.node_to_qualname)
        self.pictures = next(node for node in self.graph.nodes if node.op == "placeholder")
        output = next(node for node in self.graph.nodes if node.op == "output").args[0]
        if not isinstance(output, fx.Node):
            raise GraftError(
                f"{name}: the network gives several tensors at once, and not one for a classifier. "
                "Choose another architecture."
            )
        self.end_at(output)

    def end_at(self, output: fx.Node) -> None:
        """Drop what comes after an operation, whose output becomes that of the network."""
        (old,) = [node for node in self.graph.nodes if node.op == "output"]
        old.args = (output,)
        for node in reversed(list(self.graph.nodes)):
            if not node.users and node not in (old, self.pictures):
                self.graph.erase_node(node)
        self.output, self.nodes = output, list(self.graph.nodes)
        self.place = {node: place for place, node in enumerate(self.nodes)}
        self.from_values: set[fx.Node] = {self.pictures}
        """Operations on the picture's values."""
        self.fixed: set[fx.Node] = set()
        """Operations on shapes and constants alone, without weights."""
        for node in self.nodes:
            if node.op in ("placeholder", "output"):
                continue
            inputs = node.all_input_nodes
            if not _reads_shape(node) and self.from_values.intersection(inputs):
                self.from_values.add(node)
            elif _reads_shape(node) or (
                self.fixed.issuperset(inputs) and not self._has_weights(node)
            ):
                self.fixed.add(node)

    def drop_classifier(self) -> None:
        """Drop the last layer with weights, and the dropout before it: the network's own forward
        passes its input on then."""
        node = self.output
        while not (node.op == "call_module" and self._module(node)._parameters):
            node = self._before(node)
        dropped = [str(node.target)]
        node = self._before(node)
        while node.op == "call_module" and isinstance(self._module(node), IDENTITIES):
            dropped.append(str(node.target))
            node = self._before(node)
        self.end_at(node)
        for path in dropped:
            self.network.set_submodule(path, nn.Identity())
        self.classifier = f"{dropped[0]}."

    def _before(self, node: fx.Node) -> fx.Node:
        return next(source for source in node.all_input_nodes if source in self.from_values)

    def end_of(self, module: str) -> fx.Node:
        """The last operation within a module."""
        return next(
            node
            for node in reversed(self.nodes)
            if f"{self.paths.get(node, '')}.".startswith(f"{module}.")
        )

    def cuts(self) -> list[Cut]:
        """The cuts before the output, in order.

        A cut takes the name of the outermost module that ends there and whose name ends in a
        digit (`layer3`, `stages.2`, `blocks.7`), else that of the outermost.
        """
        ending = self._ends_of_modules()
        found: list[Cut] = []
        for node in self._bottlenecks():
            names = sorted(ending.get(node, ()), key=lambda n: (not n[-1].isdigit(), n.count(".")))
            if not names or node is self.output:
                continue
            if any(self.observed[source].is_of_batch for source in self.folded(node)):
                continue
            is_identity = node.op == "call_module" and isinstance(self._module(node), IDENTITIES)
            if is_identity and found and node.all_input_nodes == [found[-1].node]:
                found[-1] = Cut(found[-1].node, (*found[-1].names, *names))
            else:
                found.append(Cut(node, tuple(names)))
        return found

    def _ends_of_modules(self) -> dict[fx.Node, list[str]]:
        last: dict[str, fx.Node] = {}
        for node in self.nodes:
            steps = self.paths.get(node, "").split(".")
            for depth in range(1, len(steps) + 1):
                last[".".join(steps[:depth])] = node
        known = {name for name, _ in self.network.named_modules()}
        ending: dict[fx.Node, list[str]] = {}
        for name, node in last.items():
            if name in known:
                ending.setdefault(node, []).append(name)
        return ending

    def _bottlenecks(self) -> list[fx.Node]:
        """The operations whose output is all that those after them need of the picture's values,
        and that share no module or tensor with a state with them."""
        spans = self._spans()
        found, live = [], -1
        for place, node in enumerate(self.nodes):
            if node not in self.from_values:
                continue
            users = [user for user in node.users if user in self.from_values]
            is_apart = not any(first <= place < last for first, last in spans)
            if live <= place and is_apart and node is not self.pictures:
                found.append(node)
            live = max([live, *(self.place[user] for user in users)])
        return found

    def _spans(self) -> list[tuple[int, int]]:
        """Of modules and tensors with a state that are used more than once, the first and the last
        place where they meet the picture's values."""
        states: dict[fx.Node, set[str]] = {}
        used: dict[str, list[int]] = {}
        for node in self.nodes:
            own = {
                name
                for source in node.all_input_nodes
                if source not in self.from_values
                for name in states.get(source, ())
            } | self._state(node)
            if node in self.from_values:
                for name in own:
                    used.setdefault(name, []).append(self.place[node])
            else:
                states[node] = own
        return [(min(places), max(places)) for places in used.values() if len(places) > 1]

    def _state(self, node: fx.Node) -> set[str]:
        """The module or tensor that an operation uses, if that has a state of its own."""
        if node.op == "get_attr":
            is_constant = str(node.target) in self.network.__dict__  # made while recording
            return set() if is_constant else {str(node.target)}
        if node.op != "call_module":
            return set()
        module = self._module(node)
        has_state = bool(module.state_dict()) or isinstance(module, (_DropoutNd, StochasticDepth))
        return {str(node.target)} if has_state else set()

    def _module(self, node: fx.Node) -> nn.Module:
        return self.network.get_submodule(str(node.target))

    def states(self) -> dict[str, int]:
        """The parameters and buffers by name, each with the first place where it is used."""
        found: dict[str, int] = {}
        for node in self.nodes:
            for name in self.states_of(node):
                found.setdefault(name, self.place[node])
        return found

    def states_of(self, node: fx.Node) -> list[str]:
        """The parameters and buffers that an operation uses, by name."""
        if node.op != "call_module":
            return list(self._state(node))
        module = self._module(node)
        inner = (*module.named_parameters(), *module.named_buffers())
        return [f"{node.target}.{name}" for name, _ in inner]

    def _needed(
        self, end: fx.Node, start: fx.Node, constants: Mapping[fx.Node, Any]
    ) -> list[fx.Node]:
        """The operations that `end` needs beside `start` and constants, in order."""
        needed, waiting = {start}, [end]
        while waiting:
            node = waiting.pop()
            if node in needed:
                continue
            needed.add(node)
            if node not in constants and not _reads_device(node):
                waiting += node.all_input_nodes
        return sorted(needed, key=self.place.__getitem__)

    def folded(self, start: fx.Node) -> list[fx.Node]:
        """What the network needs after a cut at `start` and is fixed before it."""
        found, seen, waiting = [], set(), [self.output]
        while waiting:
            node = waiting.pop()
            if node is start or node in seen:
                continue
            seen.add(node)
            if node in self.fixed and self._is_before(node, start):
                found.append(node)
            elif not _reads_device(node):
                waiting += node.all_input_nodes
        return sorted(found, key=self.place.__getitem__)

    def _is_before(self, node: fx.Node, start: fx.Node) -> bool:
        """Whether something fixed is computed before a cut, or from the shape of what is."""
        if _reads_device(node):
            return False
        if self.place[node] < self.place[start]:
            return True
        if _reads_shape(node):
            return self.place[node.all_input_nodes[0]] < self.place[start]
        return any(self._is_before(source, start) for source in node.all_input_nodes)

    def _has_weights(self, node: fx.Node) -> bool:
        if node.op == "get_attr":
            holder, _, field = str(node.target).rpartition(".")
            return field in self.network.get_submodule(holder)._parameters
        return node.op == "call_module" and bool(list(self._module(node).parameters()))

    @cached_property
    def observed(self) -> dict[fx.Node, Observed]:
        """What the operations give for black pictures (n, 3, size, size)."""
        was_training = self.network.training
        self.network.eval()
        found = observe(self.network, self.graph, self.fixed, self.size)
        self.network.train(was_training)
        return found

    def before(self, cut: fx.Node) -> fx.GraphModule:
        """What the network computes up to and with an operation.

        It consists of the network's own modules, those that it needs and no others.
        """
        return self._part(self.pictures, cut, {})

    def after(self, cut: fx.Node) -> fx.GraphModule:
        """What the network computes from the output of an operation, likewise."""
        constants = {node: self.observed[node].values[0] for node in self.folded(cut)}
        return self._part(cut, self.output, constants)

    def _part(
        self, source: fx.Node, end: fx.Node, constants: Mapping[fx.Node, Any]
    ) -> fx.GraphModule:
        graph = fx.Graph()
        copied = {
            source: graph.placeholder("pictures" if source is self.pictures else "activations")
        }
        kept: dict[str, torch.Tensor] = {}
        literal: dict[fx.Node, Any] = {}
        for node in self._needed(end, source, constants):
            if node is source:
                continue
            if node in constants and isinstance(constants[node], torch.Tensor):
                name = f"constant_{len(kept)}"
                kept[name] = constants[node]
                copied[node] = graph.get_attr(name)
            elif node in constants:
                literal[node] = constants[node]
            elif _reads_device(node):
                copied[node] = graph.create_node(node.op, node.target, (copied[source], "device"))
            else:
                copied[node] = graph.node_copy(node, lambda old: literal.get(old, copied.get(old)))
        graph.output(copied[end])
        targets: dict[str, Any] = dict(kept)
        unsaved = [("", name) for name in kept]
        for node in graph.nodes:
            if node.op == "call_module":
                targets[node.target] = self.network.get_submodule(node.target)
            elif node.op == "get_attr" and node.target not in kept:
                holder, _, field = node.target.rpartition(".")
                owner = self.network.get_submodule(holder)
                saved = {**owner._parameters, **owner._buffers}
                if field not in saved or field in owner._non_persistent_buffers_set:
                    unsaved.append((holder, field))
                targets[node.target] = saved[field] if field in saved else owner.__dict__[field]
        module = fx.GraphModule(targets, graph, class_name=type(self.network).__name__)
        for holder, field in unsaved:
            module.get_submodule(holder)._non_persistent_buffers_set.add(field)
        return module


def _defaults(network: nn.Module) -> dict[str, Any] | None:
    """The defaults of the optional arguments of a forward, which are no inputs."""
    given = inspect.signature(network.forward).parameters.values()
    fixed = {p.name: p.default for p in given if p.default is not inspect.Parameter.empty}
    return fixed or None


def _reads_shape(node: fx.Node) -> bool:
    if node.op == "call_function" and not isinstance(node.target, str):
        return node.target.__name__ == "getattr" and str(node.args[1]) in _SHAPE_ATTRIBUTES
    return node.op == "call_method" and node.target in _SHAPE_METHODS


def _reads_device(node: fx.Node) -> bool:
    return _reads_shape(node) and str(node.args[-1]) == "device"
