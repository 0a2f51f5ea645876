"""Published weights on published photographs: converted, they give the same features."""

import argparse
import io
import tarfile
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from conftest import KIT, needs_kit
from keras_files import SPELLINGS, keras_layers, write_keras_3, write_nested_keras
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional
from torchvision import models as torchvision_models

from graft.config.sources import Transform
from graft.config.stages import BackboneSettings
from graft.models import model_file, weights
from graft.models.backbones import Backbone
from graft.models.transforms import to_input

pytestmark = needs_kit

WEIGHTS = KIT / "weights"
KERAS = WEIGHTS / "squeezenet1_1_imagenet_notop_keras.h5"
IMAGENET = Transform()
CAFFE = Transform(scale=1.0, mean=(103.939, 116.779, 123.68), std=(1.0,) * 3, channels="BGR")

SIDE, EACH = 224, 12
# ImageNet's classes that a photograph of each of Pascal VOC's should be taken for.
FAMILIES = {
    "bus": {"school bus", "minibus", "trolleybus", "passenger car", "streetcar"},
    "car": {
        *("sports car", "convertible", "minivan", "beach wagon", "limousine", "cab", "jeep"),
        *("racer", "pickup", "grille", "police van"),
    },
    "cat": {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"},
    "train": {
        *("electric locomotive", "steam locomotive", "bullet train", "passenger car"),
        *("freight car", "streetcar"),
    },
}


@pytest.fixture(scope="module")
def photographs():
    """(VOC's class, uint8 (224, 224, 3)): squares around the one large object of a picture."""
    files, found, taken = {}, [], Counter()
    with tarfile.open(KIT / "voc2007" / "VOCtest_06-Nov-2007.tar") as tar:
        for member in tar:
            if member.isfile() and member.name.endswith((".xml", ".jpg")):
                files[member.name.rsplit("/", 1)[1]] = tar.extractfile(member).read()
    for name in sorted(name for name in files if name.endswith(".xml")):
        objects = list(ElementTree.fromstring(files[name]).iter("object"))
        label = objects[0].findtext("name")
        edges = ("xmin", "ymin", "xmax", "ymax")
        left, top, right, bottom = (int(objects[0].findtext(f"bndbox/{e}")) for e in edges)
        large = min(right - left, bottom - top) >= 160
        if len(objects) > 1 or label not in FAMILIES or not large or taken[label] == EACH:
            continue
        taken[label] += 1
        picture = Image.open(io.BytesIO(files[name.replace(".xml", ".jpg")])).convert("RGB")
        side = min(max(right - left, bottom - top), *picture.size)
        x = min(max((left + right - side) // 2, 0), picture.width - side)
        y = min(max((top + bottom - side) // 2, 0), picture.height - side)
        square = picture.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.BILINEAR)
        found.append((label, np.asarray(square)))
    return found


def normalised(path, destination, architecture, transform):
    """What the weights stage makes of a file: (tensors, settings)."""
    tensors = weights.read(path, architecture).tensors
    settings = BackboneSettings(architecture=architecture, transform=transform)
    report = weights.normalise(tensors, destination, settings, key="sources.kit", origin={})
    assert not report["new"]
    return model_file.load_source(destination)


def features(tensors, settings, pictures):
    backbone = Backbone(settings.architecture, skip_init=True).eval()
    backbone.load(tensors)
    with torch.inference_mode():
        return backbone(to_input(pictures, settings.transform))


def test_a_converted_keras_file_equals_the_published_state_dict_after_its_first_layer(tmp_path):
    theirs = torch.load(WEIGHTS / "squeezenet1_1_imagenet_features.pth", weights_only=True)
    ours, settings = normalised(KERAS, tmp_path / "a.safetensors", "squeezenet1_1", CAFFE)
    assert settings.transform == CAFFE and ours.keys() == theirs.keys()
    first = {"features.0.weight", "features.0.bias"}  # which expects another transform
    assert all(torch.equal(ours[name], theirs[name]) for name in ours.keys() - first)


def test_with_its_own_transform_it_gives_the_same_features(tmp_path, photographs):
    pictures = torch.from_numpy(np.stack([picture for _, picture in photographs[:4]]))
    path = WEIGHTS / "squeezenet1_1_imagenet_features.pth"
    theirs = normalised(path, tmp_path / "a.safetensors", "squeezenet1_1", IMAGENET)
    ours = normalised(KERAS, tmp_path / "b.safetensors", "squeezenet1_1", CAFFE)
    expected, converted = features(*theirs, pictures), features(*ours, pictures)
    torch.testing.assert_close(converted, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))
    rgb = CAFFE.model_copy(update={"channels": "RGB"})
    wrong = ours[1].model_copy(update={"transform": rgb})
    difference = (features(ours[0], wrong, pictures) - expected).abs().mean()
    assert difference > 0.1 * expected.abs().mean()


def test_squeezenet1_0_recognises_photographs(tmp_path, photographs):
    path = WEIGHTS / "squeezenet1_0_imagenet.pth"
    source = normalised(path, tmp_path / "a.safetensors", "squeezenet1_0", IMAGENET)
    # Its classifier, which a source leaves out, is a convolution to 1,000 maps.
    published = torch.load(path, weights_only=True)
    network = torchvision_models.squeezenet1_0()
    network.load_state_dict(published)
    classes = [
        line.split(",")[0]
        for line in (WEIGHTS / "imagenet_labels.txt").read_text(encoding="utf-8").splitlines()
    ][1:]  # index 0 is the background
    pictures = torch.from_numpy(np.stack([picture for _, picture in photographs]))
    maps = features(*source, pictures)
    with torch.inference_mode():
        scores = functional.relu(network.classifier[1](maps)).mean((2, 3))
    hits, seen = Counter(), Counter()
    for (label, _), best in zip(photographs, scores.topk(5).indices, strict=True):
        seen[label] += 1
        hits[label] += bool({classes[index] for index in best} & FAMILIES[label])
    print({label: f"{hits[label]} of {seen[label]}" for label in seen})
    assert set(seen) == set(FAMILIES) and min(seen.values()) == EACH
    assert hits.total() >= 0.8 * seen.total()
    assert all(hits[label] >= 0.6 * seen[label] for label in seen)


def half_of_several_processes(tensors, folder):
    halves = {f"module.{name}": tensor.half() for name, tensor in tensors.items()}
    save_file(halves, folder / "weights.safetensors")


def lightning(tensors, folder):
    compiled = {f"model._orig_mod.{name}": tensor for name, tensor in tensors.items()}
    held = {"epoch": 9, "state_dict": compiled, "hyper_parameters": argparse.Namespace(lr=0.1)}
    torch.save(held, folder / "last.ckpt")


def teacher_and_student(tensors, folder):
    teacher = {f"backbone.{name}": tensor for name, tensor in tensors.items()}
    student = {f"module.backbone.{name}": tensor + 1 for name, tensor in tensors.items()}
    torch.save({"student": student, "teacher": teacher, "epoch": 9}, folder / "checkpoint.pth.tar")


@pytest.mark.parametrize("write", [half_of_several_processes, lightning, teacher_and_student])
def test_published_weights_are_found_in_a_checkpoint_of_training(tmp_path, write):
    published = weights.read(WEIGHTS / "squeezenet1_0_imagenet.pth", "squeezenet1_0").tensors
    write(published, tmp_path)
    (path,) = tmp_path.iterdir()
    found = weights.read(path, "squeezenet1_0").tensors
    head = {"classifier.1.weight", "classifier.1.bias"}
    assert found.keys() == published.keys() >= head
    for name in published.keys() - head:
        close = {"rtol": 1e-3, "atol": 1e-7} if path.suffix == ".safetensors" else {}
        torch.testing.assert_close(found[name], published[name], **close or {"rtol": 0, "atol": 0})


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5", "model.h5"])
def test_published_keras_weights_are_found_within_a_model(tmp_path, name):
    published = weights.read(KERAS, "squeezenet1_1").tensors
    spelling = SPELLINGS["squeezenet1_1"]
    if name == "model.h5":
        path = write_nested_keras(tmp_path / name, keras_layers(published, spelling), name="base")
    else:
        layers = keras_layers(published, [layer.replace("/", "_") for layer in spelling])
        path = write_keras_3(tmp_path / name, layers, within="base")
    found = weights.read(path, "squeezenet1_1").tensors
    assert all(torch.equal(found[name], tensor) for name, tensor in published.items())
