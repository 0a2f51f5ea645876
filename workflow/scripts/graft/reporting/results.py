"""Results of an experiment: what its stages wrote, read from their files and seals."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from graft.core.errors import GraftError

Run = tuple[str, int]
"""(mode, seed)."""

Record = dict[str, Any]
"""A seal: a stage's results, and its provenance under `seal`."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Samples:
    """The samples of a data set on their way to the predictions: counts and files by part."""

    structure: Record
    crops: dict[str, Record]
    packs: dict[str, Record]
    crop_files: list[Path]
    test_packs: list[Path]

    @classmethod
    def gather(
        cls, inputs: Mapping[str, list[Path]], records: Mapping[str, list[Record]]
    ) -> "Samples":
        """From a job's verified inputs: the roles `data_file`, `crops` and `packs`."""
        crops = {_part(record): record for record in records["crops"]}
        packs = {_part(record): record for record in records["packs"]}
        files = zip(inputs["packs"], packs, strict=True)
        return cls(
            structure=records["data_file"][0],
            crops=crops,
            packs=packs,
            crop_files=inputs["crops"],
            test_packs=[path for path, part in files if part.startswith("test")],
        )


@dataclass(frozen=True)
class Results:
    """What an experiment's stages wrote. Runs are in the order in which the experiment lists them.

    `comparison` is {} and `samples` raises where they were not gathered.
    """

    fits: dict[Run, Record]
    histories: dict[Run, pd.DataFrame]
    metrics: dict[Run, Record]
    predictions: dict[Run, Path]
    comparison: Record
    title: str = ""
    select: str = "accuracy"
    gathered: Samples | None = None

    @classmethod
    def gather(
        cls,
        inputs: Mapping[str, list[Path]],
        records: Mapping[str, list[Record]],
        *,
        title: str = "",
        select: str = "accuracy",
    ) -> "Results":
        """From a job's verified inputs: the roles `fits`, `predictions` and `comparison`, and those
        of `Samples` where there are any."""
        fits = [_run(record) for record in records["fits"]]
        predicted = [_run(record) for record in records["predictions"]]
        return cls(
            fits=dict(zip(fits, records["fits"], strict=True)),
            histories=dict(zip(fits, map(pd.read_csv, inputs["fits"]), strict=True)),
            metrics=dict(zip(predicted, records["predictions"], strict=True)),
            predictions=dict(zip(predicted, inputs["predictions"], strict=True)),
            comparison=records["comparison"][0] if records.get("comparison") else {},
            title=title,
            select=select,
            gathered=Samples.gather(inputs, records) if "data_file" in records else None,
        )

    @property
    def samples(self) -> Samples:
        assert self.gathered is not None, "no samples were gathered"
        return self.gathered

    @property
    def modes(self) -> list[str]:
        return list(dict.fromkeys(mode for mode, _ in self.fits))

    def of(self, mode: str, values: Mapping[Run, Value]) -> dict[int, Value]:
        """The values of one mode, by seed."""
        return {seed: value for (at, seed), value in values.items() if at == mode}

    def first_fit(self, mode: str) -> Record:
        """The fit of a mode's first seed: settings are the same for all seeds."""
        return next(iter(self.of(mode, self.fits).values()))

    def budget(self) -> str:
        """The candidates among which each mode chose on the validation rows, in words.

        A mode that starts from another's head has had that mode's candidates as well.
        """
        words = {mode: self._budget_of(mode) for mode in self.modes}
        if len(set(words.values())) == 1:
            return f"Every mode chose on validation among {next(iter(words.values()))}."
        return "On validation " + "; ".join(f"{m} chose among {w}" for m, w in words.items()) + "."

    def _budget_of(self, mode: str) -> str:
        fit = self.first_fit(mode)
        epochs = fit["seal"]["recipe"]["settings"]["train"]["epochs"]
        words = f"{len(fit['tuning'])} candidate(s) of at most {epochs} epochs"
        return f"{words}, after {fit['warm_up']}'s" if fit["warm_up"] else words

    def check_counts(self) -> None:
        """Raise GraftError unless every sample is counted from the archive to the predictions."""
        predicted = {f"{mode} {seed}": record["n"] for (mode, seed), record in self.metrics.items()}
        samples = self.samples
        check(samples.structure, samples.crops, samples.packs, predicted, self.title)


def _run(record: Record) -> Run:
    wildcards = record["seal"]["recipe"]["wildcards"]
    return wildcards["mode"], int(wildcards["seed"])


def _part(record: Record) -> str:
    return str(record["seal"]["recipe"]["wildcards"]["part"])


def check(
    structure: Mapping,
    crops: Mapping[str, Mapping],
    packs: Mapping[str, Mapping],
    predicted: Mapping[str, int],
    name: str,
) -> None:
    """Raise GraftError unless what goes into each stage comes out of it, kept or dropped.

    `structure` is the structure stage's counts, `crops` and `packs` map parts to theirs,
    `predicted` maps runs to their numbers of predictions.
    """
    total = structure["kept"] + sum(structure["dropped"].values())
    _equal(name, "published samples", structure["published"], "kept and dropped rows", total)
    listed = sum(sum(labels.values()) for labels in structure["splits"].values())
    _equal(name, "kept rows", structure["kept"], "rows of the splits", listed)
    rows = sum(part["rows"] for part in crops.values())
    _equal(name, "kept rows", structure["kept"], "rows that the crop stage read", rows)
    for part, counted in crops.items():
        after = counted["kept"] + sum(counted["dropped"].values())
        _equal(f"{name} {part}", "rows", counted["rows"], "kept and dropped crops", after)
    for part, counted in packs.items():
        kept = crops[part]["kept"]
        _equal(f"{name} {part}", "kept crops", kept, "packed pictures", counted["rows"])
    tested = sum(counted["rows"] for part, counted in packs.items() if part.startswith("test"))
    for run, number in predicted.items():
        _equal(f"{name} {run}", "packed test pictures", tested, "predictions", number)


def total_dropped(parts: Iterable[Mapping]) -> dict[str, int]:
    """Reasons and numbers, summed over parts."""
    return dict(sorted(sum((Counter(part["dropped"]) for part in parts), Counter()).items()))


def _equal(name: str, left: str, a: int, right: str, b: int) -> None:
    if a != b:
        raise GraftError(
            f"{name}: {a} {left} but {b} {right}; a sample was lost, which is a defect of Graft."
        )
