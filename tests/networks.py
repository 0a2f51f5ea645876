"""Small networks, packs and training settings that the tests of models and training share."""

import json

import numpy as np
import torch
from builders import hyperparameters

from graft.config.architectures import IMAGE
from graft.config.models import Head
from graft.config.sources import Transform
from graft.config.stages import (
    BackboneSettings,
    CropSettings,
    PackSettings,
    Preparation,
    TrainSettings,
)
from graft.core import hdf5
from graft.models.backbones import Backbone
from graft.models.network import Network
from graft.training import train

SIZE = 32
TRANSFORM = Transform(mean=(0.5,) * 3, std=(0.25,) * 3)
CAFFE = Transform(scale=1.0, mean=(103.939, 116.779, 123.68), std=(1.0,) * 3, channels="BGR")
PIXELS = Transform(scale=1, mean=(0,) * 3, std=(1,) * 3)
HEAD = Head(hidden=(8,))
EXPERTS = {
    "small": BackboneSettings(
        architecture="vgg_mini", transform=Transform(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    ),
    "caffes": BackboneSettings(architecture="squeezenet1_1", transform=CAFFE),
}
OF_PICTURES = {"crop": [0.3, 0.8], "color": 0.4, "randaugment": {"ops": 2, "magnitude": 9}}
OF_BATCHES = {"mixup": 0.4, "cutmix": 1.0}
AUGMENT = {"flip": True, "shift": 0.2} | OF_PICTURES | OF_BATCHES
CPU = {"device": "cpu", "precision": "fp32"}


def described(architecture, transform=TRANSFORM):
    """What a backbone is built from."""
    if architecture == "stack":
        return BackboneSettings(architecture="stack", transform=PIXELS, experts=EXPERTS)
    return BackboneSettings(architecture=architecture, transform=transform)


def backbone_of(architecture, **options):
    return Backbone(architecture, described(architecture).experts, **options)


def network_of(architecture, cut=IMAGE, *, head=HEAD, classes=2, size=64, **options):
    return Network(described(architecture), cut, head, classes, size, **options)


def layers_of(network, block):
    """The layers with weights of a block of a network."""
    paths = {name.rpartition(".")[0]: None for name in network.backbone.block_tensors(block)}
    return torch.nn.ModuleList(network.backbone.body.get_submodule(path) for path in paths)


def settle(backbone):
    """Random statistics for the batch norms, so that leaving one out would show."""
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return backbone.eval()


def write_pack(path, count, seed, *, unequal=False, size=SIZE):
    """Pictures of noise whose class is their brightness; unequal: three of four are dark."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 4 == 3).astype(int) if unequal else np.arange(count) % 2
    images = rng.integers(0, 120, (count, size, size, 3)) + 100 * labels[:, None, None, None]
    with hdf5.create(path, {}) as file:
        hdf5.write(file, "images", images.astype(np.uint8))
        hdf5.write(file, "labels", labels)
        hdf5.write_strings(file, "sample_id", [f"{seed:04d}{i:012d}" for i in range(count)])
        hdf5.write_strings(file, "group", [f"g{i}" for i in range(count)])
        file.attrs["classes"] = json.dumps(["dark", "light"])
    return path


def train_settings(mode, cut, backbone="vgg_mini", *, transform=TRANSFORM, **changes):
    return TrainSettings(
        backbone=described(backbone, transform),
        mode=mode,
        cut=cut,
        train=hyperparameters(**changes),
        preparation=Preparation(
            crop=CropSettings(crop="whole", crop_size=48, detector=None, device=None),
            pack=PackSettings(packed_size=SIZE, grayscale=False, equalize=False),
        ),
        threads=1,
        reproducible="portable",
        **CPU,
    )


def run(data, out, mode, cut, *, warm_up=None, on_epoch=None, seed=3, settings=None, **changes):
    """Train on the packs or features in a folder; (model file, report)."""
    prefix = "" if cut == IMAGE else f"{cut}-"
    out.mkdir(parents=True, exist_ok=True)
    report = train.train(
        [data / f"{prefix}train.h5"],
        [data / f"{prefix}val.h5"],
        out / "model.safetensors",
        out / "history.csv",
        source=None if mode == "from_scratch" else data / "source.safetensors",
        warm_up=warm_up,
        settings=settings or train_settings(mode, cut, **changes),
        seed=seed,
        name="experiments.test",
        identity="x",
        on_epoch=on_epoch or (lambda epoch, row: None),
    )
    return out / "model.safetensors", report
