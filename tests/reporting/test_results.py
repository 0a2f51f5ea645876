"""Results: every sample is counted, and how the modes were trained is stated."""

import contextlib
from dataclasses import replace
from pathlib import Path

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
    samples = Samples(STRUCTURE, crops, packed, [], [])
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


def seal(stage, dropped, part=None, **more):
    """The seal of a stage that works on a data set."""
    wildcards = {"dataset": "d"} | ({"part": part} if part else {})
    own = {"stage": stage, "recipe": {"wildcards": wildcards}}
    return {"dropped": dropped, **more, "seal": own}


FROM = {"": {"no_label": 4}, "train": {"over_limit": 2, "no_label": 1}}
DROPS = {
    "by the splits that are counted": (
        {"data_file": [seal("structure", {"no_label": 5, "over_limit": 2}, dropped_from=FROM)]},
        [
            ("structure", "no_label", {"": 4, "train": 1}),
            ("structure", "over_limit", {"train": 2}),
        ],
    ),
    "without a count by split": (
        {"data_file": [seal("structure", {"bad_age": 3})]},
        [("structure", "bad_age", {"": 3})],
    ),
    "summed over parts": (
        {
            "crops": [
                seal("crop", {"no_face": 1}, "train-00"),
                seal("crop", {"no_face": 2, "unreadable": 9}, "train-01"),
                seal("crop", {"no_face": 4}, "test-00"),
            ]
        },
        [
            ("crop", "unreadable", {"train": 9}),
            ("crop", "no_face", {"train": 3, "test": 4}),
        ],
    ),
    "of stages and reasons to come": (
        {
            "data_file": [seal("structure", {"of_the_future": 1})],
            "test_packs": [seal("pack", {"all_black": 2}, "test-01") | {"rows": 1}],
            "sieves": [seal("sieve", {"blurred": 3}, "test-00")],
        },
        [
            ("structure", "of_the_future", {"": 1}),
            ("pack", "all_black", {"test": 2}),
            ("sieve", "blurred", {"test": 3}),
        ],
    ),
    "none": ({"data_file": [seal("structure", {})]}, []),
    "of a run and not of the data set": (
        {"fits": [{"dropped": {"x": 1}, "seal": {"recipe": {"wildcards": {"mode": "m"}}}}]},
        [],
    ),
}


@pytest.mark.parametrize("kind", DROPS)
def test_what_was_dropped_is_read_from_whatever_stage_counts_it(kind):
    records, expected = DROPS[kind]
    empty = {"data_file": [seal("structure", {})], "crops": [], "test_packs": []}
    records = empty | records
    files = {role: [Path(f"{n}") for n in range(len(found))] for role, found in records.items()}
    found = Samples.gather(files, records).drops()
    shown = [(one.stage, one.reason, {k: n for k, n in one.splits.items() if n}) for one in found]
    assert shown == expected


def test_notes_of_the_structure_stage_are_caveats(tmp_path):
    run = result(tmp_path / "a.csv", RIGHT)
    structure = STRUCTURE | {"notes": ["2 samples stay (conflicts.csv)."]}
    samples = Samples(structure, {}, 0, [], [])
    comparison = {"metric": "accuracy", "pairs": [], "modes": {}, "n_groups": 4, "level": 0.95}
    found = replace(run, gathered=samples, comparison=comparison | {"n_samples": 4}).caveats()
    assert found[0] == "2 samples stay (conflicts.csv)."
