"""Figures: what is in them, that nothing is cut off, and equal bytes."""

import itertools
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from reporting_builders import RIGHT, pack_of_test_rows, result

from graft.config import architectures
from graft.core.errors import GraftError
from graft.evaluation.metrics import measure
from graft.evaluation.predictions import read_predictions
from graft.reporting.figures import mistakes, reliability, style
from graft.reporting.figures.confusion_matrices import confusion_matrices
from graft.reporting.figures.contact_sheet import SHEET, contact_sheet, shares
from graft.reporting.figures.dropped import dropped
from graft.reporting.figures.learning_curves import learning_curves
from graft.reporting.figures.learning_rates import learning_rates
from graft.reporting.figures.mode_comparison import mode_comparison
from graft.reporting.figures.reliability import Reliability, reliability_diagrams
from graft.reporting.figures.style import in_order, mode_colour, save_svg
from graft.reporting.plots import FIGURES
from graft.reporting.results import Samples

MODES = ["fine_tuning", "from_scratch", "feature_extraction"]  # not in the order drawn


def _history(epochs, offset=0.0):
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "learning_rate": 0.01,
            "train_loss": 1 / epoch + offset,
            "val_loss": 1.2 / epoch + offset,
            "train_accuracy": 1 - 0.5 / epoch,
            "val_accuracy": 1 - 0.6 / epoch,
            "val_balanced_accuracy": 1 - 0.7 / epoch,
        }
    )


def _histories():
    return {
        mode: [_history(10 + 2 * seed + 5 * m) for seed in range(3)] for m, mode in enumerate(MODES)
    }


def _tuned(rates, scales, offset=0.0):
    """A fit by trials: of the grid the last candidate is trained in full."""
    grid = [
        {"lr": lr, "transferred_lr_scale": scale, "val": None}
        | {"trials": [{"updates": 10, "val": 0.5 + 10 * lr * scale + offset}]}
        for lr, scale in itertools.product(rates, scales)
    ]
    grid[-1]["trials"].append({"updates": 20, "val": 0.7 + offset})
    grid[-1]["val"] = 0.8 + offset
    chosen = {key: grid[-1][key] for key in ("lr", "transferred_lr_scale")}
    return {"tuning": grid, "chosen": chosen, "best_value": 0.8 + offset}


def _comparison(modes=MODES):
    pairs = [
        {"a": a, "b": b, "difference": 0.1, "low": 0.05, "high": 0.15, "verdict": f"{a} beats {b}"}
        for a, b in itertools.combinations(modes, 2)
    ]
    return {
        "metric": "accuracy",
        "majority_baseline": 0.77,
        "failed": {},
        "modes": {
            mode: {
                "mean": 0.7 + 0.1 * m,
                "std": 0.01,
                "low": 0.65 + 0.1 * m,
                "high": 0.74 + 0.1 * m,
                "seeds": {"0": 0.69 + 0.1 * m, "1": 0.71 + 0.1 * m},
            }
            for m, mode in enumerate(modes)
        },
        "pairs": pairs,
    }


def _reliability(scaled=True):
    bins = {"n": [3, 27], "groups": [3, 10], "confidence": [0.55, 0.95], "accuracy": [1.0, 0.8]}
    raw = pd.DataFrame(bins | {"low": [np.nan, 0.7], "high": [np.nan, 0.9]}, index=[8, 14])
    after = pd.DataFrame(raw.to_dict("list"), index=[8, 12]) if scaled else None
    return Reliability(raw, after, "ECE 18.0 %", 0.5)


def _pictures(count):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (40, 40, 3), dtype=np.uint8) for _ in range(count)]


