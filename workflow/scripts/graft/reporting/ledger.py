"""Ledger: an experiment's findings as MLflow's runs (see `tracking`)."""

from pathlib import Path

from graft.evaluation.metrics import METRICS
from graft.reporting.results import Results
from graft.reporting.track import ChildRun


def parent(findings: Results, settings: dict, plots: list[Path]) -> dict:
    """The ledger's parent run: what was compared, and what came out."""
    compared = findings.comparison
    return {
        "params": {key: settings[key] for key in ("dataset", "source", "modes", "seeds")},
        "metrics": {
            f"test_{compared['metric']}.{mode}": figures["mean"]
            for mode, figures in compared["modes"].items()
        },
        "tags": {"verdicts": "; ".join(pair["verdict"] for pair in compared["pairs"])},
        "plots": plots,
    }


def children(findings: Results, models: dict[tuple[str, int], Path]) -> list[ChildRun]:
    """The ledger's child runs: one for each mode and seed."""
    runs = []
    for (mode, seed), fit in findings.fits.items():
        measured = findings.metrics[mode, seed]
        recipe = fit["seal"]["recipe"]
        runs.append(
            ChildRun(
                mode=mode,
                seed=seed,
                recipe=fit["seal"]["identity"],
                params={**recipe["settings"], "seed": seed, "chosen": fit["chosen"]},
                metrics={
                    **{f"test_{name}": measured[name] for name in METRICS},
                    "test_majority_baseline": measured["majority_baseline"],
                    "best_epoch": fit["best_epoch"],
                    "seconds": fit["seal"]["run"]["seconds"],
                    "peak_memory_mb": fit["seal"]["run"]["peak_memory_mb"],
                },
                history=findings.histories[mode, seed],
                model=models.get((mode, seed)),
                artifacts=[findings.predictions[mode, seed]],
            )
        )
    return runs
