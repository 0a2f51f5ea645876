"""Probes: heads on the cached features that are found without epochs.

A logistic regression, as CLIP reports it (Radford et al. 2021, arXiv:2103.00020), and the nearest
neighbours, as DINO does (Caron et al. 2021, arXiv:2104.14294). Each tries a fixed grid; the
validation rows choose. Nothing is drawn: all seeds give the same model.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import optimize
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from graft.config.models import Head
from graft.config.stages import TrainSettings
from graft.core.files import atomic
from graft.models import model_file
from graft.models.model_file import ModelDescription
from graft.models.neighbours import Distance, NeighbourHead, Neighbours
from graft.models.network import Network, Standardize, head_layers
from graft.training import loop, sampling, schedule
from graft.training.batches import Batches

STRENGTHS = tuple(10.0**power for power in range(-5, 3))
"""Of C: how much the losses count beside the penalty. The weakest last."""

COUNTS = (1, 3, 5, 10, 20, 50, 100, 200)
"""Of k: how many neighbours vote. Those above the number of training rows are left out."""

DISTANCES: tuple[Distance, ...] = ("cosine", "euclidean")

STEPS = 1000
"""Iterations of L-BFGS for each C, as CLIP has them."""

GRADIENT = 1e-6
"""L-BFGS ends where no derivative of the mean loss is larger."""

ELEMENTS = 1 << 20
"""Of features read at once: bounds the memory whatever the rows and their width."""


class Candidate(NamedTuple):
    """One of a grid: what it tries, its head, and what that makes of the validation rows."""

    tried: dict[str, Any]
    description: Head | NeighbourHead
    head: nn.Sequential
    outputs: torch.Tensor  # (n, classes) logits


def linear(head: Head) -> Head:
    """The description of one layer on standardised features, whatever the layers of `head`."""
    return Head(pool=head.pool, standardize=True)


def train(
    network: Network,
    train: Batches,
    val: Batches,
    *,
    settings: TrainSettings,
    description: ModelDescription,
    model: Path,
    history: Path,
) -> dict[str, Any]:
    """Find the head of a probe; write the model and its history; return the report.

    The network's head is `linear`, both `Batches` are of features at the pooling, of which the
    plain view is used. The history has one row, with epoch 0, because no epoch is trained.
    """
    select = schedule.metric(settings.train.select)
    grid = GRIDS[settings.mode](network.to(train.device), train, val, settings)
    histories: dict[int, list[schedule.Row]] = {}
    tuning: list[dict[str, Any]] = []
    for number, candidate in enumerate(tqdm(grid, desc="candidates")):
        scores = val.target.scores(candidate.outputs, val.data)
        row = {"epoch": 0} | {f"val_{name}": value for name, value in scores.items()}
        histories[number] = [row]
        done = {"epochs": 0, "best_epoch": 0, "val": scores[select], "diverged": False}
        tuning.append(candidate.tried | done)
        if schedule.selected_candidate(histories, select) == number:
            best, value, kept = candidate, scores[select], row
    network.head = best.head
    model_file.save(model, network.tensors(), replace(description, head=best.description).to_json())
    columns = ["epoch", "learning_rate", "train_loss", "train_accuracy", *list(kept)[1:]]
    with atomic(history) as temporary:
        pd.DataFrame([kept], columns=columns).to_csv(temporary, index=False, lineterminator="\n")
    return {
        "mode": settings.mode,
        "cut": settings.cut,
        "classes": description.classes,
        "samples": {"train": len(train), "val": len(val)},
        "rows_per_epoch": len(train),
        "epochs": 0,
        "updates": {"trials": 0, "full": 0},
        "warm_up": None,
        "select": settings.train.select,
        "best_epoch": 0,
        "best_value": value,
        "start_value": None,
        "stopped_early": False,
        "chosen": best.tried,
        "tuning": tuning,
    }


def logistic(
    network: Network, train: Batches, val: Batches, settings: TrainSettings
) -> Iterator[Candidate]:
    """A multinomial logistic regression for each C of STRENGTHS, each started from the last.

    C is that of scikit-learn: C * sum of the rows' losses + half the squared weights, without the
    bias, is minimised. With two classes it has two rows of weights, so that C is as 2 C with one.
    """
    loop.standardize(network, train, settings.precision)
    standardize, layer = network.head[0], network.head[-1]
    assert isinstance(standardize, Standardize) and isinstance(layer, nn.Linear)
    mean, std = standardize.mean.double(), standardize.std.double()
    shape = layer.out_features, layer.in_features
    weights = sampling.class_weights(train.labels, settings.train.balance, layer.out_features)
    of_class = torch.from_numpy(weights).to(train.device)

    def unpacked(values: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        both = torch.from_numpy(values).to(train.device)
        return both[: layer.weight.numel()].view(shape), both[layer.weight.numel() :]

    @torch.inference_mode()
    def objective(values: np.ndarray, strength: float) -> tuple[float, np.ndarray]:
        """Divided by C and the number of rows, with its gradient, in float64."""
        weight, bias = unpacked(values)
        penalty = 1 / (strength * len(train))
        loss = penalty / 2 * weight.square().sum()
        slope, offset = penalty * weight, torch.zeros_like(bias)
        for inputs, labels in _read(train, max(1, ELEMENTS // layer.in_features)):
            features = inputs.double().sub_(mean).div_(std)
            logits = torch.log_softmax(features @ weight.T + bias, 1)
            counts = of_class[labels] / len(train)
            errors = logits.exp() - functional.one_hot(labels, layer.out_features)
            errors *= counts[:, None]
            loss -= counts @ logits.gather(1, labels[:, None])[:, 0]
            slope += errors.T @ features
            offset += errors.sum(0)
        return loss.item(), torch.cat([slope.flatten(), offset]).cpu().numpy()

    values = np.zeros(layer.weight.numel() + layer.out_features)
    for strength in STRENGTHS:
        found = optimize.minimize(
            objective,
            values,
            (strength,),
            method="L-BFGS-B",
            jac=True,
            options={"maxiter": STEPS, "maxfun": 2 * STEPS, "gtol": GRADIENT, "ftol": 0},
        )
        values = found.x
        with torch.no_grad():
            for parameter, value in zip((layer.weight, layer.bias), unpacked(values), strict=True):
                parameter.copy_(value)
        outputs = loop.logits(network, val, settings.precision)
        description = linear(settings.train.head)
        yield Candidate({"C": strength}, description, copy.deepcopy(network.head), outputs)


@torch.inference_mode()
def neighbours(
    network: Network, train: Batches, val: Batches, settings: TrainSettings
) -> Iterator[Candidate]:
    """A vote of the k nearest training rows for each of DISTANCES and each k of COUNTS.

    The head holds all training rows in float32, those of one distance at a time and of the best.
    """
    loop.standardize(network, train, settings.precision)
    standardize, layer = network.head[0], network.head[-1]
    assert isinstance(layer, nn.Linear)
    weights = sampling.class_weights(train.labels, settings.train.balance, layer.out_features)
    counts = [k for k in COUNTS if k <= len(train)]
    for distance in DISTANCES:
        description = NeighbourHead(
            pool=settings.train.head.pool, distance=distance, k=counts[-1], neighbours=len(train)
        )
        head = head_layers(description, layer.in_features, layer.out_features).to(train.device)
        if description.standardize:
            head[0].load_state_dict(standardize.state_dict())
        before, vote = head[:-1], head[-1]
        assert isinstance(vote, Neighbours)
        vote.weights.copy_(torch.from_numpy(weights))
        filled = 0
        for inputs, labels in _read(train, max(1, ELEMENTS // layer.in_features)):
            rows = slice(filled, filled + len(labels))
            vote.features[rows], vote.labels[rows] = vote.prepare(before(inputs)), labels
            filled = rows.stop
        nearest = [
            vote.nearest(before(inputs), counts[-1])
            for inputs, _ in _read(val, loop.EVALUATION_BATCH)
        ]
        closeness, classes = (torch.cat(part) for part in zip(*nearest, strict=True))
        for k in counts:
            outputs = vote.vote(closeness[:, :k], classes[:, :k]).cpu()
            tried = {"k": k, "distance": distance}
            yield Candidate(tried, description.model_copy(update={"k": k}), head, outputs)


GRIDS = {"logistic_probe": logistic, "knn_probe": neighbours}


def _read(batches: Batches, rows: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(features float32, labels) of all samples in order, `rows` at a time."""
    for start in range(0, len(batches), rows):
        yield batches.read(np.arange(start, min(start + rows, len(batches))))