def _all_figures():
    matrix = np.array([[30, 5], [4, 61]])
    many = [f"Person_{number:03d}" for number in range(100)]
    diagonal = dict.fromkeys(MODES, 5 * np.eye(100))
    titles = ["A_Long_Name_0001\ntrue female, predicted male 99.9 %"] * 10
    drops = {"structure": {"no_label": 12, "bad_age": 3, "no_face": 0}, "crop": {}}
    head = {"fine_tuning": "feature_extraction"}
    return {
        "curves": learning_curves(_histories(), warm_up=head, metric="accuracy"),
        "confusion": confusion_matrices(dict.fromkeys(MODES, matrix), ["female", "male"]),
        "confusion100": confusion_matrices(diagonal, many),
        "comparison": mode_comparison(_comparison()),
        "rates": learning_rates({mode: [_tuned([1e-3, 1e-2], [0.1, 1])] for mode in MODES}),
        "sheet": contact_sheet(_pictures(10), titles, title="mistakes"),
        "reliability": reliability_diagrams({"fine_tuning": _reliability()}),
        "dropped": dropped(drops, {"structure": 985, "crop": 985}),
    }


def _texts(figure):
    texts = [text.get_text() for text in figure.findobj(Text)]
    return [text for text in texts if text]


def _colours(lines):
    return [to_rgb(line.get_color()) for line in lines]


def test_nothing_is_cut_off_at_the_edge():
    for name, figure in _all_figures().items():
        figure.savefig("/dev/null", format="png", dpi=72)  # settles the layout
        box, page = figure.get_tightbbox(), figure.get_size_inches()
        assert box.x0 >= 0 and box.y0 >= 0, name
        assert box.x1 <= page[0] and box.y1 <= page[1], name


def test_svg_bytes_are_equal_for_equal_figures_with_any_user_settings(tmp_path):
    for name, figure in _all_figures().items():
        save_svg(figure, tmp_path / f"{name}.svg")
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "none", "axes.grid": True}):
        for name, figure in _all_figures().items():
            save_svg(figure, tmp_path / "again.svg")
            first = (tmp_path / f"{name}.svg").read_bytes()
            assert first == (tmp_path / "again.svg").read_bytes(), name
            assert first.startswith(b"<?xml")
            assert b"<dc:date>" not in first


def test_a_mode_has_one_colour_and_no_two_blocks_share_one():
    names = [*MODES, "freeze_stem", *(f"freeze_block{k}" for k in range(1, 6))]
    colours = [mode_colour(name) for name in names]
    assert len({*colours[:3], *colours[4:]}) == 8
    assert colours == [mode_colour(name) for name in names]
    assert len({*map(mode_colour, architectures.MODES)}) == len(architectures.MODES)
    assert in_order(["fine_tuning", "freeze_block2", "knn_probe", "from_scratch"]) == [
        "from_scratch",
        "knn_probe",
        "freeze_block2",
        "fine_tuning",
    ]


def test_learning_curves_show_every_seed_and_the_end_of_the_warm_up():
    figure = learning_curves(
        _histories(), warm_up={"fine_tuning": "feature_extraction"}, metric="accuracy"
    )
    assert len(figure.axes) == 6
    scratch, features, tuning = figure.axes[:3]
    assert [axes.get_title() for axes in figure.axes[:3]] == in_order(MODES)
    assert len(scratch.lines) == len(features.lines) == 2 * 3
    assert [line.get_linestyle() for line in scratch.lines] == ["--", "-"] * 3
    # Warm-up of three seeds, the line at its end, tuning of three seeds.
    assert len(tuning.lines) == 6 + 1 + 6
    colour, head = (to_rgb(mode_colour(m)) for m in ("fine_tuning", "feature_extraction"))
    assert _colours(tuning.lines[:6]) == [head] * 6
    assert _colours(tuning.lines[7:]) == [colour] * 6
    assert set(tuning.lines[6].get_xdata()) == {0}
    for line in tuning.lines[:6]:
        assert line.get_xdata().max() == 0
    for line in tuning.lines[7:]:
        assert line.get_xdata().min() == 1
    assert scratch.get_ylim() == tuning.get_ylim()
    assert "fine-tuning begins" in _texts(figure)


def test_learning_curves_of_another_metric_and_of_one_epoch():
    figure = learning_curves({"from_scratch": [_history(1)]}, metric="balanced_accuracy")
    assert len(figure.axes) == 2
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "balanced accuracy"]
    assert len(figure.axes[1].lines) == 1  # its training value was not recorded
    assert figure.axes[1].lines[0].get_marker() == "."
    assert "fine-tuning begins" not in _texts(figure)


