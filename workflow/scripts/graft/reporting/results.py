"""Results of an experiment: what its stages wrote, read from their files and seals."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from graft.config.architectures import PROBES
from graft.core.errors import GraftError
from graft.evaluation.caveats import caveats
from graft.evaluation.failure import Failure, failure, supports
from graft.evaluation.predictions import read_predictions
from graft.training import schedule

Run = tuple[str, int]
"""(mode, seed)."""

Record = dict[str, Any]
"""A seal: a stage's results, and its provenance under `seal`."""

Files = Mapping[str, list[Path]]
Records = Mapping[str, list[Record]]
"""A job's verified inputs, and their seals, by role."""

Value = TypeVar("Value")


class Drop(NamedTuple):
    """Samples that a stage dropped for a reason: their numbers by split, "" for none yet."""

    stage: str
    reason: str
    splits: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.splits.values())


@dataclass(frozen=True)
class Samples:
    """The samples of a data set on their way to the predictions: counts and files by part."""

    structure: Record
    crops: dict[str, Record]
    tested: int
    """Packed test pictures."""
    crop_files: list[Path]
    test_packs: list[Path]
    counted: Sequence[Record] = ()
    """The seals, of any stage that works on the data set, that count what it dropped."""

    @classmethod
    def gather(cls, files: Files, records: Records) -> "Samples":
        """From the roles `data_file`, `crops` and `test_packs`."""
        crops = {wildcard(record, "part"): record for record in records["crops"]}
        return cls(
            structure=records["data_file"][0],
            crops=crops,
            tested=sum(record["rows"] for record in records["test_packs"]),
            crop_files=files["crops"],
            test_packs=files["test_packs"],
            counted=[
                record
                for role in records.values()
                for record in role
                if "dropped" in record and "dataset" in record["seal"]["recipe"]["wildcards"]
            ],
        )

    def drops(self) -> list[Drop]:
        """What was dropped: the stages in their order, the commonest reasons first. A stage that
        works on parts has its split from their names; the samples of others that no split is
        counted for (`dropped_from`) had none yet."""
        totals: dict[tuple[str, str], Counter[str]] = {}
        for record in self.counted:
            stage, part = record["seal"]["stage"], record["seal"]["recipe"]["wildcards"].get("part")
            known = record.get("dropped_from", {})
            for reason, number in record["dropped"].items():
                splits = totals.setdefault((stage, reason), Counter())
                own = {split: n.get(reason, 0) for split, n in known.items() if split}
                splits.update(own)
                splits[part.split("-")[0] if part else ""] += number - sum(own.values())
        stages = list(dict.fromkeys(stage for stage, _ in totals))
        found = [Drop(stage, reason, splits) for (stage, reason), splits in totals.items()]
        return sorted(
            (drop for drop in found if drop.total),
            key=lambda drop: (stages.index(drop.stage), -drop.total, drop.reason),
        )


