"""Keras weights: HDF5 files as Keras 1 and 2 wrote them, read under torchvision's names.

A file lists its layers (`layer_names`), each a group that lists its arrays (`weight_names`);
`model.save` puts the same one level down, into `model_weights`. Kernels are stored (height,
width, in, out), and a dense layer behind a flattening counts its inputs in the order height,
width, channel. Only arrays are read: the model's description and what it may hold of code is
never looked at, and no link out of the file is followed.

Only architectures are known here that compute the same in both worlds (SqueezeNet at sizes where
its poolings leave no rest, such as 224: Keras drops it, torchvision does not). Keras's ResNet,
Inception, MobileNet and EfficientNet pad, stride and normalise otherwise than torchvision's.
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

# Two spellings: Keras's own applications, and Caffe's, which VGGFace kept.
_VGG = [
    (f"block{block}_conv{layer}", f"conv{block}_{layer}")
    for block, layers in enumerate((2, 2, 3, 3, 3), start=1)
    for layer in range(1, layers + 1)
]
_SQUEEZENET = [
    ("conv1",),
    *(
        (f"fire{fire}/{part}",)
        for fire in range(2, 10)
        for part in ("squeeze1x1", "expand1x1", "expand3x3")
    ),
]

LAYERS: dict[str, list[tuple[str, ...]]] = {
    "vgg16": _VGG,
    "vgg16_fc7": [*_VGG, ("fc1", "fc6"), ("fc2", "fc7")],
    "squeezenet1_1": _SQUEEZENET,
}
"""What Keras files call an architecture's convolutions and dense layers, in order."""

# The one classifier that is a convolution; any other one that is left over is another network's.
_CLASSIFIERS = ("conv10",)


def read(path: Path, architecture: str, optional: Collection[str] = ()) -> dict[str, torch.Tensor]:
    """Tensors float32 by torchvision's names; what is passed over keeps its name in the file.

    Layers that the architecture has not, such as a classifier, come as tensors on torch's
    `meta` device, which have a shape but no values. A layer of the architecture may be missing
    or have another shape if its tensors are among the `optional` ones; it is then left out.

    Raises GraftError if the file is no such file, or not of this architecture.
    """
    if architecture not in LAYERS:
        raise GraftError(
            f"{path.name}: a Keras file is known to give the same network here for "
            f"{', '.join(LAYERS)} only; for {architecture} use torchvision's weights."
        )
    planned = list(zip(LAYERS[architecture], _tensors(architecture), strict=True))
    tensors: dict[str, torch.Tensor] = {}
    with _opened(path) as file:
        layers = _layers(path, file)
        if not any(name in layers for names, _ in planned for name in names):
            raise GraftError(
                f"{path.name} holds none of {architecture}'s layers (its own begin with "
                f"{', '.join(list(layers)[:2]) or 'nothing'}, where Keras has "
                f"{' or '.join(planned[0][0])}); check the source's architecture."
            )
        for names, wanted in planned:
            name = next((name for name in names if name in layers), None)
            if name is not None:
                tensors |= _read_layer(path, name, layers.pop(name), wanted, optional)
            elif not set(wanted) <= set(optional):
                raise GraftError(
                    f"{path.name} lacks {architecture}'s layer {' or '.join(names)}; check the "
                    "source's architecture, or name the layer in allow_new."
                )
        for name, arrays in layers.items():
            if any(array.ndim == 4 for array in arrays) and name not in _CLASSIFIERS:
                raise GraftError(
                    f"{path.name} holds a convolution {name}, which {architecture} has not; check "
                    "the source's architecture."
                )
            tensors |= {a.name.strip("/"): torch.empty(a.shape, device="meta") for a in arrays}
    return tensors


def convolution_kernel(kernel: torch.Tensor) -> torch.Tensor:
    """Keras's (height, width, in, out) as torchvision's (out, in, height, width)."""
    return kernel.permute(3, 2, 0, 1)


def dense_kernel(kernel: torch.Tensor, maps: int | None = None) -> torch.Tensor:
    """Keras's (in, out) as torchvision's (out, in).

    Behind the flattening of so many square `maps`, the inputs go from Keras's order (height,
    width, map) to torchvision's (map, height, width).
    """
    if maps is None:
        return kernel.T
    side = math.isqrt(kernel.shape[0] // maps)
    return kernel.reshape(side, side, maps, -1).permute(3, 2, 0, 1).flatten(1)


def _read_layer(
    path: Path, name: str, arrays: list[h5py.Dataset], wanted: dict, optional: Collection[str]
) -> dict[str, torch.Tensor]:
    """A kernel and a bias, as `_tensors` wants them; without what is optional and misshapen."""
    if len(arrays) != len(wanted):
        raise GraftError(
            f"{path.name}: the layer {name} has {len(arrays)} arrays and not a kernel and a bias; "
            "check the source's architecture."
        )
    tensors = {}
    for array, (tensor, (shape, convert)) in zip(arrays, wanted.items(), strict=True):
        if array.shape == shape:
            values = np.ascontiguousarray(array[...], np.float32)
            tensors[tensor] = convert(torch.from_numpy(values)).contiguous()
        elif tensor not in optional:
            raise GraftError(
                f"{path.name}: the layer {name} has an array of shape {array.shape} where {shape} "
                "is expected; check the source's architecture."
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
            f"{path.name} is damaged or no HDF5 file of weights ({reason}); fetch it again."
        ) from None


def _layers(path: Path, file: h5py.File) -> dict[str, list[h5py.Dataset]]:
    """The arrays of each layer that has any, in the file's order."""
    root = file.get("model_weights", file)
    if "layer_names" not in root.attrs:
        raise GraftError(
            f"{path.name} lists no layer_names, so it is not in the layout of Keras 1 and 2; "
            "save its weights as .h5 with such a version."
        )
    if "theano" in _texts([root.attrs.get("backend", file.attrs.get("backend", ""))]):
        raise GraftError(
            f"{path.name} was saved by Keras on Theano, which turns kernels round; save its "
            "weights again on TensorFlow."
        )
    layers = {}
    for name in _texts(root.attrs["layer_names"]):
        group = root[name]
        arrays = [group[array] for array in _texts(group.attrs["weight_names"])]
        if any(_is_elsewhere(array, file) for array in arrays):
            raise GraftError(
                f"{path.name}: the layer {name} is not stored in the file itself as numbers; "
                "save the weights again."
            )
        if arrays:
            layers[name] = arrays
    return layers


def _is_elsewhere(array, file: h5py.File) -> bool:
    return (
        not isinstance(array, h5py.Dataset)
        or array.file.id != file.id
        or array.external is not None
        or array.is_virtual
        or array.dtype.kind != "f"
    )


def _texts(values) -> list[str]:
    return [_text(value) for value in np.asarray(values).ravel()]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _tensors(architecture: str) -> Iterator[dict[str, tuple[tuple[int, ...], Callable]]]:
    """For each convolution and dense layer in order: torchvision's names of kernel and bias,
    each with the shape of Keras's array and how it is turned round."""
    backbone, maps = Backbone(architecture), None
    for name, module in backbone.named_modules():
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
        yield {
            backbone.published_name(f"{name}.weight"): (shape, convert),
            backbone.published_name(f"{name}.bias"): (shape[-1:], torch.clone),
        }
