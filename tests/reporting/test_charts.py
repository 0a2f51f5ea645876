"""The positions of what the report's charts draw."""

import pytest

from graft.reporting import charts
from graft.reporting.charts import Tick


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.5, 0.72], ["50", "55", "60", "65", "70", "75"]),
        ([0.021, 0.98], ["0", "20", "40", "60", "80", "100"]),
        ([0.9], ["90", "90.1"]),
    ],
)
def test_an_axis_is_between_round_numbers_and_holds_all_values(values, texts):
    axis = charts.axis(values, lambda share: f"{100 * share:.4g}")
    assert [tick.text for tick in axis.ticks] == texts
    assert [axis.ticks[0].position, axis.ticks[-1].position] == [0, 100]
    assert all(0 <= axis.position(value) <= 100 for value in values)


MODE = {"mean": 0.7, "std": 0.1, "low": 0.6, "high": 0.75, "seeds": {"0": 0.6, "1": 0.8}}
COMPARED = {
    "metric": "balanced_accuracy",
    "level": 0.95,
    "majority_baseline": 0.5,
    "modes": {
        "fine_tuning": MODE,
        "logistic_probe": MODE | {"low": None, "high": None, "std": None, "seeds": {"0": 0.7}},
    },
    "failed": {"fine_tuning": {"1": "diverged at epoch 2"}},
}


def test_estimates_stand_where_their_values_are():
    chart = charts.estimates(COMPARED)
    assert [tick.text for tick in chart["ticks"]] == ["50", "60", "70", "80"]
    assert chart["baseline"] == Tick(0, "guessing 50.0 %")
    probe, tuned = chart["rows"]  # in the order of all figures
    assert (tuned["mean"], tuned["low"], tuned["width"]) == (66.67, 33.33, 50)
    assert [seed["position"] for seed in tuned["seeds"]] == [33.33, 100]
    assert tuned["seeds"][1]["tip"] == "fine_tuning, seed 1: 80.0 %, failed: diverged at epoch 2"
    assert tuned["tip"] == "fine_tuning: 70.0 % [60.0, 75.0], ± 10.0 over seeds"
    assert tuned["failed"] == "1 of 2 runs"
    assert probe["low"] is probe["width"] is None and probe["tip"] == "logistic_probe: 70.0 %"
    assert probe["colour"] == "var(--text)"  # black, which a dark page would not show


def point(rows, mean, **others):
    return {
        "train_rows": rows,
        "mean": mean,
        "low": mean - 0.1,
        "high": mean + 0.1,
        "std": None,
        "seeds": {"0": mean},
        "updates": None,
        "failed": {},
        **others,
    }


def curve(sizes, **modes):
    return {"metric": "accuracy", "majority_baseline": 0.5, "sizes": sizes, "modes": modes}


def test_a_curve_has_logarithmic_sizes_a_band_and_the_updates_apart():
    labels = curve(
        [10, 100, 1000],
        fine_tuning=[
            point(10, 0.6, updates=20, failed={"0": "constant predictions"}),
            point(100, 0.7, updates=40),
            point(1000, 0.9, updates=100, low=None, high=None),
        ],
        knn_probe=[point(n, 0.55) for n in (10, 100, 1000)],
    )
    accuracy, updates = charts.curves(labels)
    assert accuracy["x_ticks"] == [Tick(4, "10"), Tick(50, "100"), Tick(96, "1,000")]
    assert [tick.text for tick in accuracy["y_ticks"]] == ["40", "50", "60", "70", "80", "90"]
    assert accuracy["baseline"].position == 20
    _, tuned = accuracy["lines"]
    assert tuned["path"] == "4.0,60.0 50.0,40.0 96.0,0.0"
    assert tuned["band"] == "4.0,40.0 50.0,20.0 50.0,60.0 4.0,80.0"
    assert [dot["failed"] for dot in tuned["dots"]] == [True, False, False]
    assert tuned["dots"][0]["tip"] == (
        "fine_tuning, 10 training pictures: 60.0 % [50.0, 70.0]; 20 updates; 1 of 1 run failed"
    )
    assert [line["mode"] for line in updates["lines"]] == ["fine_tuning"]
    assert [tick.text for tick in updates["y_ticks"]] == ["0", "20", "40", "60", "80", "100"]


def test_labels_of_sizes_do_not_touch_and_the_largest_always_stands():
    labels = curve([20, 500, 550], knn_probe=[point(n, 0.6) for n in (20, 500, 550)])
    (only,) = charts.curves(labels)
    assert [tick.text for tick in only["x_ticks"]] == ["20", "550"]
    (alone,) = charts.curves(curve([20], knn_probe=[point(20, 0.6)]))
    assert alone["lines"][0]["dots"][0]["x"] == 50
