"""The test pictures that each mode's first seed is most confidently wrong about."""

import numpy as np
from matplotlib.figure import Figure

from graft.images.packs import open_parts
from graft.reporting.figures.contact_sheet import contact_sheet
from graft.reporting.figures.style import message
from graft.reporting.mistakes import wrong_answers
from graft.reporting.plots import FIGURES
from graft.reporting.results import Results

MISTAKES = 8
"""Pictures per mode."""


@FIGURES.register("mistakes")
def draw(results: Results) -> Figure:
    rows = open_parts(results.samples.test_packs)
    index = {sample: i for i, sample in enumerate(rows.sample_ids)}
    shown = wrong_answers(results).groupby("mode", sort=False).head(MISTAKES)
    if shown.empty:
        return message("No mistakes on the test rows.")
    pictures, titles = [], []
    for mode, sample, true, predicted, confidence in shown.to_numpy():
        pictures.append(rows.read(np.array([index[sample]]))[0])
        titles.append(f"{mode}\n{true} as {predicted}\n{100 * confidence:.0f} %")
    return contact_sheet(pictures, titles, columns=MISTAKES, title="Most confident mistakes")