def test_a_loss_that_exploded_once_does_not_flatten_the_rest():
    history = _history(30)
    history.loc[3, "train_loss"] = 1e4
    history.loc[4, "train_loss"] = np.inf
    figure = learning_curves({"from_scratch": [history]})
    assert figure.axes[0].get_yscale() == "log"
    figure.savefig("/dev/null", format="png", dpi=72)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert "1" in labels and not any("$" in label for label in labels)


def test_a_history_without_its_metric_is_refused():
    with pytest.raises(GraftError, match="of a: the column val_auroc is missing"):
        learning_curves({"a": [_history(3)]}, metric="auroc")
    with pytest.raises(GraftError, match="of a: there is no epoch"):
        learning_curves({"a": [_history(0)]})


def test_a_small_confusion_matrix_shows_counts_and_shares_of_the_row():
    matrix = np.array([[30, 10], [0, 0]])
    figure = confusion_matrices({"from_scratch": matrix}, ["female", "male"])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["30\n75%", "10\n25%"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["female", "male"]
    (mesh,) = axes.collections
    shares = mesh.get_array()
    assert shares[0].tolist() == [0.75, 0.25]
    assert shares.mask[1].all()


def test_a_large_confusion_matrix_has_no_cell_text_and_few_names():
    names = [str(number) for number in range(100)]
    figure = confusion_matrices(dict.fromkeys(MODES, np.eye(100)), names)
    *panels, bar = figure.axes
    assert [axes.get_title() for axes in panels] == in_order(MODES)
    assert not any(axes.texts for axes in panels)
    assert len(panels[0].get_xticks()) <= 15
    assert bar.get_ylabel() == "share of the true class"
    with pytest.raises(GraftError, match="of a: the confusion matrix is \\(2, 2\\) for 3"):
        confusion_matrices({"a": np.eye(2)}, ["a", "b", "c"])


def test_mode_comparison_shows_intervals_seeds_baseline_and_verdicts():
    comparison = _comparison()
    figure = mode_comparison(comparison)
    axes, words = figure.axes
    # For each mode its interval, its mean and its seeds; then the baseline.
    assert len(axes.lines) == 3 * 3 + 1
    top = axes.lines[6:9]  # modes are drawn from the bottom up: from_scratch is at the top
    row = comparison["modes"]["from_scratch"]
    assert list(top[0].get_xdata()) == [row["low"], row["high"]]
    assert list(top[1].get_xdata()) == [row["mean"]]
    assert list(top[2].get_xdata()) == list(row["seeds"].values())
    assert _colours(top) == [to_rgb(mode_colour("from_scratch"))] * 3
    assert axes.lines[-1].get_xdata() == [0.77, 0.77]
    assert "the commonest class 77.0 %" in _texts(figure)
    balanced = mode_comparison(comparison | {"metric": "balanced_accuracy"})
    assert "guessing 77.0 %" in _texts(balanced)
    (listed,) = words.texts
    assert listed.get_text().split("\n") == [pair["verdict"] for pair in comparison["pairs"]]


def test_mode_comparison_of_one_mode_without_an_interval():
    comparison = _comparison(["from_scratch"])
    comparison["modes"]["from_scratch"] |= {"low": None, "high": None}
    axes, words = mode_comparison(comparison).axes
    assert len(axes.lines) == 3
    assert words.texts[0].get_text() == ""


def test_reliability_shows_accuracy_by_bin_and_how_many_rows_are_in_it():
    figure = reliability_diagrams({mode: _reliability(mode != "from_scratch") for mode in MODES})
    top, other, _, below, *_ = figure.axes
    assert [axes.get_title().strip() for axes in figure.axes[:3]] == in_order(MODES)
    # The diagonal, then the line of bins with an interval, and the dots of those without.
    diagonal, line, dots = top.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [7 / 15, 1]
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0.95], [0.8])
    assert (list(dots.get_xdata()), list(dots.get_ydata())) == ([0.55], [1.0])
    assert (dots.get_linestyle(), line.get_linestyle()) == ("None", "-")
    (bars,) = top.collections
    assert np.array(bars.get_segments()).tolist() == [[[0.95, 0.7], [0.95, 0.9]]]
    (shares,) = below.patches
    values = np.zeros(15)
    values[[8, 14]] = 0.1, 0.9
    assert shares.get_data().values == pytest.approx(values)
    # Scaled: hollow, dashed and of its own bins.
    assert len(other.lines) == 5 and other.lines[1].get_linestyle() == "--"
    assert np.flatnonzero(figure.axes[4].patches[0].get_data().values).tolist() == [8, 12]


