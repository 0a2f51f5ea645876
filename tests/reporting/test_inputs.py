"""Inputs in MLflow: the same digest for the same bytes, whatever the mode, and counts by class."""

import json
from pathlib import PurePath

import mlflow.data
import numpy as np
from mlflow.data.schema import TensorDatasetSchema
from mlflow.types import Schema, TensorSpec

from graft.reporting.inputs import Dataset, Input, of_run


def pack(part, rows, classes, sha256="ab"):
    """The seal of a pack."""
    settings = {"packed_size": 32, "grayscale": True, "equalize": False}
    recipe = {"wildcards": {"part": part}, "settings": settings}
    outputs = {"pack": {"sha256": sha256}}
    counts = dict(zip("mf", classes, strict=True))
    return {"rows": rows, "classes": counts, "seal": {"recipe": recipe, "outputs": outputs}}


PACKS = [
    pack("train-00", 3, (1, 2)),
    pack("train-01", 2, (2, 0), "cd"),
    pack("val-00", 2, (1, 1), "ef"),
    pack("test-00", 4, (2, 2), "01"),
]


def fit(*, train=5, source=()):
    """The seal of a training."""
    files = ["results/sources/vgg.safetensors", "results/sources/vgg.seal.json"]
    recipe = {
        "settings": {"backbone": {"architecture": "vgg_mini"}},
        "inputs": {"source": files if source else []},
    }
    seal = {"recipe": recipe, "inputs": {"source": list(source)}}
    return {"samples": {"train": train, "val": 2}, "seal": seal}


def inputs(packs=PACKS, **about) -> dict[str, Input]:
    dataset = Dataset("faces", PurePath("results/data/faces/packs"), packs)
    return {item.use: item for item in of_run(fit(**about), 4, dataset, "vgg")}


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
    changed = [pack("train-00", 3, (1, 2), "xy"), *PACKS[1:]]
    for after in (inputs(changed), inputs(train=4)):
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
