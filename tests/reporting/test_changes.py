"""What changed since the last report."""

import pandas as pd
import pytest

from graft.reporting import changes


def ids(letters):
    return list(letters)


BEFORE = {"train": ids("abcd"), "val": ids("ef"), "test": ids("gh"), "dropped": ids("x")}


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (
            BEFORE | {"train": ids("bcdij"), "val": ids("efk"), "test": ids("g")},
            "+3 −2 pictures since the previous data_file.csv: train +2 −1, val +1, test −1",
        ),
        (
            BEFORE | {"dropped": ids("yz")},
            "no pictures since the previous data_file.csv; dropped +2 −1",
        ),
        (
            BEFORE,
            "no pictures since the previous data_file.csv; their rows differ otherwise (labels, "
            "groups or boxes)",
        ),
        (  # x, which was dropped, is kept now
            {**BEFORE, "train": ids("abcdx"), "dropped": []},
            "+1 pictures since the previous data_file.csv: train +1; dropped −1",
        ),
        (
            BEFORE | {"train": ids("bcd"), "test": ids("agh"), "val": ids("efk")},
            "+1 pictures since the previous data_file.csv: train −1, val +1, test +1; 1 of the "
            "same pictures moved to another split, so the results before and after are not of the "
            "same test",
        ),
    ],
)
def test_pictures_that_came_went_and_moved_are_counted(now, sentence):
    assert changes.on_samples(changes.of_samples(BEFORE, now)) == sentence


def test_samples_are_those_of_the_splits_and_the_dropped():
    rows = pd.DataFrame(
        {
            "sample_id": ["b", "a", "c", "d"],
            "split": ["train", "train", "", "test"],
            "drop_reason": ["", "", "no_label", ""],
        }
    )
    assert changes.samples(rows) == {"train": ["a", "b"], "test": ["d"], "dropped": ["c"]}


def test_modes_that_differ_are_named_with_both_means():
    before = {"fine_tuning": 0.912, "knn_probe": 0.7, "from_scratch": 0.8}
    now = {"fine_tuning": 0.92, "from_scratch": 0.8, "logistic_probe": 0.9}
    assert changes.on_means(changes.of_means(before, now)) == (
        "fine_tuning 91.2 → 92.0, logistic_probe none → 90.0, knn_probe 70.0 → none"
    )


def state(digest, means, metric="accuracy"):
    return {
        "datasets": {"faces": {"digest": digest, "samples": BEFORE | {"val": list(digest)}}},
        "experiments": {"sex": {"metric": metric, "means": means}},
    }


def test_a_change_is_shown_until_the_next_one(tmp_path):
    path = tmp_path / "notes" / "report.json"
    one = changes.update(changes.read(path), state("ef", {"a": 0.5}), "2026-01-01")
    assert one["datasets"]["faces"]["change"] is one["experiments"]["sex"]["change"] is None
    changes.write(path, one)
    two = changes.update(changes.read(path), state("efk", {"a": 0.6}), "2026-01-02")
    seen = two["datasets"]["faces"]
    assert seen["change"] == {
        "added": {"val": 1},
        "removed": {},
        "moved": 0,
        "since": "2026-01-01",
    }
    assert two["experiments"]["sex"]["change"]["modes"] == {"a": [0.5, 0.6]}
    changes.write(path, two)
    three = changes.update(changes.read(path), state("efk", {"a": 0.6}), "2026-01-03")
    assert three == two
    # Another config's report leaves what it does not have.
    other = changes.update(three, {"datasets": {}, "experiments": {}}, "2026-01-04")
    assert other == three


def test_means_of_another_metric_are_not_compared():
    one = changes.update({}, state("ef", {"a": 0.5}), "2026-01-01")
    two = changes.update(one, state("ef", {"a": 0.4}, "balanced_accuracy"), "2026-01-02")
    assert two["experiments"]["sex"]["change"] is None


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"datasets": {"a": {}}}'])
def test_a_memory_that_is_lost_or_damaged_is_empty(tmp_path, text):
    path = tmp_path / "report.json"
    if text is not None:
        path.write_text(text)
    assert changes.read(path) == {}