def test_reliability_pools_the_seeds_each_at_its_own_temperature(tmp_path):
    results = result(tmp_path / "a.csv", RIGHT)
    again = result(tmp_path / "b.csv", RIGHT[::-1]).predictions["fine_tuning", 0]
    options = {"resamples": 100, "seed": 0, "level": 0.95}
    metrics = {}
    for run, (path, temperature) in {
        ("fine_tuning", 0): (tmp_path / "a.csv", None),
        ("fine_tuning", 1): (again, 1e9),
    }.items():
        measured = measure(read_predictions(path), temperature=temperature, **options)
        metrics[run] = measured | {"seal": {"recipe": {"settings": options}}}
    paths = {("fine_tuning", 0): tmp_path / "a.csv", ("fine_tuning", 1): again}
    figure = reliability.draw(replace(results, metrics=metrics, predictions=paths))
    top, below = figure.axes
    # The confidences of each seed are 0.9, 0.8, 0.6 and 0.7; all are right, then all wrong.
    raw, scaled = top.lines[4], top.lines[2]
    assert raw.get_xdata() == pytest.approx([0.6, 0.7, 0.8, 0.9])
    assert raw.get_ydata() == pytest.approx([0.5] * 4)
    # At that T all confidences are 1/2, and only one seed has a T.
    assert (list(scaled.get_xdata()), list(scaled.get_ydata())) == ([pytest.approx(0.5)], [0.0])
    assert "ECE 50.0 %; 50.0 % at T = 1000000000.00" in _texts(figure)


