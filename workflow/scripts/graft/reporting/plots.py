"""Reports: the figures and tables of one experiment."""

from pathlib import Path

import h5py
import numpy as np

from graft.config.architectures import IMAGE
from graft.core.errors import GraftError
from graft.evaluation.predictions import read_predictions
from graft.evaluation.warnings import collapse_warning, convergence_warning
from graft.images.packs import open_parts
from graft.reporting import counts, figures, tables
from graft.reporting.findings import Findings
from graft.training import schedule

SHEET = 32
MISTAKES = 8


def write(
    findings: Findings,
    inputs: dict[str, list[Path]],
    records: dict[str, list[dict]],
    outputs,
    *,
    title: str,
    select: str,
) -> dict:
    """Draw every figure and write the summary; `outputs` has a path for each as attributes."""
    structure = records["data_file"][0]
    crops = {_part(r): r for r in records["crops"]}
    packs = {_part(r): r for r in records["packs"]}
    predicted = {f"{mode} {seed}": r["n"] for (mode, seed), r in findings.metrics.items()}
    counts.check(structure, crops, packs, predicted, title)
    tested = [p for p, part in zip(inputs["packs"], packs, strict=True) if part.startswith("test")]
    modes = findings.modes
    histories = {m: list(findings.of(m, findings.histories).values()) for m in modes}
    warm_up = {
        m: first
        for m in modes
        if (first := next(iter(findings.of(m, findings.fits).values()))["warm_up"]) in modes
    }
    figures.save_svg(
        figures.learning_curves(histories, warm_up=warm_up, metric=schedule.metric(select)),
        outputs.learning_curves,
    )
    figures.save_svg(figures.mode_comparison(findings.comparison), outputs.mode_comparison)
    summed = {
        m: np.sum(
            [r["confusion_matrix"] for r in findings.of(m, findings.metrics).values()], axis=0
        )
        for m in modes
    }
    classes = next(iter(findings.metrics.values()))["classes"]
    figures.save_svg(figures.confusion_matrices(summed, classes), outputs.confusion_matrices)
    figures.save_svg(_contact_sheet(inputs["crops"], title), outputs.contact_sheet)
    figures.save_svg(_mistakes(findings, tested), outputs.mistakes)
    lost = {"structure": structure["dropped"], "crop": counts.total_dropped(crops.values())}
    kept = {"structure": structure["kept"], "crop": sum(f["kept"] for f in crops.values())}
    figures.save_svg(figures.dropped(lost, kept), outputs.dropped)
    by_mode = {m: findings.of(m, findings.metrics) for m in modes}
    table = tables.summary_table(by_mode, findings.comparison)
    tables.write_csv(table, outputs.summary)
    verdicts = [pair["verdict"] for pair in findings.comparison["pairs"]]
    told = warnings(findings)
    tables.write_html(table, [*verdicts, findings.budget()], outputs.summary_html, title, told)
    return {"verdicts": verdicts, "warnings": told, "budget": findings.budget()}


def warnings(findings: Findings) -> list[str]:
    """Sentences on runs that had not converged or have learnt nothing."""
    found = []
    for (mode, seed), fit in findings.fits.items():
        for sentence in (
            convergence_warning(
                findings.histories[mode, seed],
                stopped_early=fit["stopped_early"],
                metric=schedule.metric(fit["select"]),
            ),
            collapse_warning(findings.metrics[mode, seed], findings.histories[mode, seed]),
        ):
            if sentence:
                found.append(f"{mode}, seed {seed}, {sentence}.")
    shifted = {
        mode: fit["cut"] == IMAGE and fit["seal"]["recipe"]["settings"]["train"]["augment"]["shift"]
        for (mode, _), fit in findings.fits.items()
    }
    if len(set(map(bool, shifted.values()))) > 1:
        found.append(
            "The modes saw different views: augment.shift moves pictures only where nothing is "
            "frozen; set it to 0 for a fair comparison."
        )
    return found


def _part(record: dict) -> str:
    return record["seal"]["recipe"]["wildcards"]["part"]


def _contact_sheet(crops: list[Path], title: str):
    """The first pictures of each part in turn: training, validation and test are all seen."""
    pictures, labels = [], []
    share = -(-SHEET // len(crops))
    for path in crops:
        with h5py.File(path) as file:
            pictures += list(file["images"][:share])
            labels += [label.decode() for label in file["label"][:share]]
    if not pictures:
        raise GraftError(
            f"{title}: no face was found in any picture; check datasets.*.crop and detector."
        )
    return figures.contact_sheet(pictures[:SHEET], labels[:SHEET], title=title)


def _mistakes(findings: Findings, packs: list[Path]):
    """The test pictures that each mode's first seed is most surely wrong about."""
    rows = open_parts(packs)
    index = {sample: i for i, sample in enumerate(rows.sample_ids)}
    pictures, titles = [], []
    for mode in findings.modes:
        path = next(iter(findings.of(mode, findings.predictions).values()))
        table = read_predictions(path)
        sure = table.filter(like="confidence_").max(axis=1)
        wrong = table.assign(sure=sure)[table["true"] != table["predicted"]]
        for row in wrong.nlargest(MISTAKES, "sure").itertuples():
            pictures.append(rows.read(np.array([index[row.sample_id]]))[0])
            titles.append(f"{mode}\n{row.true} as {row.predicted}\n{100 * row.sure:.0f} %")
    if not pictures:
        return figures.message("No mistakes on the test rows.")
    return figures.contact_sheet(
        pictures, titles, columns=MISTAKES, title="Most confident mistakes"
    )
