"""Inputs in MLflow: the same digest for the same bytes, whatever the mode, and counts by class."""

import json

import mlflow.data
import numpy as np
from mlflow.data.schema import TensorDatasetSchema
from mlflow.types import Schema, TensorSpec

from graft.reporting.inputs import Input, of_run

PICTURES = {
    "train": {"sha256": "ab", "rows": 5, "classes": {"m": 3, "f": 2}},
    "val": {"sha256": "ef", "rows": 2, "classes": {"m": 1, "f": 1}},
    "test": {"sha256": "01", "rows": 4, "classes": {"m": 2, "f": 2}},
}


def inputs(*, train=5, source=(), sha256="ab") -> dict[str, Input]:
    """Of a run on so many training rows; source: the sha256 of its file."""
    files = ["results/sources/vgg.safetensors", "results/sources/vgg.seal.json"]
    recipe = {
        "settings": {
            "backbone": {"architecture": "vgg_mini"},
            "preparation": {"pack": {"packed_size": 32, "grayscale": True}},
        },
        "inputs": {"source": files if source else []},
    }
    pictures = {**PICTURES, "train": {**PICTURES["train"], "sha256": sha256}}
    fit = {
        "samples": {"train": train, "val": 2},
        "pictures": {split: pictures[split] for split in ("train", "val")},
        "seal": {"recipe": recipe, "inputs": {"source": list(source)}},
    }
    measured = {"n": 4, "pictures": {"test": pictures["test"]}}
    return {item.use: item for item in of_run(fit, measured, "faces", "vgg")}


def test_the_splits_have_their_counts_and_a_digest_of_their_own():
    found = inputs()
    assert list(found) == ["training", "validation", "test"]
    profile = {"num_rows": 5, "classes": {"m": 3, "f": 2}}
    assert found["training"]._replace(digest="") == Input(
        "faces", "", "training", "results/data/faces/packs", profile, (32, 32, 1)
    )
    assert len({item.digest for item in found.values()}) == 3
    assert all(0 < len(item.digest) <= 36 for item in found.values())


def test_a_digest_follows_the_bytes_and_the_rows_of_its_split():
    before = {use: item.digest for use, item in inputs().items()}
    for after in (inputs(sha256="xy"), inputs(train=4)):
        assert {use for use, item in after.items() if item.digest != before[use]} == {"training"}
    # Which rows were left out is not known here.
    assert inputs(train=4)["training"].profile == {"num_rows": 4}


def test_a_source_counts_where_its_weights_were_transferred():
    found = inputs(source=["5" * 64])["source"]
    assert (found.name, found.place) == ("vgg", "results/sources/vgg.safetensors")
    assert found.profile == {"architecture": "vgg_mini", "sha256": "5" * 64}
    assert {use: item.digest for use, item in inputs().items()}.items() <= {
        use: item.digest for use, item in inputs(source=["5" * 64]).items()
    }.items()


def test_mlflow_reads_source_and_schema():
    made = inputs()["training"].to_mlflow()
    assert [(tag.key, tag.value) for tag in made.tags] == [("mlflow.data.context", "training")]
    assert mlflow.data.get_source(made.dataset).uri == "results/data/faces/packs"
    pictures = TensorSpec(np.dtype(np.uint8), (-1, 32, 32, 1))
    labels = TensorSpec(np.dtype(np.int64), (-1,))
    schema = TensorDatasetSchema(Schema([pictures]), Schema([labels])).to_dict()
    assert json.loads(made.dataset.schema) == schema
