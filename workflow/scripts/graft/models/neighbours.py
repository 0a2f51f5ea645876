"""A head without trained weights: the nearest training rows vote for their classes."""

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from graft.config.types import Positive, Settings

TEMPERATURE = 0.07
"""Of the votes by cosine similarity (Wu et al. 2018, arXiv:1805.01978)."""

Distance = Literal["cosine", "euclidean"]


class NeighbourHead(Settings):
    """What a head of neighbours is built from; its tensors hold the training rows."""

    pool: Literal["avgpool", "flatten"]
    distance: Distance
    k: Positive
    neighbours: Positive
    """the training rows that it holds, at least `k`"""

    @property
    def standardize(self) -> bool:
        """Cosines are of the features as they are."""
        return self.distance == "euclidean"


class Neighbours(nn.Module):
    """Features (n, width) -> log-probabilities (n, classes) by a vote of the k nearest rows.

    With `cosine` a row votes by exp(similarity / TEMPERATURE), as in DINO (Caron et al. 2021,
    arXiv:2104.14294); the votes are scaled to sum to k. With `euclidean` each has one vote. A vote
    counts as much as the `weights` of its class say. One more vote is divided equally among the
    classes, so that no probability is 0: (votes of the class + 1 / classes) / (all votes + 1).

    `features` float32 (rows, width) are unit vectors with `cosine`, `labels` int64 (rows,), and
    `weights` float32 (classes,), 1 unless set. Computes in float32, whatever the autocast.
    """

    features: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor

    def __init__(self, head: NeighbourHead, width: int, classes: int):
        super().__init__()
        self.k, self.distance = head.k, head.distance
        self.register_buffer("features", torch.zeros(head.neighbours, width))
        self.register_buffer("labels", torch.zeros(head.neighbours, dtype=torch.int64))
        self.register_buffer("weights", torch.ones(classes))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.vote(*self.nearest(features, self.k))

    def prepare(self, features: torch.Tensor) -> torch.Tensor:
        """Features as they are compared."""
        return functional.normalize(features) if self.distance == "cosine" else features

    def nearest(self, features: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(closeness, labels) of the k nearest rows, both (n, k), the nearest first.

        The closeness is the cosine, or minus the squared distance plus a constant of each n. The
        rows are compared at once: (n, rows) numbers are held.
        """
        with torch.autocast(features.device.type, enabled=False):
            closeness = self.prepare(features.float()) @ self.features.T
            if self.distance == "euclidean":
                closeness = 2 * closeness - self.features.square().sum(1)
        closest, rows = closeness.topk(k, dim=1)
        return closest, self.labels[rows]

    def vote(self, closeness: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Log-probabilities float32 (n, classes) of what `nearest` returns."""
        votes = torch.ones_like(closeness)
        if self.distance == "cosine":
            votes = closeness.shape[1] * (closeness / TEMPERATURE).softmax(1)
        classes = len(self.weights)
        sums = (
            votes.new_zeros((votes.shape[0], classes)).scatter_add(1, labels, votes) * self.weights
        )
        return ((sums + 1 / classes) / (sums.sum(1, keepdim=True) + 1)).log()
