"""The plots stage: every figure of an experiment, and its summary as CSV and HTML.

To add a figure: a module in `figures` that registers a function from `Results` to a matplotlib
figure, and its caption beside it (`figures/<figure>.rst`).
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from graft.config.architectures import IMAGE
from graft.core.files import JsonValue
from graft.core.registry import Registry
from graft.evaluation.warnings import collapse_warning, convergence_warning
from graft.reporting import tables
from graft.reporting.figures.style import save_svg
from graft.reporting.results import Results
from graft.training import schedule

FIGURES: Registry[Callable[[Results], Figure]] = Registry("graft.reporting.figures")


def write(
    results: Results, figures: Mapping[str, Path], summary: Path, page: Path
) -> dict[str, JsonValue]:
    """Draw the figures (name -> file) and write the summary."""
    results.check_counts()
    for name, path in figures.items():
        save_svg(FIGURES[name](results), path)
    by_mode = {mode: results.of(mode, results.metrics) for mode in results.modes}
    table = tables.summary_table(by_mode, results.comparison)
    tables.write_csv(table, summary)
    verdicts = [pair["verdict"] for pair in results.comparison["pairs"]]
    sentences = warnings(results)
    tables.write_html(table, [*verdicts, results.budget()], page, results.title, sentences)
    return {"verdicts": verdicts, "warnings": sentences, "budget": results.budget()}


def warnings(results: Results) -> list[str]:
    """Sentences on runs that had not converged or have learnt nothing."""
    found = []
    for (mode, seed), fit in results.fits.items():
        for sentence in (
            convergence_warning(
                results.histories[mode, seed],
                stopped_early=fit["stopped_early"],
                metric=schedule.metric(fit["select"]),
            ),
            collapse_warning(results.metrics[mode, seed], results.histories[mode, seed]),
        ):
            if sentence:
                found.append(f"{mode}, seed {seed}, {sentence}.")
    shifted = {
        mode: fit["cut"] == IMAGE and fit["seal"]["recipe"]["settings"]["train"]["augment"]["shift"]
        for (mode, _), fit in results.fits.items()
    }
    if len(set(map(bool, shifted.values()))) > 1:
        found.append(
            "The modes saw different views: augment.shift moves pictures only where nothing is "
            "frozen; set it to 0 for a fair comparison."
        )
    return found
