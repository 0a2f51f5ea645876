"""Probes: they find what scikit-learn finds, and make models like any other."""

import json

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from networks import CPU, run, train_settings
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from graft.config import architectures
from graft.config.models import Head
from graft.core import hdf5
from graft.evaluation import evaluate
from graft.images.packs import open_parts
from graft.models import export, model_file
from graft.models.neighbours import TEMPERATURE, NeighbourHead, Neighbours
from graft.models.network import head_layers
from graft.training import probes
from graft.training.batches import Batches

WIDTH = 6


class Stub(torch.nn.Module):
    """A network of features alone."""

    def __init__(self, classes):
        super().__init__()
        self.classes, self.suffix = classes, torch.nn.Sequential()
        self.head = head_layers(Head(), WIDTH, classes)

    def forward(self, features):
        return self.head(self.suffix(features))


def rows(path, count, seed, classes):
    """Two views of features, float16; the second is wrong. Classes overlap and are unequal."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, count, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    labels[:classes] = np.arange(classes)
    centres = np.random.default_rng(99).normal(0, 1, (classes, WIDTH))
    features = rng.normal(centres[labels], 1) * [1, 10, 0.1, 1, 1, 5] + [0, 50, 0, 1, 2, 3]
    with hdf5.create(path, {}) as file:
        hdf5.write(file, "features", np.stack([features, -features], 1).astype(np.float16))
        hdf5.write(file, "labels", labels)
        hdf5.write_strings(file, "sample_id", [f"{seed}-{i}" for i in range(count)])
        hdf5.write_strings(file, "group", [f"{seed}-{i}" for i in range(count)])
        file.attrs["classes"] = json.dumps([f"c{n}" for n in range(classes)])
    return Batches(open_parts([path]), None, device="cpu")


def features_of(batches):
    """(standardised, as they are, labels) of all rows, float64."""
    plain = batches.data.read(np.arange(len(batches)))[:, 0].astype(np.float64)
    return plain, batches.labels


def candidates(grid, tmp_path, mode, classes, **changes):
    """What a grid finds on 90 and 40 rows, and their features."""
    train, val = (rows(tmp_path / f"{n}.h5", n, n, classes) for n in (90, 40))
    settings = train_settings(mode, "avgpool", **changes)
    return list(grid(Stub(classes), train, val, settings)), features_of(train), features_of(val)


@pytest.mark.parametrize("balance", ["none", "weighted"])
@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regressions_are_those_of_scikit_learn(tmp_path, monkeypatch, classes, balance):
    monkeypatch.setattr(probes, "ELEMENTS", 7 * WIDTH)  # batches of 7 rows, the last one of 6
    found, train, val = candidates(
        probes.logistic, tmp_path, "logistic_probe", classes, balance=balance
    )
    scale = StandardScaler().fit(train[0])
    assert [candidate.tried["C"] for candidate in found] == list(probes.STRENGTHS)
    for candidate in found:
        # Two classes have two rows of weights here, which are penalised both.
        strength = candidate.tried["C"] * (2 if classes == 2 else 1)
        weight = None if balance == "none" else "balanced"
        theirs = LogisticRegression(C=strength, tol=1e-9, max_iter=10000, class_weight=weight)
        theirs.fit(scale.transform(train[0]), train[1])
        ours = candidate.head[-1].weight.detach().double().numpy()
        expected = (
            np.concatenate([-theirs.coef_, theirs.coef_]) / 2 if classes == 2 else theirs.coef_
        )
        np.testing.assert_allclose(ours, expected, atol=1e-3)
        probabilities = softmax(candidate.outputs.double().numpy(), axis=1)
        np.testing.assert_allclose(
            probabilities, theirs.predict_proba(scale.transform(val[0])), atol=1e-3
        )


def test_equal_votes_are_those_of_scikit_learn(tmp_path):
    found, train, val = candidates(probes.neighbours, tmp_path, "knn_probe", 3)
    scale = StandardScaler().fit(train[0])
    assert [c.tried["k"] for c in found if c.tried["distance"] == "euclidean"] == [
        *(1, 3, 5, 10, 20, 50)  # of 90 rows
    ]
    for candidate in found:
        k = candidate.tried["k"]
        if candidate.tried["distance"] == "euclidean":
            theirs = KNeighborsClassifier(k).fit(scale.transform(train[0]), train[1])
            shares = theirs.predict_proba(scale.transform(val[0]))
            expected = (k * shares + 1 / 3) / (k + 1)
            np.testing.assert_allclose(candidate.outputs.exp().numpy(), expected, atol=1e-6)


def test_cosine_votes_are_weighted_and_smoothed_by_hand():
    vote = Neighbours(NeighbourHead(pool="avgpool", distance="cosine", k=3, neighbours=4), 2, 2)
    vote.features.copy_(vote.prepare(torch.tensor([[2.0, 0], [3, 4], [0, 7], [-1, 0]])))
    vote.labels.copy_(torch.tensor([0, 1, 1, 0]))
    # Of (5, 0) the cosines are 1, 0.6, 0 and -1; the last is not among the three nearest.
    weights = np.exp(np.array([1, 0.6, 0]) / TEMPERATURE)
    weights *= 3 / weights.sum()
    expected = np.log((np.array([weights[0], weights[1] + weights[2]]) + 0.5) / 4)
    with torch.autocast("cpu", torch.bfloat16):
        votes = vote(torch.tensor([[5.0, 0]]))
    np.testing.assert_allclose(votes[0].numpy(), expected, rtol=1e-5)


def test_votes_count_by_class_where_rows_are_balanced(tmp_path):
    plain, train, _ = candidates(probes.neighbours, tmp_path, "knn_probe", 3)
    balanced, _, _ = candidates(probes.neighbours, tmp_path, "knn_probe", 3, balance="upsample")
    counts = np.bincount(train[1])
    for one, other in zip(plain, balanced, strict=True):
        k = one.tried["k"]
        votes = (one.outputs.double().exp().numpy() * (k + 1) - 1 / 3) * (90 / 3 / counts)
        expected = (votes + 1 / 3) / (votes.sum(1, keepdims=True) + 1)
        np.testing.assert_allclose(other.outputs.exp().numpy(), expected, atol=1e-4)


def test_every_probe_has_a_grid():
    assert tuple(probes.GRIDS) == architectures.PROBES


@pytest.mark.parametrize("mode", architectures.PROBES)
def test_a_probe_is_a_model_like_any_other(data, tmp_path, mode):
    options = {"head": {"hidden": [8], "dropout": 0.5, "standardize": False}, "select": "last"}
    model, report = run(data, tmp_path / "a", mode, "avgpool", **options)
    other, _ = run(data, tmp_path / "b", mode, "avgpool", seed=4, **options)
    assert other.read_bytes() == model.read_bytes(), "the seed draws nothing"

    history = pd.read_csv(tmp_path / "a/history.csv")
    assert history["epoch"].tolist() == [0] == [report["best_epoch"]]
    assert (
        report["best_value"]
        == history["val_accuracy"][0]
        == max(candidate["val"] for candidate in report["tuning"])
    )
    assert report["transfer"]["imported"] == report["transfer"]["of"] > 0
    assert report["transfer"]["frozen_blocks"] == [f"block{n}" for n in range(1, 6)]
    feature_extraction, theirs = run(
        data, tmp_path / "c", "feature_extraction", "avgpool", epochs=1
    )
    assert report.keys() == theirs.keys()
    assert list(history) == list(pd.read_csv(feature_extraction.parent / "history.csv"))

    val = [data / "avgpool-val.h5"]
    frame, _, _ = evaluate.predict(model, val, val, threads=1, **CPU)
    assert (frame["true"] == frame["predicted"]).mean() == report["best_value"] >= 0.9
    network, description = model_file.load_network(model)
    assert model_file.ModelDescription.from_json(description.to_json()) == description
    pictures = open_parts([data / "val.h5"]).read(np.arange(12))
    written = export.write(model, tmp_path / "model.onnx")
    assert written["classes"] == description.classes
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    inputs = pictures.transpose(0, 3, 1, 2).astype(np.float32)
    _, probabilities = session.run(None, {"pictures": inputs})
    expected = frame[["confidence_dark", "confidence_light"]].to_numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-2)  # the features are float16
