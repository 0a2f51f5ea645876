"""Results: every sample is counted, and how the modes were trained is stated."""

import contextlib
from dataclasses import replace

import pytest
from reporting_builders import RIGHT, result

from graft.core.errors import GraftError
from graft.reporting.results import Results, Samples

STRUCTURE = {"published": 6, "kept": 5, "dropped": {"bad_age": 1}, "rows": {"test": 5}}
CROPS = {"test-00": {"rows": 5, "kept": 4, "dropped": {"no_face": 1}}}


@pytest.mark.parametrize(
    ("crops", "packed", "predicted", "lost"),
    [
        (CROPS, 4, 4, None),
        ({"test-00": {**CROPS["test-00"], "kept": 3}}, 4, 4, "kept and dropped crops"),
        (CROPS, 3, 3, "packed pictures"),
        (CROPS, 4, 3, "predictions"),
    ],
)
def test_a_lost_sample_is_noticed_wherever_it_is_lost(crops, packed, predicted, lost):
    samples = Samples(STRUCTURE, crops, {"test-00": {"rows": packed}}, [], [])
    metrics = {("m", 0): {"n": predicted}}
    results = Results({}, {}, metrics, {}, {}, title="x", gathered=samples)
    refused = pytest.raises(GraftError, match=lost) if lost else contextlib.nullcontext()
    with refused:
        results.check_counts()


def test_notes_state_the_candidates_and_which_mode_starts_from_a_trained_head(tmp_path):
    probe = result(tmp_path / "a.csv", RIGHT, mode="feature_extraction")
    tuned = result(tmp_path / "b.csv", RIGHT, warm_up="feature_extraction")
    both = replace(probe, fits=probe.fits | tuned.fits)
    budget, lp_ft = both.notes()
    assert budget.startswith("Every mode was chosen on the validation samples among 1 candidate(s)")
    assert lp_ft.startswith("fine_tuning starts from the head of feature_extraction")
    assert "LP-FT" in lp_ft
    solved = result(tmp_path / "c.csv", RIGHT, mode="knn_probe")
    solved.fits["knn_probe", 0]["chosen"] = {"k": 5, "distance": "cosine"}
    assert (
        replace(both, fits=both.fits | solved.fits)
        .budget()
        .endswith("; knn_probe among 1 candidate(s) for k and distance, without epochs.")
    )
    tuned.fits["fine_tuning", 0]["tuning"] = [{"trials": []}, {"trials": []}]
    assert "feature_extraction among 1 candidate(s)" in both.budget()
    assert "fine_tuning among 2 candidate(s)" in both.budget()


def test_the_budget_of_trials_stands_in_updates(tmp_path):
    probe = result(tmp_path / "a.csv", RIGHT, mode="feature_extraction")
    short, long = [{"updates": 1000}], [{"updates": 1000}, {"updates": 2000}]
    fit = probe.fits["feature_extraction", 0]
    fit |= {"epochs": 30, "tuning": [{"trials": short}, {"trials": long}]}
    assert probe.budget() == (
        "Every mode was chosen on the validation samples among 2 candidates by trials of 1,000 to "
        "2,000 updates, the best then of at most 30 epochs."
    )
