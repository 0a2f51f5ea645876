"""Files of weights as Keras writes them, and random weights to put into them."""

import io
import json
import zipfile
from collections import Counter

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


def write_nested_keras(path, layers, *, name="vgg16", scope="", head="out"):
    """As Keras 2 lays out a model that holds a network and a dense layer, with `model.save`:
    all arrays of the network are in its one group, listed by their layers, in a `scope` or not."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [np.bytes_(name), np.bytes_("pool"), np.bytes_(head)]
        arrays = {
            f"{scope}{layer}/{weight.rsplit('/', 1)[-1]}": values
            for layer, weights in layers.items()
            for weight, values in weights.items()
        }
        arrays_of = {
            name: arrays,
            "pool": {},
            head: {f"{head}/kernel:0": np.ones((512, 2), "f4"), f"{head}/bias:0": np.ones(2, "f4")},
        }
        for group, weights in arrays_of.items():
            names = [np.bytes_(weight) for weight in weights] or np.zeros(0, "S1")
            root.create_group(group).attrs["weight_names"] = names
            for weight, values in weights.items():
                root[group][weight] = values
    return path


def write_keras_3(path, layers, *, within=None, named=True, texts=str):
    """As Keras 3 lays out a model, or one that holds it as the network `within` and a dense layer:
    `.weights.h5`, or the archive `.keras`. Before Keras 3.8 the groups have no names of layers."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        config = _keras_3_layers(file, layers, named, texts)
        if within is not None:
            inner = {"class_name": "Functional", "config": {"name": within, "layers": config}}
            file.move("layers", "inner")
            out = {"out": {"kernel": np.ones((512, 2), "f4"), "bias": np.ones(2, "f4")}}
            config = [inner, *_keras_3_layers(file, out, named, texts)]
            file.move("inner", "layers/functional/layers")
            _variables(file["layers/functional"], within, {}, named, texts)
        _variables(file, "model", {}, named, texts)
        adam = {"iterations": np.int64(3), "momentum": np.ones((3, 3, 3, 64), "f4")}
        _variables(file.create_group("optimizer"), "adam", adam, named, texts)
    if path.suffix != ".keras":
        path.write_bytes(buffer.getvalue())
        return path
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.8.0"}))
        whole = {"class_name": "Functional", "config": {"name": "model", "layers": config}}
        archive.writestr("config.json", json.dumps(whole))
        archive.writestr("model.weights.h5", buffer.getvalue())
    return path


def _keras_3_layers(file, layers, named, texts):
    """Write each layer into a group named by its class and number; return the layers' configs."""
    numbers, config = Counter(), []
    for name, weights in layers.items():
        kind = "Conv2D" if next(iter(weights.values())).ndim == 4 else "Dense"
        number = f"_{numbers[kind]}" if numbers[kind] else ""
        numbers[kind] += 1
        group = file.create_group(f"layers/{kind.lower()}{number}")
        _variables(group, name, weights, named, texts)
        config.append({"class_name": kind, "config": {"name": name}})
    return config


def _variables(group, name, weights, named, texts):
    variables = group.create_group("vars")
    if named:
        variables.attrs["name"] = texts(name)
    for index, values in enumerate(weights.values()):
        variables[str(index)] = values


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
