"""A linear probe of LFW, disk to disk: Graft's command against torchvision's tutorial.

    make bench-end-to-end                     # or python benchmarks/end_to_end.py --help

Both begin with the same aligned faces of 160 pixels on disk (from the kit in ../shared; packs for
Graft, JPEG files in a folder for each class for the tutorial) and end with the test accuracy of
SqueezeNet 1.1 with a new classifier, for each of some seeds, after so many epochs with a
validation after each. `tutorial` is "ConvNet as fixed feature extractor" of torchvision's tutorial
on transfer learning: all layers but the last are frozen, and every picture passes through all of
them in every epoch. It has all cores; Graft has as many jobs of one thread. Graft's time is that of
`snakemake all_evaluate` with an empty store: features, trainings, evaluations and starts.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

import machine  # noqa: E402
from projects import project_in  # noqa: E402

from graft.images.packs import open_parts  # noqa: E402

WEIGHTS = ROOT.parent / "shared/data/weights/squeezenet1_1_imagenet_features.pth"
SPLITS = ("train", "val", "test")


def prepare(folder: Path, seeds: int, epochs: int) -> Path:
    """A project with packs, and the same pictures as JPEG files below `faces`."""
    project = project_in(folder / "project")
    (folder / "shared").symlink_to(ROOT.parent / "shared")
    train = {"epochs": epochs, "patience": None, "lr": 0.001, "tune": {}}
    experiment = {
        "modes": ["feature_extraction"],
        "seeds": list(range(seeds)),
        "train_sizes": ["all"],
        "train": {**train, "modes": {"from_scratch": None, "fine_tuning": None}},
    }
    changes = {"compute": {"reproducible": "fast"}, "experiments": {"lfw_sex": experiment}}
    (project / "changes.yaml").write_text(yaml.safe_dump(changes), encoding="utf-8")
    snakemake(project, "all_pack")
    for split in SPLITS:
        data = open_parts(sorted((project / "results/data/lfw/packs").glob(f"{split}-*.h5")))
        for row, label in enumerate(np.asarray(data.labels)):
            path = folder / "faces" / split / data.classes[label] / f"{row:05d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(data.read(np.array([row]))[0]).save(path, quality=95)
    return project


def snakemake(project: Path, target: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "snakemake", target, "--cores", str(os.cpu_count())]
        + ["--configfile", "config/lfw_squeezenet.yaml", "changes.yaml"],
        cwd=project,
        env={**os.environ, "SNAKEMAKE_OUTPUT_CACHE": str(project / ".store")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr[-3000:])


def graft(project: Path) -> tuple[float, list[float]]:
    """Seconds, and the test accuracy of each seed."""
    for made in ("features", "experiments"):
        shutil.rmtree(project / "results" / made, ignore_errors=True)
    # Not the entries of the packs, to which the results are links.
    packs = {
        path.resolve().parent for path in (project / "results").rglob("*") if path.is_symlink()
    }
    for entry in (project / ".store").iterdir():
        if entry not in packs:
            shutil.rmtree(entry)
    start = time.perf_counter()
    snakemake(project, "all_evaluate")
    seconds = time.perf_counter() - start
    found = sorted(
        (project / "results/experiments/lfw_sex/feature_extraction").glob("*/metrics.json")
    )
    return seconds, [json.loads(path.read_text())["accuracy"] for path in found]


def tutorial(faces: Path, seeds: int, epochs: int, *, bf16: bool) -> tuple[float, list[float]]:
    """The tutorial's loop; with `bf16` under autocast and in channels last."""
    start = time.perf_counter()
    normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    plain = [transforms.ToTensor(), normalize]
    loaders = {
        split: DataLoader(
            datasets.ImageFolder(
                faces / split,
                transforms.Compose(
                    [transforms.RandomHorizontalFlip(), *plain] if split == "train" else plain
                ),
            ),
            batch_size=32,
            shuffle=split == "train",
        )
        for split in SPLITS
    }
    accuracies = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        model = models.squeezenet1_1(weights=None)
        model.load_state_dict(torch.load(WEIGHTS, weights_only=True), strict=False)
        for parameter in model.parameters():
            parameter.requires_grad = False
        model.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(512, len(loaders["train"].dataset.classes)),
        )
        if bf16:
            model = model.to(memory_format=torch.channels_last)
        optimizer = optim.SGD(model.classifier.parameters(), lr=0.001, momentum=0.9)
        scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
        for _ in range(epochs):
            model.train()
            epoch(model, loaders["train"], optimizer, bf16=bf16)
            scheduler.step()
            model.eval()
            epoch(model, loaders["val"], None, bf16=bf16)
        accuracies.append(epoch(model, loaders["test"], None, bf16=bf16))
    return time.perf_counter() - start, accuracies


def epoch(
    model: nn.Module, loader: DataLoader, optimizer: optim.Optimizer | None, *, bf16: bool
) -> float:
    """One pass over the pictures; the accuracy."""
    right = 0
    memory = torch.channels_last if bf16 else torch.contiguous_format
    for batch, labels in loader:
        inputs = batch.to(memory_format=memory)
        with (
            torch.set_grad_enabled(optimizer is not None),
            torch.autocast("cpu", torch.bfloat16, enabled=bf16),
        ):
            outputs = model(inputs)
            loss = nn.functional.cross_entropy(outputs, labels)
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        right += int((outputs.argmax(1) == labels).sum())
    return right / len(loader.dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description="A linear probe, disk to disk.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3, help="of Graft's run, between the others")
    options = parser.parse_args()
    print(machine.heading(f"{options.seeds} seeds, {options.epochs} epochs"))
    with tempfile.TemporaryDirectory(prefix="graft-end-to-end-") as name:
        folder = Path(name)
        project, faces = prepare(folder, options.seeds, options.epochs), folder / "faces"
        own, loops = [], {}
        for bf16 in (True, False):
            own.append(graft(project))
            label = "tutorial, bf16 in channels last" if bf16 else "tutorial, fp32"
            loops[label] = tutorial(faces, options.seeds, options.epochs, bf16=bf16)
        own += [graft(project) for _ in range(options.repeats - len(own))]
        seconds = sorted(time for time, _ in own)
        median = seconds[len(seconds) // 2]
        print("| | seconds | Graft is faster by | test accuracy |\n|---|---|---|---|")
        texts = ", ".join(f"{time:.1f}" for time in seconds)
        print(f"| Graft | {texts} | | {np.mean(own[0][1]):.3f} |")
        for label, (time_, accuracies) in loops.items():
            print(f"| {label} | {time_:.1f} | {time_ / median:.1f} | {np.mean(accuracies):.3f} |")
    print(f"\nat the end {machine.load()}")


if __name__ == "__main__":
    main()