@dataclass(frozen=True)
class Results:
    """What an experiment's stages wrote. Runs are in the order in which the experiment lists them.

    `comparison` is {} where it was not gathered, `samples` then raises.
    """

    fits: dict[Run, Record]
    histories: dict[Run, pd.DataFrame]
    metrics: dict[Run, Record]
    predictions: dict[Run, Path]
    comparison: Record
    title: str = ""
    select: str = "accuracy"
    gathered: Samples | None = None
    target: bool = True

    @classmethod
    def gather(
        cls,
        files: Files,
        records: Records,
        *,
        title: str = "",
        select: str = "accuracy",
        target: bool = True,
    ) -> "Results":
        """From the roles `fits` and `predictions`, `comparison` if given, and those of `Samples`
        if given."""
        fits = [_run(record) for record in records["fits"]]
        predicted = [_run(record) for record in records["predictions"]]
        return cls(
            fits=dict(zip(fits, records["fits"], strict=True)),
            histories=dict(zip(fits, map(pd.read_csv, files["fits"]), strict=True)),
            metrics=dict(zip(predicted, records["predictions"], strict=True)),
            predictions=dict(zip(predicted, files["predictions"], strict=True)),
            comparison=records["comparison"][0] if "comparison" in records else {},
            title=title,
            select=select,
            target=target,
            gathered=Samples.gather(files, records) if "data_file" in records else None,
        )

    @property
    def samples(self) -> Samples:
        assert self.gathered is not None, "no samples were gathered"
        return self.gathered

    @property
    def several(self) -> bool:
        """Whether a picture may have several classes, or none."""
        return any("per_class" in run for run in self.metrics.values())

    @property
    def modes(self) -> list[str]:
        return list(dict.fromkeys(mode for mode, _ in self.fits))

    def of(self, mode: str, values: Mapping[Run, Value]) -> dict[int, Value]:
        """The values of one mode, by seed."""
        return {seed: value for (at, seed), value in values.items() if at == mode}

    def first_fit(self, mode: str) -> Record:
        """The fit of a mode's first seed: settings are the same for all seeds."""
        return next(iter(self.of(mode, self.fits).values()))

    def failures(self, metric: str) -> dict[Run, Failure]:
        """Runs that failed, judged by `metric` (see `evaluation.failure`), and why."""
        found = {
            run: failure(
                self.metrics[run],
                self.histories[run],
                metric=metric,
                select=schedule.metric(fit["select"]),
                best_epoch=fit["best_epoch"],
                val_rows=fit["samples"]["val"],
                rebalanced=fit["seal"]["recipe"]["settings"]["train"]["balance"] != "none",
                probe=run[0] in PROBES,
            )
            for run, fit in self.fits.items()
        }
        return {run: why for run, why in found.items() if why is not None}

    def failures_by_mode(self, metric: str) -> dict[str, dict[int, Failure]]:
        """The same as mode -> seed -> why."""
        failures = self.failures(metric)
        return {mode: self.of(mode, failures) for mode in self.modes}

    def tables(self) -> dict[str, dict[int, pd.DataFrame]]:
        """The predictions as mode -> seed -> table, as `compare.compare` takes them."""
        return {mode: self.tables_of(mode) for mode in self.modes}

    def tables_of(self, mode: str) -> dict[int, pd.DataFrame]:
        files = self.of(mode, self.predictions)
        return {seed: read_predictions(path) for seed, path in files.items()}

    def warm_ups(self) -> dict[str, str]:
        """Modes that start from the head of another mode -> that mode."""
        heads = {mode: self.first_fit(mode)["warm_up"] for mode in self.modes}
        return {mode: head for mode, head in heads.items() if head}

    def budget(self) -> str:
        """The candidates among which each mode was chosen on the validation samples."""
        budgets = {mode: _budget(self.first_fit(mode)) for mode in self.modes}
        if len(set(budgets.values())) == 1:
            return (
                f"Every mode was chosen on the validation samples among {budgets[self.modes[0]]}."
            )
        listed = "; ".join(f"{mode} among {budget}" for mode, budget in budgets.items())
        return f"Chosen on the validation samples: {listed}."

    def notes(self) -> list[str]:
        """Sentences on how the modes were trained."""
        return [
            self.budget(),
            *(
                f"{mode} starts from the head of {head}, which was chosen in the same way (LP-FT: "
                "linear probing, then fine-tuning; Kumar et al., 2022)."
                for mode, head in self.warm_ups().items()
            ),
        ]

    def caveats(self) -> list[str]:
        """How the samples were read, and what a reviewer would object to (see
        `evaluation.caveats`); of uneven splits and repeated pictures too."""
        measured, fit = next(iter(self.metrics.values())), next(iter(self.fits.values()))
        sentences = caveats(
            self.comparison,
            supports(measured),
            measured["classes"],
            val_rows=fit["samples"]["val"],
            seeds=len({seed for _, seed in self.fits}),
            target=self.target,
        )
        structure = self.gathered.structure if self.gathered else {}
        sentences = [*structure.get("notes", []), *sentences]
        uneven = structure.get("uneven", [])
        if uneven:
            more = f" and {len(uneven) - 2} more" if len(uneven) > 2 else ""
            sentences.append(
                f"The split is uneven: {'; '.join(uneven[:2])}{more}. Another split.seed divides "
                "otherwise."
            )
        return sentences

    def check_counts(self) -> None:
        """Raise GraftError unless each stage keeps or drops every sample that it receives."""

        def equal(where: str, left: str, a: int, right: str, b: int) -> None:
            if a != b:
                raise GraftError(
                    f"{where}: there are {a} {left}, but {b} {right}. A sample was lost, which is "
                    "a defect of Graft: please report it."
                )

        name, structure, crops = self.title, self.samples.structure, self.samples.crops
        total = structure["kept"] + sum(structure["dropped"].values())
        equal(name, "published samples", structure["published"], "kept and dropped rows", total)
        listed = sum(structure["rows"].values())
        equal(name, "kept rows", structure["kept"], "rows of the splits", listed)
        rows = sum(part["rows"] for part in crops.values())
        equal(name, "kept rows", structure["kept"], "rows that the crop stage read", rows)
        for part, counted in crops.items():
            after = counted["kept"] + sum(counted["dropped"].values())
            equal(f"{name} {part}", "rows", counted["rows"], "kept and dropped crops", after)
        kept = sum(part["kept"] for name, part in crops.items() if name.startswith("test-"))
        tested = self.samples.tested
        equal(f"{name} test", "kept crops", kept, "packed pictures", tested)
        for (mode, seed), run in self.metrics.items():
            where = f"{name} {mode} {seed}"
            equal(where, "packed test pictures", tested, "predictions", run["n"])


def by_experiment(files: Files, records: Records) -> dict[str, Results]:
    """The results of each experiment by name, in the order of the inputs.

    From the roles `fits` and `predictions` over all experiments.
    """
    gathered = {}
    for name in dict.fromkeys(wildcard(record, "experiment") for record in records["fits"]):
        own = {
            role: [i for i, r in enumerate(records[role]) if wildcard(r, "experiment") == name]
            for role in ("fits", "predictions")
        }
        gathered[name] = Results.gather(
            {role: [files[role][i] for i in indices] for role, indices in own.items()},
            {role: [records[role][i] for i in indices] for role, indices in own.items()},
        )
    return gathered


def wildcard(record: Record, name: str) -> str:
    """A wildcard of the job that wrote a seal."""
    return str(record["seal"]["recipe"]["wildcards"][name])


def _budget(fit: Record) -> str:
    """Such as "6 candidates in trials of 195 to 390 updates, the best of them for 30 epochs"."""
    grid = fit["tuning"]
    if "lr" not in fit["chosen"]:
        return f"{len(grid)} candidate(s) for {' and '.join(fit['chosen'])}, without epochs"
    epochs = f"at most {fit['epochs']} epochs"
    lengths = [trial["updates"] for candidate in grid for trial in candidate["trials"]]
    if not lengths:
        return f"{len(grid)} candidate(s) of {epochs}"
    least, most = min(lengths), max(lengths)
    trials = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{len(grid)} candidates by trials of {trials} updates, the best then of {epochs}"


def _run(record: Record) -> Run:
    return wildcard(record, "mode"), int(wildcard(record, "seed"))


def total_dropped(parts: Iterable[Mapping]) -> dict[str, int]:
    """Reasons and numbers, summed over parts."""
    return dict(sorted(sum((Counter(part["dropped"]) for part in parts), Counter()).items()))
