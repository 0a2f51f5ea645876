"""Small inputs that several tests share."""

import cv2
import numpy as np
import torch

from graft.models import model_file
from graft.models.network import Network
from graft.models.transforms import Transform

CLASSES = ["a <b>", 'say "yes"', "ü"]
HEAD = {"pool": "avgpool", "hidden": [8], "activation": "relu", "dropout": 0.5}


def save_model(path, *, crop="whole", cut="image", size=32, transform=None, **preparation):
    """A small network with random weights, no class of which is always the likeliest; returns
    its description."""
    torch.manual_seed(0)
    network = Network("vgg_mini", cut, HEAD, len(CLASSES), size).eval()
    detector = {"name": "mtcnn", "min_score": 0.5, "margin": 1.0, "batch_size": 4}
    detection = {"detector": detector, "device": "cpu"}
    description = {
        "architecture": "vgg_mini",
        "cut": cut,
        "mode": "from_scratch",
        "head": HEAD,
        "classes": CLASSES,
        "image_size": size,
        "transform": {
            "size": None,
            "scale": 1 / 255,
            "mean": [0.4, 0.5, 0.6],
            "std": [0.2, 0.25, 0.3],
            "channels": "BGR",
        }
        | (transform or {}),
        "preparation": {
            "crop": crop,
            "size": 48,
            "image_size": size,
            "grayscale": False,
            "equalize": False,
        }
        | (detection if crop == "aligned_face" else {})
        | preparation,
    }
    transform = Transform.from_dict(description["transform"])
    several = torch.from_numpy(np.stack([picture(seed, (size, size)) for seed in range(8)]))
    with torch.no_grad():
        network.head[-1].weight.mul_(100)
        network.head[-1].bias.sub_(network.whole(transform(several)).mean(0))
    model_file.save(path, network.tensors(), description)
    return description


def picture(seed, shape=(60, 50)):
    """A smooth random picture, uint8 (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
