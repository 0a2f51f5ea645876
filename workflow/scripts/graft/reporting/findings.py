"""Findings: what the stages of an experiment left behind, gathered for report and ledger."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass
class Findings:
    """What an experiment's stages left behind, read from their files and seals.

    Runs are keyed (mode, seed) in the order in which the experiment lists them.
    """

    fits: dict[tuple[str, int], dict]
    histories: dict[tuple[str, int], pd.DataFrame]
    metrics: dict[tuple[str, int], dict]
    predictions: dict[tuple[str, int], Path]
    comparison: dict

    @classmethod
    def gather(cls, inputs: dict[str, list[Path]], records: dict[str, list[dict]]) -> "Findings":
        """From a job's verified inputs: the roles `fits`, `predictions` and `comparison`."""
        runs = [_run(record) for record in records["fits"]]
        return cls(
            fits=dict(zip(runs, records["fits"], strict=True)),
            histories=dict(zip(runs, map(pd.read_csv, inputs["fits"]), strict=True)),
            metrics=dict(
                zip(map(_run, records["predictions"]), records["predictions"], strict=True)
            ),
            predictions=dict(
                zip(map(_run, records["predictions"]), inputs["predictions"], strict=True)
            ),
            comparison=records["comparison"][0],
        )

    @property
    def modes(self) -> list[str]:
        return list(dict.fromkeys(mode for mode, _ in self.fits))

    def of(self, mode: str, values: dict) -> dict[int, object]:
        """The values of one mode, by seed."""
        return {seed: value for (at, seed), value in values.items() if at == mode}

    def budget(self) -> str:
        """What each mode could choose from on the validation rows, in words.

        A mode that starts from another's head has had that mode's candidates as well.
        """
        words = {mode: self._budget_of(mode) for mode in self.modes}
        if len(set(words.values())) == 1:
            return f"Every mode chose on validation among {next(iter(words.values()))}."
        return "On validation " + "; ".join(f"{m} chose among {w}" for m, w in words.items()) + "."

    def _budget_of(self, mode: str) -> str:
        fit = next(iter(self.of(mode, self.fits).values()))
        epochs = fit["seal"]["recipe"]["settings"]["train"]["epochs"]
        words = f"{len(fit['tuning'])} candidate(s) of at most {epochs} epochs"
        return f"{words}, after {fit['warm_up']}'s" if fit["warm_up"] else words


def _run(record: dict) -> tuple[str, int]:
    wildcards = record["seal"]["recipe"]["wildcards"]
    return wildcards["mode"], int(wildcards["seed"])
