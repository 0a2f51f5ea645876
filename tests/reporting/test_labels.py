"""Labels curves: the order of sizes, signed differences, and the sentences on them."""

import numpy as np
import pytest
from matplotlib.text import Text
from probabilities import logs
from sklearn.metrics import accuracy_score

from graft.config.plan import Comparison
from graft.core.errors import GraftError
from graft.evaluation.predictions import predictions_frame, write_predictions
from graft.reporting import labels
from graft.reporting.figures.labels import labels_figure
from graft.reporting.results import Results

SETTINGS = Comparison(metric="accuracy", resamples=200, level=0.95, seed=0)
TRUE = np.arange(60) % 2


def run(path, right, *, rows=60, train, updates=100, val=100):
    """A run that answers the first `right` of the test rows rightly."""
    true = TRUE[:rows]
    answers = np.where(np.arange(rows) < right, true, 1 - true)
    ids = [f"s{row:02d}" for row in range(rows)]
    frame = predictions_frame(ids, ids, true, logs(0.1 + 0.8 * np.eye(2)[answers]), ["f", "m"])
    write_predictions(path, frame)
    fit = {"samples": {"train": train, "val": val}, "updates": {"full": updates, "trials": 7}}
    return fit, path, answers


def results(folder, right, **options):
    """right: mode -> right answers of each seed."""
    fits, files = {}, {}
    for mode, numbers in right.items():
        for seed, number in enumerate(numbers):
            path = folder / f"{mode}{seed}-{options['train']}.csv"
            fits[mode, seed], files[mode, seed], _ = run(path, number, **options)
    return Results(fits, {}, {}, files, {})


@pytest.fixture(autouse=True)
def _no_failures(monkeypatch):
    monkeypatch.setattr(Results, "failures_by_mode", lambda self, metric: {})


def test_a_curve_has_every_size_in_order_and_signed_differences(tmp_path):
    sizes = {
        "e/train_20": results(
            tmp_path, {"from_scratch": [50, 50], "fine_tuning": [30, 36]}, train=20, updates=10
        ),
        "e": results(tmp_path, {"from_scratch": [30, 30], "fine_tuning": [55, 56]}, train=90),
        "e/train_50": results(
            tmp_path, {"from_scratch": [45, 45], "fine_tuning": [45, 45]}, train=50, updates=50
        ),
    }
    curve = labels.curve(sizes, SETTINGS)
    assert curve["sizes"] == [20, 50, 90]
    assert curve["val_rows"] == 100 and curve["n_samples"] == 60
    points = curve["modes"]["fine_tuning"]
    assert [point["train_rows"] for point in points] == [20, 50, 90]
    assert [point["mean"] for point in points] == pytest.approx([33 / 60, 45 / 60, 55.5 / 60])
    assert [point["updates"] for point in points] == [10, 50, 100]
    _, path, answers = run(tmp_path / "again.csv", 30, train=20)
    assert points[0]["seeds"]["0"] == accuracy_score(TRUE, answers)
    (pair,) = curve["pairs"]
    assert (pair["a"], pair["b"]) == ("fine_tuning", "from_scratch")
    differences = [size["difference"] for size in pair["sizes"]]
    assert differences == pytest.approx([-17 / 60, 0, 25.5 / 60])
    assert pair["sizes"][0]["high"] < 0 < pair["sizes"][2]["low"]
    assert pair["sizes"][0]["low"] < pair["sizes"][0]["difference"] < pair["sizes"][0]["high"]
    table = labels.table(curve)
    assert table["train_rows"].tolist() == [20, 20, 50, 50, 90, 90]
    assert table["accuracy"].tolist()[:2] == pytest.approx([50 / 60, 33 / 60])
    assert curve["sentences"] == [
        "fine_tuning against from_scratch, by labels: fine_tuning is better with 90; "
        "from_scratch is better with 20; no evidence with 50."
    ]


