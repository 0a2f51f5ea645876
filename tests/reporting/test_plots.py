"""The plots stage: its warnings."""

import numpy as np
from reporting_builders import RIGHT, result

from graft.reporting import plots
from graft.reporting.results import Results


def test_runs_that_learned_nothing_or_saw_other_views_get_a_warning(tmp_path):
    plain = result(tmp_path / "a.csv", RIGHT, cut="avgpool", mode="feature_extraction")
    assert plots.warnings(plain) == []
    shifted = result(tmp_path / "b.csv", np.tile([0.9, 0.1], (4, 1)), shift=0.1)
    both = Results(
        plain.fits | shifted.fits,
        plain.histories | shifted.histories,
        plain.metrics | shifted.metrics,
        plain.predictions | shifted.predictions,
        {},
    )
    learned_nothing, views = plots.warnings(both)
    assert "learned nothing" in learned_nothing and "different views" in views


def test_a_collapsed_run_gets_a_warning_and_the_last_epoch_is_judged_by_accuracy(tmp_path):
    collapsed = result(tmp_path / "a.csv", np.tile([1.0, 0.0], (4, 1)), loss=[7.9, 8.1])
    (fit,) = collapsed.fits.values()
    fit |= {"select": "last", "stopped_early": False}
    (warning,) = plots.warnings(collapsed)
    assert warning.startswith("fine_tuning, seed 0, has collapsed: its accuracy (50.0 %) is not")
    collapsed.histories["fine_tuning", 0]["val_accuracy"] = [0.8, 0.9]
    assert "its best val_accuracy (90.0 %) came in the last" in plots.warnings(collapsed)[0]
