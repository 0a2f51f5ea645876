"""What each option of `train.augment` costs, beside an update of SqueezeNet 1.1 on the same CPU.

    python benchmarks/augmentation.py [--side 160] [--threads 1]

The least of several times, for a batch of 32 pictures in memory.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "workflow" / "scripts"))

from graft.config.models import Augment, Head, Hyperparameters  # noqa: E402
from graft.config.sources import Transform  # noqa: E402
from graft.config.stages import BackboneSettings  # noqa: E402
from graft.models.network import Network  # noqa: E402
from graft.training import loop  # noqa: E402
from graft.training.batches import Batches  # noqa: E402

COUNT, REPEATS = 32, 21
OPTIONS: list[dict] = [
    {"flip": True, "shift": 0.1},
    {"crop": (0.3, 1.0)},
    {"color": 0.4},
    {"randaugment": {}},
    {"mixup": 0.2},
    {"cutmix": 1.0},
]


class Data:
    classes = ("a", "b")
    labels = np.arange(COUNT) % 2

    def __init__(self, side: int):
        coarse = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3)).astype(np.uint8)
        self.pictures = np.stack([cv2.resize(p, (side, side)) for p in coarse])

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.pictures[indices]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=160)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = Data(arguments.side)
    plain = _read(data, {})
    update = _update(data)
    print(f"update {update:.0f} ms, reading {plain:.1f} ms")
    for option in OPTIONS:
        extra = _read(data, option) - plain
        print(f"{option}: {extra:.1f} ms, {100 * extra / update:.1f} % of an update")


def _read(data: Data, option: dict) -> float:
    augment = Augment.model_validate({"flip": False, **option})
    batches = Batches(data, Transform(), augment=augment, device="cpu")
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    return _milliseconds(lambda: batches.read(np.arange(COUNT), rng))


def _update(data: Data) -> float:
    backbone = BackboneSettings(architecture="squeezenet1_1", transform=Transform())
    network = Network(backbone, "image", Head(), len(data.classes), len(data.pictures[0]))
    optimizer = loop.make_optimizer(network.train(), Hyperparameters(), True)
    inputs, labels = Batches(data, Transform(), device="cpu").read(np.arange(COUNT))

    def update() -> None:
        torch.nn.functional.cross_entropy(network(inputs), labels).backward()
        loop.step(optimizer, 1.0)

    return _milliseconds(update)


def _milliseconds(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


if __name__ == "__main__":
    main()
