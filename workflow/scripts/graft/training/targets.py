"""Targets: what a network is trained to tell of a picture, with its loss and its validation scores.

Which one it is follows from the labels: positions of classes are of one class per picture, a table
of classes of several or none (see `packs`).
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from graft.config.models import Hyperparameters
from graft.images import patches
from graft.images.packs import LEFT_OUT, Packs, class_counts
from graft.images.patch_rows import PatchRows

EXPONENT = 5
"""k in a picture's score (Oquab et al. 2014), while epochs are chosen."""

Rows = Packs | PatchRows
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Target(Protocol):
    """The interface of targets. Outputs are float32 logits (n, classes), labels those of a batch
    (see `Batches.read`)."""

    def loss(self, settings: Hyperparameters, data: Rows, device: str) -> Loss:
        """The mean loss of outputs and labels, for training on `data`."""

    def right(self, outputs: torch.Tensor, labels: torch.Tensor) -> float:
        """How many rows of a batch are right, where a row may be right in part."""

    def scores(self, outputs: torch.Tensor, data: Rows) -> dict[str, float]:
        """What validation measures of the outputs of all rows of `data`: at least `loss` and
        `accuracy`."""


class Multiclass:
    """One class per picture: the softmax of the logits."""

    def loss(self, settings: Hyperparameters, data: Rows, device: str) -> Loss:
        """The cross entropy: label smoothing and class weights as torch has them.

        Balanced weights are n / (K n_k) for n training rows of K classes, n_k of class k (King &
        Zeng 2001; scikit-learn's `class_weight="balanced"`).
        """
        weight = None
        if settings.class_weights == "balanced":
            counts = torch.from_numpy(class_counts(data.labels, data.classes))
            weight = (len(data.labels) / (len(counts) * counts)).float().to(device)
        return nn.CrossEntropyLoss(weight=weight, label_smoothing=settings.label_smoothing)

    def right(self, outputs: torch.Tensor, labels: torch.Tensor) -> float:
        truth = labels.argmax(1) if labels.ndim == 2 else labels  # a mixture: the larger
        return int((outputs.argmax(1) == truth).sum())

    def scores(self, outputs: torch.Tensor, data: Rows) -> dict[str, float]:
        """Mean cross entropy, accuracy and balanced accuracy."""
        truth = torch.from_numpy(data.labels)
        right = (outputs.argmax(1) == truth).numpy()
        per_class = [right[data.labels == label].mean() for label in np.unique(data.labels)]
        return {
            "loss": float(functional.cross_entropy(outputs, truth)),
            "accuracy": float(right.mean()),
            "balanced_accuracy": float(np.mean(per_class)),
        }


class Multilabel:
    """Any number of classes per picture: the sigmoid of each logit.

    Labels of LEFT_OUT count nowhere: there is no telling whether they should be found.
    """

    def loss(self, settings: Hyperparameters, data: Rows, device: str) -> Loss:
        """The mean binary cross entropy of all classes and rows.

        A `label_smoothing` of s makes the targets s / 2 and 1 - s / 2. Balanced weights multiply
        the loss of a class's positives by its negatives / positives among the training rows.
        """
        weight, smoothing = None, settings.label_smoothing
        if settings.class_weights == "balanced":
            positive, negative = ((data.labels == value).sum(axis=0) for value in (1, 0))
            weight = torch.from_numpy(negative / np.maximum(positive, 1)).float().to(device)

        def loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            counted = labels != LEFT_OUT
            wanted = (labels == 1).float() * (1 - smoothing) + smoothing / 2
            losses = functional.binary_cross_entropy_with_logits(
                outputs, wanted, pos_weight=weight, reduction="none"
            )
            return (losses * counted).sum() / counted.sum().clamp(min=1)

        return loss

    def right(self, outputs: torch.Tensor, labels: torch.Tensor) -> float:
        """Each row's share of classes that are decided rightly at a probability of one half."""
        counted = labels != LEFT_OUT
        right = ((outputs > 0) == (labels == 1)) & counted
        return float((right.sum(1) / counted.sum(1).clamp(min=1)).sum())

    def scores(self, outputs: torch.Tensor, data: Rows) -> dict[str, float]:
        """Mean binary cross entropy, the mean share of classes that are decided rightly, and the
        mean over classes of the average precision (that of scikit-learn)."""
        labels = torch.from_numpy(data.labels)
        plain = self.loss(Hyperparameters(), data, "cpu")
        return {
            "loss": float(plain(outputs, labels)),
            "accuracy": self.right(outputs, labels) / len(labels),
            "mean_ap": mean_average_precision(outputs.double().numpy(), data.labels),
        }


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """The mean over classes with positives; `scores` float (n, K), `labels` uint8 (n, K).

    NaN, or infinite, scores of a diverged network give 0; so do rows without any positive.
    """
    import sklearn.metrics  # takes half a second, which training with one class a picture saves

    if not np.isfinite(scores).all():
        return 0.0
    values = []
    for score, label in zip(scores.T, labels.T, strict=True):
        counted = label != LEFT_OUT
        if (label == 1).any():
            positive = label[counted] == 1
            values.append(sklearn.metrics.average_precision_score(positive, score[counted]))
    return float(np.mean(values)) if values else 0.0


class OfPatches(Multiclass):
    """One class per patch, or background, from which the classes of the picture follow."""

    def scores(self, outputs: torch.Tensor, data: Rows) -> dict[str, float]:
        """Mean cross entropy and accuracy of the patches, and the mean average precision of the
        pictures' scores (see `patches.scores`) at EXPONENT."""
        assert isinstance(data, PatchRows), "there are no pictures"
        found = super().scores(outputs, data)
        del found["balanced_accuracy"]
        picture_scores = patches.scores(
            functional.log_softmax(outputs.double(), 1).numpy(), data.starts, EXPONENT
        )
        return found | {"mean_ap": mean_average_precision(picture_scores, data.pictures.labels)}


MULTICLASS, MULTILABEL, OF_PATCHES = Multiclass(), Multilabel(), OfPatches()


def of(data: Rows) -> Target:
    """The target that the labels of some samples are for."""
    if isinstance(data, PatchRows):
        return OF_PATCHES
    return MULTILABEL if data.labels.ndim == 2 else MULTICLASS
