"""Updates of a whole network: Graft's training loop against plain torch.

    make bench-train                          # or python benchmarks/training.py --help

For each network, with random weights, all variants train from scratch on the same uint8 pictures
(224 pixels, ten classes) with the same batches, optimizer (SGD with Nesterov's momentum), mirror
images and loss, in bf16. They run in one process, interleaved. Printed are medians over the rounds:
pictures a second, and the ratio to the plain loop. `plain` is torch's own recipe for CPUs: the
network and its input in channels last, under autocast, the input normalised in float32.

`memory kept` is with the process keeping the memory that it frees, as the stage does. glibc cannot
be set back, so these rounds come last, for all variants.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn
from torchvision import models

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

import machine  # noqa: E402

from graft.config.models import Head, Hyperparameters  # noqa: E402
from graft.config.sources import Transform  # noqa: E402
from graft.config.stages import BackboneSettings  # noqa: E402
from graft.core import devices, hdf5  # noqa: E402
from graft.images.packs import open_parts, write_labels  # noqa: E402
from graft.models.network import Network  # noqa: E402
from graft.training.batches import Batches  # noqa: E402
from graft.training.loop import Learner  # noqa: E402

NETWORKS = ("resnet18", "timm/vit_small_patch16_224")
SIDE, CLASSES = 224, 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SETTINGS = Hyperparameters.model_validate(
    {"lr": 0.01, "augment": {"flip": True}, "optimizer": {"name": "sgd", "momentum": 0.9}}
)
Update = Callable[[np.ndarray], None]


def pack(path: Path, pictures: int) -> None:
    rng = np.random.default_rng(0)
    with hdf5.create(path, {}) as file:
        hdf5.write(file, "images", rng.integers(0, 256, (pictures, SIDE, SIDE, 3), np.uint8))
        ids = [str(n) for n in range(pictures)]
        write_labels(file, np.arange(pictures) % CLASSES, ids, ids, list("abcdefghij"))


def plain(name: str, images: np.ndarray, labels: np.ndarray) -> Update:
    if name.startswith("timm/"):
        model = timm.create_model(name.removeprefix("timm/"), num_classes=CLASSES)
    else:
        model = models.get_model(name, weights=None, num_classes=CLASSES)
    model = model.train().to(memory_format=torch.channels_last)
    spec = SETTINGS.optimizer
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=SETTINGS.lr,
        momentum=spec.momentum,
        weight_decay=spec.weight_decay,
        nesterov=spec.nesterov,
        fused=True,
    )
    loss_of = nn.CrossEntropyLoss()
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (MEAN, STD))

    def update(rows: np.ndarray) -> None:
        pictures = torch.from_numpy(images[rows]).permute(0, 3, 1, 2)
        mirrored = torch.rand(len(rows)) < 0.5
        pictures[mirrored] = pictures[mirrored].flip(3)
        inputs = (pictures.float() / 255 - mean) / std
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(inputs)
        loss = loss_of(outputs.float(), torch.from_numpy(labels[rows]))
        loss.backward()
        if spec.clip:
            nn.utils.clip_grad_norm_(model.parameters(), spec.clip)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    return update


def ours(name: str, path: Path) -> Update:
    transform = Transform(size=SIDE, mean=MEAN, std=STD)
    backbone = BackboneSettings(architecture=name, transform=transform)
    network = Network(backbone, "image", Head(), CLASSES, SIDE)
    data = Batches(open_parts([path]), transform, augment=SETTINGS.augment, device="cpu")
    learner = Learner(network, SETTINGS, data, transferred=False, precision="bf16")
    rng = np.random.default_rng(0)
    return lambda rows: learner.updates([(rows, 0, 1.0)], rng) and None


def measured(updates: dict[str, Update], rows: list[np.ndarray], rounds: int) -> dict[str, float]:
    """Pictures a second of each variant."""
    seconds: dict[str, list[float]] = {variant: [] for variant in updates}
    for update in updates.values():
        update(rows[0])
    for _ in range(rounds):
        for variant, update in updates.items():
            start = time.perf_counter()
            for batch in rows:
                update(batch)
            seconds[variant].append(time.perf_counter() - start)
    count = sum(map(len, rows))
    return {variant: count / statistics.median(times) for variant, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="The speed of training a whole network.")
    parser.add_argument("--networks", nargs="*", default=NETWORKS)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--batches", type=int, default=4, help="a round's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine.heading(f"{options.threads} threads, batches of {options.batch}"))
    count = options.batch * options.batches
    rows = np.array_split(np.arange(count), options.batches)
    with tempfile.TemporaryDirectory(prefix="graft-training-") as folder:
        path = Path(folder) / "pack.h5"
        pack(path, count)
        data = open_parts([path])
        images, labels = data.read(np.arange(count)), np.asarray(data.labels)
        variants = {
            name: {"plain, bf16": plain(name, images, labels), "Graft": ours(name, path)}
            for name in options.networks
        }
        rates = {
            name: {"as glibc does": measured(updates, rows, options.rounds)}
            for name, updates in variants.items()
        }
        devices.keep_freed_memory()
        for name, updates in variants.items():
            rates[name]["memory kept"] = measured(updates, rows, options.rounds)
    print("| network | memory | plain, img/s | Graft, img/s | ratio |\n|---|---|---|---|---|")
    for name, found in rates.items():
        for memory, rate in found.items():
            base, own = rate["plain, bf16"], rate["Graft"]
            print(f"| {name} | {memory} | {base:.3g} | {own:.3g} | {own / base:.2f} |")
    print(f"\nat the end {machine.load()}")


if __name__ == "__main__":
    main()
