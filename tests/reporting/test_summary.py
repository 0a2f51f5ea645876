"""The lines that a run prints at its end."""

import json

import pytest

from graft.reporting import summary

ROW = {"mean": 0.812, "low": 0.75, "high": 0.87, "seeds": {"0": 0.8, "1": 0.824}}
URI = "sqlite:///results/mlflow/mlflow.db"


def write(folder, *, metric="accuracy", warnings=("c had not converged",), labels=None, **changes):
    folder.mkdir(parents=True)
    (folder / "plots").mkdir()
    compared = {
        "metric": metric,
        "majority_baseline": 0.5,
        "n_samples": 1234,
        "modes": {"from_scratch": ROW, "fine_tuning": ROW | {"low": None, "high": None}},
        "failed": {"fine_tuning": {"1": "diverged at epoch 2"}},
        "pairs": [{"verdict": "a beats b"}],
        **changes,
    }
    (folder / "comparison.seal.json").write_text(json.dumps(compared))
    (folder / "plots/plots.seal.json").write_text(json.dumps({"warnings": list(warnings)}))
    if labels:
        (folder / "labels.seal.json").write_text(json.dumps({"sentences": labels}))


@pytest.mark.parametrize(
    ("metric", "heading"),
    [
        ("accuracy", "faces: test accuracy of 1,234 samples (the commonest class: 50.0 %)"),
        ("balanced_accuracy", "faces: test balanced accuracy of 1,234 samples (guessing: 50.0 %)"),
    ],
)
def test_an_experiment_is_a_table_its_verdicts_and_warnings(tmp_path, metric, heading):
    write(tmp_path / "experiments/faces", metric=metric, labels=["a overtakes b from 20 labels."])
    assert summary.lines(tmp_path, ["faces", "absent"], URI)[:7] == [
        "",
        heading,
        "  from_scratch   81.2 % [75.0, 87.0]",
        "  fine_tuning    81.2 %; 1 of 2 runs failed",
        "  a beats b",
        "  a overtakes b from 20 labels.",
        "  warning: c had not converged",
    ]


def test_many_warnings_are_left_to_the_report(tmp_path):
    write(tmp_path / "experiments/faces", warnings=[f"number {n}" for n in range(5)])
    text = "\n".join(summary.lines(tmp_path, ["faces"], URI))
    assert "number 2" in text and "number 3" not in text and "and 2 more warnings" in text


def test_the_places_are_named_and_no_password(tmp_path):
    write(tmp_path / "experiments/faces")
    text = "\n".join(summary.lines(tmp_path, ["faces"], URI))
    assert "Report" not in text and f"mlflow ui --backend-store-uri {URI}" in text
    (tmp_path / "report.html").touch()
    uri = "https://me:secret@tracking.example"
    text = "\n".join(summary.lines(tmp_path, ["faces"], uri))
    assert f"Report:      {tmp_path / 'report.html'}" in text
    assert "tracking.example" in text and "secret" not in text


def test_without_a_comparison_nothing_is_printed(tmp_path):
    assert summary.lines(tmp_path, ["faces"], URI) == []


def test_the_sentence_of_a_failed_job_is_the_last_line_of_its_log(tmp_path):
    for name, text in {
        "one.log": "epoch 1\ngraft train: a is wrong. Do b.\n",
        "two.log": "Traceback:\nValueError: x\n",
        "empty.log": "",
    }.items():
        (tmp_path / name).write_text(text)
    logs = [tmp_path / name for name in ("one.log", "two.log", "empty.log", "absent.log")]
    assert summary.errors(logs) == [
        f"graft train: a is wrong. Do b.  ({logs[0]})",
        f"ValueError: x  ({logs[1]})",
    ]


def test_the_classes_that_the_figures_are_of_are_told(tmp_path):
    write(tmp_path / "experiments/faces", n_classes=6, untested=["a", "b", "c", "d"])
    heading = "accuracy of 1,234 samples of 2 of 6 classes, none of a, b, c and 1 more classes ("
    assert heading in "\n".join(summary.lines(tmp_path, ["faces"], URI))
    write(tmp_path / "experiments/all", n_classes=6, untested=[])
    assert "accuracy of 1,234 samples (" in "\n".join(summary.lines(tmp_path, ["all"], URI))
