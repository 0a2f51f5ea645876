"""What a run was trained and tested on, as MLflow's inputs: the data set by split, and the source.

Digests come from seals, so they are equal where the bytes are, in every experiment and mode.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from graft.core.files import JsonValue, digest
from graft.reporting.results import Record, wildcard
from graft.reporting.runs import mlflow_module

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

USES = {"train": "training", "val": "validation", "test": "test"}
"""Split -> MLflow's word for its use."""

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


class Dataset(NamedTuple):
    """A data set: the folder of its packs, relative to the working directory, and their seals."""

    name: str
    place: PurePath
    packs: Sequence[Record]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(side, side, channels) of its pictures."""
        settings = self.packs[0]["seal"]["recipe"]["settings"]
        side = settings["packed_size"]
        return side, side, 1 if settings["grayscale"] else 3

    def split(self, split: str, rows: int) -> Input:
        """One split, of which a run used so many rows."""
        parts = [pack for pack in self.packs if wildcard(pack, "part").startswith(f"{split}-")]
        profile: dict[str, JsonValue] = {"num_rows": rows}
        if rows == sum(part["rows"] for part in parts):
            classes = parts[0]["classes"]
            profile["classes"] = {name: sum(p["classes"][name] for p in parts) for name in classes}
        # With fewer rows it is another data set.
        sha256 = [part["seal"]["outputs"]["pack"]["sha256"] for part in parts]
        name = digest([sha256, rows])[:LENGTH]
        return Input(self.name, name, USES[split], str(self.place), profile, self.shape)


def of_run(fit: Record, tested: int, dataset: Dataset, source: str) -> list[Input]:
    """The inputs of a run.

    fit: its seal. tested: the number of test rows. source: the name of the source, which counts
    only where its weights were transferred.
    """
    seal = fit["seal"]
    rows = {**fit["samples"], "test": tested}
    about = {"architecture": seal["recipe"]["settings"]["backbone"]["architecture"]}
    files = zip(seal["recipe"]["inputs"]["source"], seal["inputs"]["source"], strict=False)
    return [
        *(dataset.split(split, rows[split]) for split in USES),
        *(
            Input(source, sha256[:LENGTH], SOURCE, file, {**about, "sha256": sha256})
            for file, sha256 in files
        ),
    ]
