"""Tables: a row per run and per mean, as CSV and as a page that needs no other file."""

import html.parser

import numpy as np
import pandas as pd
import pytest

from graft.reporting import tables
from graft.reporting.results import Drop

COMPARISON = {
    "metric": "accuracy",
    "failed": {"from_scratch": {"1": "diverged at epoch 2"}},
    "modes": {"from_scratch": {"mean": 0.7, "std": 0.01, "low": 0.65, "high": 0.74}},
}


def _metrics():
    """mode -> seed -> metrics, of two modes and two seeds (one for the second)."""
    run = {"n": 100, "majority_baseline": 0.77, "auroc": None, "log_loss": 0.4567}
    none = dict.fromkeys(("log_loss", "brier", "ece"))
    unscaled = {"value": None, **none, "intervals": none}
    scores = {"log_loss": 0.4, "brier": 0.2, "ece": 0.021}
    run["temperature"] = {"value": 1.5, **scores, "intervals": {**none, "ece": [0.02, 0.03]}}
    interval = {"accuracy": [0.75, 0.85], "auroc": None}
    return {
        "from_scratch": {
            1: run | {"accuracy": 0.9, "intervals": interval},
            0: run | {"accuracy": 0.8, "intervals": interval},
        },
        "<b>&mode": {0: run | {"accuracy": 1.0, "temperature": unscaled}},
    }


def test_summary_table_has_a_row_per_run_and_per_mean(tmp_path):
    table = tables.summary_table(_metrics(), COMPARISON)
    assert list(zip(table["mode"], table["seed"], strict=True)) == [
        ("from_scratch", "0"),
        ("from_scratch", "1"),
        ("from_scratch", "mean"),
        ("<b>&mode", "0"),  # one seed is its own mean
    ]
    assert table["accuracy"].tolist() == pytest.approx([0.8, 0.9, 0.85, 1])
    assert table["accuracy_low"].tolist() == pytest.approx([0.75, 0.75, 0.65, np.nan], nan_ok=True)
    assert table["accuracy_std"].tolist() == pytest.approx(
        [np.nan, np.nan, 0.1 / np.sqrt(2), np.nan], nan_ok=True
    )
    temperatures, scaled = table["temperature"].tolist(), table["ece_scaled"].tolist()
    assert temperatures == pytest.approx([1.5, 1.5, 1.5, np.nan], nan_ok=True)
    assert scaled == pytest.approx([0.021, 0.021, 0.021, np.nan], nan_ok=True)
    assert table["ece_scaled_high"][0] == 0.03 and table["temperature_std"][2] == 0
    assert table["failed"].tolist() == ["", "diverged at epoch 2", "1 of 2 runs", ""]
    assert table["auroc"].isna().all()
    tables.write_csv(table, tmp_path / "summary.csv")
    read = pd.read_csv(tmp_path / "summary.csv", dtype={"seed": str})
    read["failed"] = read["failed"].astype(object).fillna("")
    pd.testing.assert_frame_equal(read, table, check_dtype=False)


def test_a_probe_has_one_row_whatever_the_seeds():
    metrics = {"knn_probe": {seed: _metrics()["from_scratch"][0] for seed in (0, 1, 2)}}
    table = tables.summary_table(metrics)
    assert list(zip(table["mode"], table["seed"], strict=True)) == [("knn_probe", "any")]
    assert table["accuracy_std"].isna().all()
    (row,) = tables.summary_rows(table)["rows"]
    assert row["mean"], "shown without the rows of single seeds"


class _Page(html.parser.HTMLParser):
    """The tags of a page and the text of its table's cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.outside = [], [], []
        self.feed(text)
        self.cells = [cell.strip() for cell in self.cells]

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.outside += [value for name, value in attrs if name in {"src", "href"}]
        if tag in {"td", "th"}:
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def test_summary_page_is_escaped_and_needs_no_other_file(tmp_path):
    table = tables.summary_table(_metrics(), COMPARISON)
    verdicts = ["a beats b by 9.1 points [6.0, 12.3]", "<script>alert(1)</script>"]
    path = tmp_path / "summary.html"
    sentences = {"verdicts": verdicts, "warnings": ["a & b had not converged"], "notes": ["<i>"]}
    tables.write_summary(table, path, title="faces <1>", **sentences)
    text = path.read_text(encoding="utf-8")
    page = _Page(text)
    assert not {"script", "link", "img", "b", "i"} & set(page.tags)
    assert page.outside == []
    assert "url(" not in text and "@import" not in text
    assert "<title>faces &lt;1&gt;</title>" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "a &amp; b had not converged" in text
    assert "80.0 [75.0, 85.0]" in page.cells
    assert "85.0 ± 7.1 [65.0, 74.0]" in page.cells
    assert "0.457" in page.cells
    assert "2.1 [2.0, 3.0] T 1.50" in page.cells and "2.1 ± 0.0 T 1.50" in page.cells
    assert "–" in page.cells  # the AUROC that could not be computed
    assert "<b>&mode" in page.cells
    assert "1 failed" in page.cells and "mean 1 of 2 runs failed" in page.cells
    before = path.read_bytes()
    tables.write_summary(table, path, title="faces <1>", **sentences)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("drops", "cells"),
    [
        ([], []),
        (
            [Drop("structure", "conflicting_label", {"": 1200, "test": 3})],
            ["structure", "conflicting label", "1,200", "–", "–", "3", "1,203"],
        ),
        (
            [Drop("crop", "no_face", {"train": 1}), Drop("a <b>", "<i>_x", {"val": 2})],
            [
                *("crop", "no face detected", "–", "1", "–", "–", "1"),
                *("a <b>", "<i> x", "–", "–", "2", "–", "2"),
            ],
        ),
    ],
)
def test_the_summary_has_what_was_dropped_by_reason_and_split(tmp_path, drops, cells):
    table = tables.summary_table(_metrics(), COMPARISON)
    path = tmp_path / "summary.html"
    tables.write_summary(table, path, title="x", verdicts=[], drops=drops)
    text = path.read_text(encoding="utf-8").partition("<h2>Dropped samples</h2>")[2]
    heads = ["by", "because", "no split yet", "train", "val", "test", "all"]
    assert [cell.strip() for cell in _Page(text).cells] == (heads + cells if drops else [])
    assert ("None." in text) == (not drops)
