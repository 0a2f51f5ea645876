"""What networks are trained to tell: losses and scores of one class per picture and of several."""

from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.metrics
import torch
from builders import hyperparameters
from torch.nn import functional

from graft.images.packs import LEFT_OUT
from graft.training import targets


def several(labels):
    return SimpleNamespace(labels=np.array(labels, np.uint8), classes=["a", "b"])


def test_the_target_follows_from_the_labels():
    assert targets.of(several([[0, 1]])) is targets.MULTILABEL
    one = SimpleNamespace(labels=np.array([0, 1]), classes=["a", "b"])
    assert targets.of(one) is targets.MULTICLASS


def test_the_loss_of_several_classes_is_torch_s_without_what_is_left_out():
    data = several([[0, 1], [1, LEFT_OUT], [0, 0]])
    outputs = torch.tensor([[0.5, -1], [2, 3], [-1, 0.2]], requires_grad=True)
    loss = targets.MULTILABEL.loss(hyperparameters(), data, "cpu")
    counted = [(0.5, 0.0), (-1.0, 1.0), (2.0, 1.0), (-1.0, 0.0), (0.2, 0.0)]
    logits, wanted = (torch.tensor(values) for values in zip(*counted, strict=True))
    found = loss(outputs, torch.from_numpy(data.labels))
    assert found.item() == pytest.approx(
        functional.binary_cross_entropy_with_logits(logits, wanted).item()
    )
    found.backward()
    assert outputs.grad[1, 1] == 0 and outputs.grad[1, 0] != 0


def test_smoothing_and_balanced_weights_of_several_classes():
    data = several([[1, 1], [0, 1], [0, 1], [0, 0]])
    labels, outputs = torch.from_numpy(data.labels), torch.zeros(4, 2)
    smooth = targets.MULTILABEL.loss(hyperparameters(label_smoothing=0.2), data, "cpu")
    wanted = labels * 0.8 + 0.1
    outputs[:] = torch.tensor([1.0, -2])
    assert smooth(outputs, labels).item() == pytest.approx(
        functional.binary_cross_entropy_with_logits(outputs, wanted).item()
    )
    balanced = targets.MULTILABEL.loss(hyperparameters(class_weights="balanced"), data, "cpu")
    weights = torch.tensor([3.0, 1 / 3])
    assert balanced(outputs, labels).item() == pytest.approx(
        functional.binary_cross_entropy_with_logits(
            outputs, labels.float(), pos_weight=weights
        ).item()
    )


def test_scores_of_several_classes():
    data = several([[0, 1], [1, LEFT_OUT], [1, 0]])
    outputs = torch.tensor([[0.5, 1], [2, 3], [-1, 0.2]])
    found = targets.MULTILABEL.scores(outputs, data)
    # Right: b of the first, a of the second; the third has both wrong.
    assert found["accuracy"] == pytest.approx((0.5 + 1 + 0) / 3)
    a = sklearn.metrics.average_precision_score([0, 1, 1], [0.5, 2, -1])
    assert found["mean_ap"] == pytest.approx((a + 1) / 2)
    diverged = targets.MULTILABEL.scores(outputs * float("nan"), data)
    assert diverged["mean_ap"] == 0 and np.isnan(diverged["loss"])
