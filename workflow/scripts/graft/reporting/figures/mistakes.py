"""The test pictures that each mode's first seed is most confidently wrong about."""

import numpy as np
from matplotlib.figure import Figure

from graft.evaluation.predictions import PREFIX, read_predictions
from graft.images.packs import open_parts
from graft.reporting.figures.contact_sheet import contact_sheet
from graft.reporting.figures.style import message
from graft.reporting.plots import FIGURES
from graft.reporting.results import Results

MISTAKES = 8
"""Pictures per mode."""


@FIGURES.register("mistakes")
def draw(results: Results) -> Figure:
    rows = open_parts(results.samples.test_packs)
    index = {sample: i for i, sample in enumerate(rows.sample_ids)}
    pictures, titles = [], []
    for mode in results.modes:
        table = read_predictions(next(iter(results.of(mode, results.predictions).values())))
        confidence = table.filter(regex=f"^{PREFIX}").max(axis=1)
        answers = table[["sample_id", "true", "predicted"]].assign(confidence=confidence)
        wrong = answers[table["true"] != table["predicted"]]
        for values in wrong.nlargest(MISTAKES, "confidence").to_numpy():
            sample, true, predicted, share = values
            pictures.append(rows.read(np.array([index[sample]]))[0])
            titles.append(f"{mode}\n{true} as {predicted}\n{100 * share:.0f} %")
    if not pictures:
        return message("No mistakes on the test rows.")
    return contact_sheet(pictures, titles, columns=MISTAKES, title="Most confident mistakes")
