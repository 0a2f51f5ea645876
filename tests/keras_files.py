"""Files of weights as Keras writes them, and random weights to put into them."""

import h5py
import numpy as np
import torch

from graft.models.backbones import Backbone

FIRES = [
    f"fire{n}/{part}" for n in range(2, 10) for part in ("squeeze1x1", "expand1x1", "expand3x3")
]
VGG = [(block, layer) for block, n in enumerate((2, 2, 3, 3, 3), 1) for layer in range(1, n + 1)]
SPELLINGS = {
    "squeezenet1_1": ["conv1", *FIRES],
    "vgg16": [f"block{block}_conv{layer}" for block, layer in VGG],
    "vgg_face": [f"conv{block}_{layer}" for block, layer in VGG],
}


def published(architecture, seed=0):
    """Random weights under torchvision's names."""
    torch.manual_seed(seed)
    tensors = {name: t.clone() for name, t in Backbone(architecture).tensors().items()}
    for name, tensor in tensors.items():
        if name.endswith("bias"):
            tensor.uniform_(-0.1, 0.1)
    return tensors


def write_keras(path, layers, *, root=None, texts=np.bytes_):
    """A file as Keras 2 lays it out: {layer: {weight name: array}}, in this order."""
    with h5py.File(path, "w") as file:
        group = file.create_group(root) if root else file
        group.attrs["layer_names"] = [texts(name) for name in ("input_1", *layers)]
        group.create_group("input_1").attrs["weight_names"] = np.zeros(0, "S1")
        for name, weights in layers.items():
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [texts(weight) for weight in weights]
            for weight, values in weights.items():
                layer[weight] = values
    return path


def keras_layers(tensors, names):
    """The same weights as Keras has them: kernels (height, width, in, out)."""
    kernels = [name for name in tensors if name.endswith("weight")]
    return {
        layer: {
            f"{layer}_1/kernel:0": tensors[kernel].numpy().transpose(2, 3, 1, 0),
            f"{layer}_1/bias:0": tensors[kernel.replace("weight", "bias")].numpy(),
        }
        for layer, kernel in zip(names, kernels, strict=True)
    }
