"""Keras weights: HDF5 files as Keras 1 and 2 write them, read under torchvision's names.

A file lists its layers (`layer_names`), each a group that lists its arrays (`weight_names`);
`model.save` writes the same one level down, in `model_weights`. Kernels are stored (height,
width, in, out), and a dense layer after a flatten counts its inputs in the order height, width,
channel. Only arrays are read: never the model's description or code in it, and no link out of
the file is followed.

Supported are the architectures that compute the same in Keras and torchvision (SqueezeNet at sizes
where its poolings leave no remainder, such as 224: Keras drops it, torchvision does not). Keras's
ResNet, Inception, MobileNet and EfficientNet pad, stride and normalise differently.
"""

import contextlib
import math
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import nn

from graft.core.errors import GraftError
from graft.models.backbones import Backbone

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
    "squeezenet1_1": [("conv1",), *((f"fire{n}/{part}",) for n in range(2, 10) for part in _FIRE)],
}
"""Keras's names of an architecture's convolutions and dense layers, in order."""

# The one classifier that is a convolution; any other that is left over is another network's.
_CLASSIFIERS = ("conv10",)

Wanted = dict[str, tuple[tuple[int, ...], Callable[[torch.Tensor], torch.Tensor]]]
"""By torchvision's name of a tensor, the shape of Keras's array, and how it is converted."""


def read(path: Path, architecture: str, optional: Collection[str] = ()) -> dict[str, torch.Tensor]:
    """Tensors float32 by torchvision's names; arrays of other layers keep their name in the file.

    Layers that the architecture does not have, such as a classifier, come as tensors on torch's
    `meta` device, which have a shape but no values. A layer of the architecture may be missing
    or have another shape if its tensors are among the `optional` ones; it is then left out.

    Raises GraftError if the file is no such file, or not of this architecture.
    """
    if architecture not in LAYERS:
        raise GraftError(
            f"{path.name}: Keras files are supported for {', '.join(LAYERS)} only. For "
            f"{architecture} use torchvision's weights."
        )
    planned = list(zip(LAYERS[architecture], _wanted(architecture), strict=True))
    tensors: dict[str, torch.Tensor] = {}
    with _opened(path) as file:
        layers = _layers(path, file)
        if not any(name in layers for names, _ in planned for name in names):
            raise _unfit(
                path,
                f"it holds none of {architecture}'s layers (its own begin with "
                f"{', '.join(list(layers)[:2]) or 'nothing'}, where Keras has "
                f"{' or '.join(planned[0][0])})",
            )
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
            tensors |= {a.name.strip("/"): torch.empty(a.shape, device="meta") for a in arrays}
    return tensors


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
    path: Path, name: str, arrays: list[h5py.Dataset], wanted: Wanted, optional: Collection[str]
) -> dict[str, torch.Tensor]:
    """A kernel and a bias, converted; without those that are optional and of another shape."""
    if len(arrays) != len(wanted):
        raise _unfit(
            path, f"the layer {name} has {len(arrays)} arrays, where a kernel and a bias belong"
        )
    tensors = {}
    for array, (tensor, (shape, convert)) in zip(arrays, wanted.items(), strict=True):
        if array.shape == shape:
            values = np.ascontiguousarray(array[...], np.float32)
            tensors[tensor] = convert(torch.from_numpy(values)).contiguous()
        elif tensor not in optional:
            raise _unfit(
                path, f"the layer {name} has an array of shape {array.shape}, expected is {shape}"
            )
    return tensors


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    # What h5py raises depends on where in the file the damage is.
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GraftError(
            f"{path.name}: the file is damaged or no HDF5 file of weights ({reason}). Fetch it "
            "again."
        ) from None


def _layers(path: Path, file: h5py.File) -> dict[str, list[h5py.Dataset]]:
    """The arrays of each layer that has any, in the file's order."""
    root = file.get("model_weights", file)
    if "layer_names" not in root.attrs:
        raise GraftError(
            f"{path.name}: it lists no layer_names, so it is not in the layout of Keras 1 and 2. "
            "Save its weights as .h5 with such a version."
        )
    if "theano" in _texts([root.attrs.get("backend", file.attrs.get("backend", ""))]):
        raise GraftError(
            f"{path.name}: it was saved by Keras on Theano, which flips kernels. Save its "
            "weights again on TensorFlow."
        )
    layers = {}
    for name in _texts(root.attrs["layer_names"]):
        group = root[name]
        arrays = [group[array] for array in _texts(group.attrs["weight_names"])]
        if any(_is_elsewhere(array, file) for array in arrays):
            raise GraftError(
                f"{path.name}: the layer {name} is not stored in the file itself as numbers. "
                "Save the weights again."
            )
        if arrays:
            layers[name] = arrays
    return layers


def _is_elsewhere(array: object, file: h5py.File) -> bool:
    return (
        not isinstance(array, h5py.Dataset)
        or array.file.id != file.id
        or array.external is not None
        or array.is_virtual
        or array.dtype.kind != "f"
    )


def _texts(values: object) -> list[str]:
    return [v.decode() if isinstance(v, bytes) else str(v) for v in np.asarray(values).ravel()]


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
