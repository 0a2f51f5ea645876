"""The lines that `make` prints at its end."""

import json

import pytest

import show

ROW = {"mean": 0.812, "low": 0.75, "high": 0.87, "seeds": {"0": 0.8, "1": 0.824}}


@pytest.mark.parametrize(
    ("metric", "printed"),
    [
        ("accuracy", "test accuracy 81.2 % [75.0, 87.0] (the commonest class 50.0 %)"),
        ("balanced_accuracy", "test balanced accuracy 81.2 % [75.0, 87.0] (guessing 50.0 %)"),
    ],
)
def test_the_metric_compared_is_printed_with_its_own_baseline(
    tmp_path, monkeypatch, capsys, metric, printed
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/experiments/faces"
    (folder / "plots").mkdir(parents=True)
    compared = {
        "metric": metric,
        "majority_baseline": 0.5,
        "modes": {"from_scratch": ROW, "fine_tuning": ROW | {"low": None, "high": None}},
        "failed": {"fine_tuning": {"1": "diverged at epoch 2"}},
    }
    (folder / "comparison.seal.json").write_text(json.dumps(compared))
    sentences = {"verdicts": ["a beats b"], "warnings": ["c had not converged"]}
    (folder / "plots/plots.seal.json").write_text(json.dumps(sentences))
    show.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "faces"
    assert lines[2].split(maxsplit=1) == ["from_scratch", printed]
    assert "[" not in lines[3] and lines[3].endswith("; 1 of 2 runs failed")
    assert lines[4:6] == ["  a beats b", "  c had not converged"]
