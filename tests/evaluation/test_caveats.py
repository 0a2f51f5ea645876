"""Caveats: what a reviewer would object to, and nothing where there is no reason to."""

import pytest

from graft.evaluation.caveats import caveats

CLASSES = ["a", "b", "c", "d", "e"]


def comparison(n=500, width=0.08, modes=("fine_tuning", "logistic_probe")):
    row = {"low": 0.7, "high": 0.7 + width}
    return {"n_samples": n, "modes": {mode: dict(row) for mode in modes}}


def found(support=None, *, val=100, seeds=3, target=True, **changes):
    support = support or [500] * 5
    return caveats(
        comparison(**changes), support, CLASSES, val_rows=val, seeds=seeds, target=target
    )


def test_a_sound_experiment_has_none():
    assert found() == []


@pytest.mark.parametrize(
    ("changes", "beginning"),
    [
        # 1.96 * sqrt(0.25 / 96) is a tenth.
        ({"n": 96}, "Only 96 test samples: an accuracy of so few is uncertain by up to 10 points."),
        ({"val": 49}, "Only 49 validation samples to choose epochs and rates by"),
        ({"seeds": 1}, "One seed: how much another training run would differ is not known"),
        (
            {"width": 0.131},
            "The interval of fine_tuning is 13 points wide (2 modes have more than 10)",
        ),
        (
            {"support": [25, 0, 25, 25, 25]},
            "No test sample of b: how well they are recognised is not measured, and accuracies and "
            "average precisions are those of the other 4 of 5 classes.",
        ),
        ({"support": [25, 0, 0, 0, 0]}, "No test sample of b, c, d and 1 more classes"),
    ],
)
def test_what_is_weak_is_named_with_what_to_do(changes, beginning):
    (sentence,) = found(**changes)
    assert sentence.startswith(beginning) and sentence.endswith(".")
    assert any(word in sentence for word in ("Add pictures", "Set seeds", "narrow it"))


@pytest.mark.parametrize("changes", [{"n": 100}, {"val": 50}, {"width": 0.0999}])
def test_the_bounds_themselves_are_enough(changes):
    assert found(**changes) == []


def test_one_seed_of_probes_alone_and_of_source_tasks_is_no_news():
    assert found(seeds=1, modes=("knn_probe",)) == []
    assert found(seeds=1, width=0.3, target=False) == []
    assert len(found(n=10, target=False)) == 1


def test_an_interval_that_could_not_be_computed_is_left_out():
    one_group = comparison() | {"modes": {"fine_tuning": {"low": None, "high": None}}}
    options = {"val_rows": 100, "seeds": 3, "target": True}
    assert caveats(one_group, [5] * 5, CLASSES, **options) == []