def test_sizes_with_other_test_samples_are_refused(tmp_path):
    sizes = {
        "e/train_20": results(tmp_path, {"fine_tuning": [30]}, train=20, rows=40),
        "e": results(tmp_path, {"fine_tuning": [30]}, train=90),
    }
    with pytest.raises(GraftError, match="labels: the sizes have different test samples"):
        labels.curve(sizes, SETTINGS)


def size(rows, low, high, failed=False):
    return {"train_rows": rows, "low": low, "high": high, "failed": failed}


BETTER, WORSE, NEITHER = (0.01, 0.1), (-0.1, -0.01), (-0.1, 0.1)


@pytest.mark.parametrize(
    ("intervals", "sentence"),
    [
        (
            [NEITHER, NEITHER, BETTER],
            "a overtakes b from 4,000 labels; below that no evidence of a difference.",
        ),
        (
            [NEITHER, WORSE, WORSE],
            "b overtakes a from 400 labels; below that no evidence of a difference.",
        ),
        (
            [BETTER, BETTER, NEITHER],
            "a is better than b up to 400 labels; above that no evidence of a difference.",
        ),
        (
            [WORSE, NEITHER, NEITHER],
            "b is better than a up to 40 labels; above that no evidence of a difference.",
        ),
        ([BETTER] * 3, "a is better than b from 40 to 4,000 labels."),
        ([WORSE] * 3, "b is better than a from 40 to 4,000 labels."),
        ([NEITHER] * 3, "no evidence of a difference between a and b from 40 to 4,000 labels."),
        (
            [WORSE, NEITHER, BETTER],
            "a against b, by labels: a is better with 4,000; b is better with 40; "
            "no evidence with 400.",
        ),
        # Intervals that reach 0, and those of one group of samples, show nothing.
        (
            [(0.0, 0.1), (None, None), (-0.1, 0.0)],
            "no evidence of a difference between a and b from 40 to 4,000 labels.",
        ),
    ],
)
def test_a_sentence_names_where_one_mode_becomes_better(intervals, sentence):
    sizes = [size(40 * 10**at, *interval) for at, interval in enumerate(intervals)]
    assert labels.sentence("a", "b", sizes) == sentence


def test_sizes_with_failed_runs_have_no_say():
    sizes = [size(20, *WORSE, failed=True), size(40, *BETTER), size(80, *BETTER)]
    assert labels.sentence("a", "b", sizes) == (
        "a is better than b from 40 to 80 labels (no verdict with 20, where runs failed)."
    )
    assert labels.sentence("a", "b", sizes[:1]) == (
        "no verdict on a and b at any size: runs failed."
    )


def test_frozen_modes_are_not_set_against_one_another(tmp_path):
    modes = ["from_scratch", "logistic_probe", "feature_extraction", "fine_tuning"]
    own = results(tmp_path, {mode: [30] for mode in modes}, train=20)
    sentences = labels.curve({"e": own}, SETTINGS)["sentences"]
    assert len(sentences) == 5
    assert "fine_tuning" in sentences[0] and "from_scratch" in sentences[-1]
    assert not any("logistic_probe and feature_extraction" in text for text in sentences)


def test_the_figure_shows_sizes_updates_and_sentences(tmp_path):
    sizes = {
        f"e/train_{n}": results(
            tmp_path, {"from_scratch": [n // 2], "fine_tuning": [n]}, train=n, updates=2 * n
        )
        for n in (20, 50)
    }
    curve = labels.curve(sizes, SETTINGS)
    curve["modes"]["fine_tuning"][0]["failed"] = {"0": "diverged"}
    figure = labels_figure(curve)
    texts = {text.get_text() for text in figure.findobj(Text)}
    assert {"20", "50", "40", "100", "fine_tuning", "labelled training samples"} <= texts
    assert any(curve["sentences"][0][:20] in text for text in texts)
    faces = [
        line.get_markerfacecolor() for line in figure.axes[0].lines if len(line.get_xdata()) == 1
    ]
    assert faces.count("white") == 1