def test_the_contact_sheet_is_shared_among_parts_of_all_splits():
    assert shares(1) == [32] and shares(4) == [8] * 4 and shares(3) == [11, 11, 10]
    for parts in (12, 20, 33, 1000):
        found = shares(parts)
        assert sum(found) == SHEET and max(found) - min(found) <= 1
        assert any(found[-parts // 20 - 1 :])  # the last twentieth: test parts


def test_contact_sheet_has_a_cell_per_picture():
    pictures = [*_pictures(9), np.zeros((30, 40), np.uint8)]
    titles = [f"picture {number}" for number in range(10)]
    figure = contact_sheet(pictures, titles, columns=4, title="faces")
    assert len(figure.axes) == 10
    assert [axes.texts[0].get_text() for axes in figure.axes] == titles
    np.testing.assert_array_equal(figure.axes[3].images[0].get_array(), pictures[3])
    corners = {tuple(np.round(axes.get_position(original=True).p0, 6)) for axes in figure.axes}
    assert len({x for x, _ in corners}) == 4
    assert len({y for _, y in corners}) == 3


def test_the_most_confident_mistakes_are_shown_or_their_absence(tmp_path):
    pack = pack_of_test_rows(tmp_path / "test-00.h5")
    samples = Samples({}, {}, 4, [], [pack])
    right = replace(result(tmp_path / "right.csv", RIGHT), gathered=samples)
    assert _texts(mistakes.draw(right)) == ["No mistakes on the test rows."]
    wrong = replace(result(tmp_path / "wrong.csv", RIGHT[::-1]), gathered=samples)
    titles = [text.split("\n") for text in _texts(mistakes.draw(wrong))]
    assert [lines[1:] for lines in titles if len(lines) > 1] == [
        ["p as n", "90 %"],
        ["n as p", "80 %"],
        ["n as p", "70 %"],
        ["p as n", "60 %"],
    ]


def test_dropped_shows_every_reason_and_what_was_kept():
    counts = {"structure": {"no_label": 1200, "bad_age": 3, "no_face": 0}, "crop": {}}
    figure = dropped(counts, {"structure": 38138, "crop": 38138})
    (first,) = figure.axes  # a stage that dropped none has no panel
    assert [bar.get_width() for bar in first.patches] == [3, 1200]
    assert [label.get_text() for label in first.get_yticklabels()] == ["bad age", "no label"]
    assert [text.get_text() for text in first.texts] == ["3", "1,200"]
    assert first.get_title(loc="left") == "structure: kept 38,138 of 39,341"
    nothing = dropped({"structure": {"no_face": 0}, "crop": {}}, {"structure": 200, "crop": 200})
    assert _texts(nothing) == ["Nothing was dropped: all 200 samples were kept."]


LAYERS = [f"freeze_conv{b}_{k}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for k in range(1, n + 1)]


def test_modes_that_freeze_layers_stand_in_order_of_depth_and_differ_from_their_neighbours():
    modes = ["fine_tuning", "freeze_block3", *reversed(LAYERS), "freeze_stem", "from_scratch"]
    assert in_order(modes) == [
        "from_scratch",
        "freeze_stem",
        *LAYERS[:7],
        "freeze_block3",
        *LAYERS[7:],
        "fine_tuning",
    ]
    colours = [mode_colour(mode) for mode in LAYERS]
    assert all(len(set(colours[i : i + 3])) == 3 for i in range(len(colours) - 2))


def test_a_dollar_is_a_dollar(tmp_path):
    figure = confusion_matrices({"a": np.eye(2)}, ["$5 to $6", r"$\foo$"])
    save_svg(figure, tmp_path / "figure.svg")


def test_every_caption_has_a_figure_of_its_name():
    captions = sorted(path.stem for path in Path(style.__file__).parent.glob("*.rst"))
    assert len(captions) >= 7
    for name in captions:
        assert callable(FIGURES[name])


def test_the_rates_drawn_are_those_tried_and_a_ring_marks_the_choice():
    seeds = [_tuned([1e-3, 1e-2], [0.3]), _tuned([1e-3, 1e-2], [0.3], offset=0.1)]
    probe = {"tuning": [{"k": 3}], "chosen": {"k": 3}, "best_value": 0.9}
    fits = {"from_scratch": seeds, "fine_tuning": [_tuned([1e-3], [0.1, 1])], "knn_probe": [probe]}
    figure = learning_rates(fits)
    scratch, tuned = figure.axes
    short, _, long, full, *rings = scratch.lines
    assert short.get_xydata().tolist() == [
        [1e-3, pytest.approx(0.553)],
        [1e-2, pytest.approx(0.58)],
    ]
    assert short.get_linestyle() == "--"
    # One candidate of each seed: dots and no line.
    assert long.get_xydata().tolist() == [[1e-2, pytest.approx(0.7)], [1e-2, pytest.approx(0.8)]]
    assert full.get_xydata().tolist() == [[1e-2, pytest.approx(0.8)], [1e-2, pytest.approx(0.9)]]
    assert (long.get_linestyle(), full.get_linestyle()) == ("None", "None")
    assert short.get_alpha() < long.get_alpha() < full.get_alpha() == 1
    assert [ring.get_xydata().tolist() for ring in rings] == [[[1e-2, 0.8]], [[1e-2, 0.9]]]
    assert tuned.lines[0].get_xdata().tolist() == pytest.approx([1e-4, 1e-3])
    assert tuned.get_xlabel() == "learning rate of transferred layers"


def test_rates_whose_trials_diverged_have_no_point_and_any_number_of_rounds_is_drawn():
    fit = _tuned([1e-3, 1e-2], [0.3])
    fit["tuning"][0]["trials"][0]["val"] = None
    fit["tuning"][1]["trials"] = [{"updates": n, "val": 0.1 * n} for n in range(1, 8)]
    (axes,) = learning_rates({"from_scratch": [fit]}).axes
    *lines, _ = axes.lines
    assert {line.get_xdata()[0] for line in lines} == {1e-2}
    strengths = [line.get_alpha() for line in lines]
    assert min(strengths) > 0 and strengths == sorted(strengths) and len(lines) == 8
