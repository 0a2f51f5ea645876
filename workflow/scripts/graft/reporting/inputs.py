"""What a run was trained and tested on, as MLflow's inputs: the data set by split, and the source.

Digests come from seals, so they are equal where the bytes are, in every experiment and mode.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from graft.core.files import JsonValue, digest
from graft.images.provenance import Pictures
from graft.reporting.results import Record
from graft.reporting.runs import mlflow_module

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

USES = {"train": "training", "val": "validation", "test": "test"}
"""Split -> MLflow's word for its use."""

PLACE = "results/data/{dataset}/packs"
"""The folder of a data set's packs, relative to the working directory."""

SOURCE = "source"
LENGTH = 16
"""Characters of a digest; MLflow takes at most 36."""


class Input(NamedTuple):
    """A data set, or weights that were transferred, as a run used it.

    use: of USES, or `source`. place: the folder or file, relative to the working directory.
    shape: (side, side, channels) of a picture, uint8; None of weights.
    """

    name: str
    digest: str
    use: str
    place: str
    profile: Mapping[str, JsonValue]
    shape: tuple[int, int, int] | None = None

    def to_mlflow(self) -> "DatasetInput":
        entities = mlflow_module().entities
        dataset = entities.Dataset(
            name=self.name,
            digest=self.digest,
            source_type="local",
            source=json.dumps({"uri": self.place}),
            schema=self._schema(),
            profile=json.dumps(self.profile),
        )
        return entities.DatasetInput(dataset, [entities.InputTag("mlflow.data.context", self.use)])

    def _schema(self) -> str | None:
        """As `mlflow.data.schema.TensorDatasetSchema` writes it."""
        if self.shape is None:
            return None
        tensors = {"features": ("uint8", (-1, *self.shape)), "targets": ("int64", (-1,))}
        specs = {
            name: json.dumps([{"type": "tensor", "tensor-spec": {"dtype": kind, "shape": shape}}])
            for name, (kind, shape) in tensors.items()
        }
        return json.dumps({"mlflow_tensorspec": specs})


def of_run(fit: Record, measured: Record, dataset: str, source: str) -> list[Input]:
    """The inputs of a run.

    fit, measured: the seals of its training and of its evaluation. dataset, source: their names;
    the source counts only where its weights were transferred.
    """
    seal = fit["seal"]
    settings = seal["recipe"]["settings"]
    rows = {**fit["samples"], "test": measured["n"]}
    pictures = {**fit["pictures"], **measured["pictures"]}
    about = {"architecture": settings["backbone"]["architecture"]}
    files = zip(seal["recipe"]["inputs"]["source"], seal["inputs"]["source"], strict=False)
    return [
        *(_split(dataset, split, rows[split], pictures[split], shape_of(fit)) for split in USES),
        *(
            Input(source, sha256[:LENGTH], SOURCE, file, {**about, "sha256": sha256})
            for file, sha256 in files
        ),
    ]


def shape_of(fit: Record) -> tuple[int, int, int]:
    """(side, side, channels) of the packed pictures of a training."""
    pack = fit["seal"]["recipe"]["settings"]["preparation"]["pack"]
    return pack["packed_size"], pack["packed_size"], 1 if pack["grayscale"] else 3


def _split(
    dataset: str, split: str, rows: int, pictures: Pictures, shape: tuple[int, int, int]
) -> Input:
    """A split, of which a run used so many rows; with fewer it is another data set."""
    profile: dict[str, JsonValue] = {"num_rows": rows}
    if rows == pictures["rows"]:
        profile["classes"] = pictures["classes"]
    name = digest([pictures["sha256"], rows])[:LENGTH]
    return Input(dataset, name, USES[split], PLACE.format(dataset=dataset), profile, shape)
