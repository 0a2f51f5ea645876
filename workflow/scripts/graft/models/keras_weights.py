"""Keras weights: Keras's files (see `keras_files`), read under torchvision's names.

Kernels are stored (height, width, in, out), and a dense layer after a flatten counts its inputs in
the order height, width, channel.

Supported are the architectures that compute the same in Keras and torchvision (SqueezeNet at sizes
where its poolings leave no remainder, such as 224: Keras drops it, torchvision does not). Keras's
ResNet, Inception, MobileNet and EfficientNet pad, stride and normalise differently.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from graft.core.errors import GraftError
from graft.models import keras_files
from graft.models.backbones import Backbone
from graft.models.checkpoints import Checkpoint
from graft.models.keras_files import Arrays, Network

Names = list[tuple[str, ...]]

# Two spellings: that of Keras's own applications, and that of Caffe, which VGGFace kept.
_VGG: Names = [
    (f"block{block}_conv{layer}", f"conv{block}_{layer}")
    for block, layers in enumerate((2, 2, 3, 3, 3), start=1)
    for layer in range(1, layers + 1)
]
_FIRE = ("squeeze1x1", "expand1x1", "expand3x3")

LAYERS: dict[str, Names] = {
    "vgg16": _VGG,
    "vgg16_fc7": [*_VGG, ("fc1", "fc6"), ("fc2", "fc7")],
    "squeezenet1_1": [
        ("conv1",),
        # Keras 3 allows no slash in a name.
        *((f"fire{n}/{part}", f"fire{n}_{part}") for n in range(2, 10) for part in _FIRE),
    ],
}
"""Keras's names of an architecture's convolutions and dense layers, in order."""

# The one classifier that is a convolution; any other that is left over is another network's.
_CLASSIFIERS = ("conv10",)

Wanted = dict[str, tuple[tuple[int, ...], Callable[[torch.Tensor], torch.Tensor]]]
"""By torchvision's name of a tensor, the shape of Keras's array, and how it is converted."""


def read(path: Path, architecture: str, optional: Collection[str] = ()) -> Checkpoint:
    """Tensors float32 by torchvision's names; arrays of other layers keep their name in the file.

    Of several networks in the file, a model and one within it, the one with the most of the
    architecture's layers was read, the first of those with as many. Layers that the architecture
    does not have, such as a classifier, come as tensors on torch's `meta` device, which have a
    shape but no values. A layer of the architecture may be missing or have another shape if its
    tensors are among the `optional` ones; it is then left out.

    Raises GraftError if the file is no such file, or not of this architecture.
    """
    if architecture not in LAYERS:
        raise GraftError(
            f"{path.name}: Keras files are supported for {', '.join(LAYERS)} only. For "
            f"{architecture} use torchvision's weights."
        )
    planned = list(zip(LAYERS[architecture], _wanted(architecture), strict=True))
    tensors: dict[str, torch.Tensor] = {}
    with keras_files.networks(path) as networks:
        chosen, notes = _choose(path, architecture, networks)
        layers = dict(chosen.layers)
        for names, wanted in planned:
            name = next((name for name in names if name in layers), None)
            if name is not None:
                tensors |= _read_layer(path, name, layers.pop(name), wanted, optional)
            elif not set(wanted) <= set(optional):
                raise GraftError(
                    f"{path.name}: it lacks {architecture}'s layer {' or '.join(names)}. Check the "
                    "source's architecture, or name the layer in allow_new."
                )
        for name, arrays in layers.items():
            if any(array.ndim == 4 for array in arrays) and name not in _CLASSIFIERS:
                raise _unfit(
                    path, f"it holds a convolution {name}, which {architecture} does not have"
                )
        used = [arrays for name, arrays in chosen.layers.items() if name not in layers]
        notes += _notes_of_casts(used)
        others = [arrays for n in networks if n is not chosen for arrays in n.layers.values()]
        for arrays in [*layers.values(), *others]:
            tensors |= {a.name.strip("/"): torch.empty(a.shape, device="meta") for a in arrays}
    return Checkpoint(tensors, unwrapped=chosen.path, notes=tuple(notes))


def _choose(
    path: Path, architecture: str, networks: Sequence[Network]
) -> tuple[Network, list[str]]:
    """The network of the architecture, and a note if another one has as many of its layers."""
    known = {name for names in LAYERS[architecture] for name in names}
    counts = [len(known & network.layers.keys()) for network in networks]
    most = max(counts)
    if not most:
        theirs = [name for network in networks for name in network.layers]
        raise _unfit(
            path,
            f"it holds none of {architecture}'s layers (its own begin with "
            f"{', '.join(theirs[:2]) or 'nothing'}, where Keras has "
            f"{' or '.join(LAYERS[architecture][0])})",
        )
    fitting = [network for network, count in zip(networks, counts, strict=True) if count == most]
    if len(fitting) == 1:
        return fitting[0], []
    shown = ["/".join(network.path) or "the model itself" for network in fitting]
    return fitting[0], [
        f"{shown[0]} was read, the first of the networks with {most} layers of {architecture}; the "
        f"file also holds {', '.join(shown[1:])}"
    ]


def _notes_of_casts(layers: Sequence[Arrays]) -> list[str]:
    counts = Counter(str(array.dtype) for arrays in layers for array in arrays)
    del counts["float32"]
    return [
        f"{count} arrays are {dtype} in the file, and were cast to float32"
        for dtype, count in counts.items()
    ]


def _unfit(path: Path, problem: str) -> GraftError:
    return GraftError(f"{path.name}: {problem}. Check the source's architecture.")


def convolution_kernel(kernel: torch.Tensor) -> torch.Tensor:
    """Keras's (height, width, in, out) as torchvision's (out, in, height, width)."""
    return kernel.permute(3, 2, 0, 1)


def dense_kernel(kernel: torch.Tensor, maps: int | None = None) -> torch.Tensor:
    """Keras's (in, out) as torchvision's (out, in).

    After the flatten of so many square `maps`, the inputs are reordered from Keras's (height,
    width, map) to torchvision's (map, height, width).
    """
    if maps is None:
        return kernel.T
    side = math.isqrt(kernel.shape[0] // maps)
    return kernel.reshape(side, side, maps, -1).permute(3, 2, 0, 1).flatten(1)


def _read_layer(
    path: Path, name: str, arrays: Arrays, wanted: Wanted, optional: Collection[str]
) -> dict[str, torch.Tensor]:
    """A kernel and a bias, converted; without those that are optional and of another shape."""
    if len(arrays) != len(wanted):
        raise _unfit(
            path, f"the layer {name} has {len(arrays)} arrays, where a kernel and a bias belong"
        )
    tensors = {}
    for array, (tensor, (shape, convert)) in zip(arrays, wanted.items(), strict=True):
        if array.dtype.kind != "f":
            raise GraftError(
                f"{path.name}: the layer {name} is stored as {array.dtype}, not as floating-point "
                "numbers. Save the weights again, in float32."
            )
        if array.shape == shape:
            values = np.ascontiguousarray(array[...], np.float32)
            tensors[tensor] = convert(torch.from_numpy(values)).contiguous()
        elif tensor not in optional:
            raise _unfit(
                path, f"the layer {name} has an array of shape {array.shape}, expected is {shape}"
            )
    return tensors


def _wanted(architecture: str) -> Iterator[Wanted]:
    """Kernel and bias of each convolution and dense layer, in order."""
    backbone, maps = Backbone(architecture, skip_init=True), None
    names = backbone.tensors()
    for name, module in backbone.traced.network.named_modules():
        if f"{name}.weight" not in names:  # torchvision's classifier
            continue
        convert: Callable[[torch.Tensor], torch.Tensor]
        if isinstance(module, nn.Conv2d):
            maps = module.out_channels
            shape = (*module.kernel_size, module.in_channels, maps)
            convert = convolution_kernel
        elif isinstance(module, nn.Linear):
            shape = (module.in_features, module.out_features)
            convert = partial(dense_kernel, maps=maps)
            maps = None
        else:
            continue
        yield {f"{name}.weight": (shape, convert), f"{name}.bias": (shape[-1:], torch.clone)}
