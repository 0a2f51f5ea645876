"""Overviews: which experiments are compared, on which samples, and what the page shows."""

import copy
import json
import re

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from conftest import SHIPPED, TRAIN
from matplotlib.text import Text
from probabilities import logs
from project import Project, planned

from graft.config import stages
from graft.config.overviews import PublishedFigure
from graft.config.plan import Comparison
from graft.config.read import read_config
from graft.config.reports import OverviewSettings, ShownExperiment
from graft.core import files, seals
from graft.evaluation import compare, metrics
from graft.evaluation.predictions import predictions_frame, write_predictions
from graft.reporting import overview as overviews
from graft.reporting import tables, verify
from graft.reporting.figures.overview import overview_figure
from graft.reporting.results import by_experiment

OPTIONS = {"metric": "accuracy", "resamples": 200, "level": 0.95, "seed": 0}
TRUE = np.arange(10) % 2
PUBLISHED = [
    PublishedFigure(label="Doe <1>", value=0.83, note="other & people"),
    PublishedFigure(label="on a blog", value=(0.7, 0.76)),
]
DATASET = stages.structure(read_config(SHIPPED), "portraits")


def predictions(right, *, names="s", classes=("f", "m")):
    """Ten test rows, the first `right` of them answered rightly."""
    answers = np.where(np.arange(10) < right, TRUE, 1 - TRUE)
    ids = [f"{names}{row}" for row in range(10)]
    return predictions_frame(ids, ids, TRUE, logs(0.1 + 0.8 * np.eye(2)[answers]), list(classes))


def experiment(folder, name, modes, *, names="s", train=None):
    """The files that an experiment leaves, sealed: mode -> (right per seed, val figure).

    `train` overrides training settings, those of a mode under its name.
    """
    train = train or {}
    for mode, (right, val) in modes.items():
        for seed, count in enumerate(right):
            run = folder / "results/experiments" / name / mode / str(seed)
            run.mkdir(parents=True)
            history = pd.DataFrame({"epoch": [1, 2], "val_loss": [1.0, 2.0]})
            history[["train_loss", "train_accuracy", "learning_rate"]] = [0.1, 0.9, 0.01]
            history["val_accuracy"] = history["val_balanced_accuracy"] = [val, val - 0.2]
            history.to_csv(run / "history.csv", index=False)
            frame = predictions(count, names=names)
            write_predictions(run / "predictions.csv", frame)
            recipe = {
                "wildcards": {"experiment": name, "mode": mode, "seed": str(seed)},
                "inputs": {},
                "settings": {
                    "backbone": {"architecture": "vgg_mini"},
                    "mode": mode,
                    "cut": "image",
                    "train": {**TRAIN, "epochs": 2, **train.get(mode, train.get("*", {}))},
                    "threads": 1,
                    **(figure := {"resamples": 100, "seed": 0, "level": 0.95}),
                },
            }
            fit = {
                "mode": mode,
                "cut": "image",
                "select": "accuracy",
                "best_epoch": 1,
                "stopped_early": True,
                "epochs": 2,
                "chosen": {"lr": 0.01},
                "tuning": [{"trials": []}],
                "warm_up": None,
                "samples": {"train": 20, "val": 5},
            }
            seal(run / "fit.json", {"history": run / "history.csv"}, recipe, fit)
            measured = metrics.measure(frame, temperature=2.0, **figure)
            seal(run / "metrics.json", {"predictions": run / "predictions.csv"}, recipe, measured)
    return ShownExperiment(name=name, title=f"On {name}", source="src", dataset=DATASET)


def seal(path, outputs, recipe, results, inputs=None):
    options = {"stage": "made up", "run": {}}
    seals.write(path, outputs, recipe=recipe, inputs=inputs or {}, results=results, **options)


def read(folder, experiments):
    """(inputs, records) as a job would have them; runs of all experiments one after another."""
    runs = [
        run
        for spec in experiments
        for run in sorted((folder / "results/experiments" / spec.name).glob("*/*"))
    ]
    roles = {
        "fits": ("history.csv", "fit.json"),
        "predictions": ("predictions.csv", "metrics.json"),
    }
    inputs = {role: [run / names[0] for run in runs] for role, names in roles.items()}
    records = {role: [seals.read(run / names[1]) for run in runs] for role, names in roles.items()}
    return inputs, records


def settings(experiments, published=(), **options):
    return OverviewSettings(
        title="An overview",
        experiments=tuple(experiments),
        published=tuple(published),
        evaluate=Comparison(**{**OPTIONS, **options}),
    )


def overview(folder, experiments, published=(), **options):
    results = by_experiment(*read(folder, experiments))
    return overviews.overview(results, settings(experiments, published, **options))


# On test rows fine_tuning of `a` is the best of all, but validation prefers its from_scratch.
A = {"fine_tuning": ([9, 9], 0.7), "from_scratch": ([6, 4], 0.8)}
B = {"fine_tuning": ([7, 7], 0.9), "from_scratch": ([5, 5], 0.6)}


@pytest.fixture
def two(tmp_path):
    return overview(tmp_path, [experiment(tmp_path, "a", A), experiment(tmp_path, "b", B)])


def test_golden_values_of_a_small_overview(two, tmp_path):
    rows = {(row["experiment"], row["mode"]): row for row in two["rows"]}
    assert list(rows) == [(e, m) for e in "ab" for m in ("fine_tuning", "from_scratch")]
    row = rows["a", "from_scratch"]
    assert row["val"] == {"accuracy": 0.8, "balanced_accuracy": 0.8}  # at the chosen epoch
    test = row["test"]["accuracy"]
    assert (test["mean"], test["seeds"]) == (0.5, {"0": 0.6, "1": 0.4})
    assert test["std"] == pytest.approx(0.2 / np.sqrt(2))
    assert test["low"] < 0.5 < test["high"]
    answers = np.where(np.arange(10) < 7, TRUE, 1 - TRUE)
    f1 = sklearn.metrics.f1_score(TRUE, answers, average="macro")
    assert rows["b", "fine_tuning"]["test"]["macro_f1"]["mean"] == pytest.approx(f1)
    assert [spec["majority_baseline"] for spec in two["experiments"]] == [0.5, 0.5]
    assert [(spec["n_samples"], spec["n_groups"]) for spec in two["experiments"]] == [(10, 10)] * 2
    files.write_json(tmp_path / "overview.json", two)


def test_figures_and_intervals_are_those_of_the_experiments_own_comparison(two):
    for metric in ("accuracy", "balanced_accuracy"):
        frames = {m: dict(enumerate(map(predictions, right))) for m, (right, _) in A.items()}
        own = compare.compare(frames, **{**OPTIONS, "metric": metric})
        compared = {row["mode"]: row["test"][metric] for row in two["rows"][:2]}
        assert compared == own["modes"]


def test_what_is_paired_is_chosen_by_name_or_on_validation(two):
    assert [spec["best_on_val"] for spec in two["experiments"]] == ["from_scratch", "fine_tuning"]
    pairs = {(p["a"], p["b"]): (round(p["difference"], 9), p["best_on_val"]) for p in two["pairs"]}
    assert pairs == {
        ("fine_tuning of b", "from_scratch of a"): (0.2, True),
        ("fine_tuning of a", "fine_tuning of b"): (0.2, False),
        ("from_scratch of a", "from_scratch of b"): (0.0, False),
    }
    assert two["notes"] == [
        "All experiments have the same test samples: a and b (10 samples).",
        "Best on validation, by accuracy: from_scratch in a and fine_tuning in b.",
    ]


def test_one_mode_that_is_best_in_both_is_paired_once(tmp_path):
    modes = {"fine_tuning": ([9], 0.9), "from_scratch": ([5], 0.1)}
    specs = [experiment(tmp_path, name, modes) for name in "ab"]
    pairs = overview(tmp_path, specs)["pairs"]
    assert [pair["best_on_val"] for pair in pairs] == [True, False]


@pytest.mark.parametrize(
    ("names", "pairs", "sentence"),
    [
        ("tu", 0, "so the experiments are not compared: a (10 samples); b (10 samples)."),
        ("ttu", 1, "only where their test sets are equal: a and b (10 samples); c (10 samples)."),
    ],
)
def test_figures_of_different_test_sets_are_not_compared(tmp_path, names, pairs, sentence):
    modes = {"fine_tuning": ([9], 0.9)}
    specs = [
        experiment(tmp_path, name, modes, names=rows)
        for name, rows in zip("abc", names, strict=False)
    ]
    compared = overview(tmp_path, specs)
    assert len(compared["pairs"]) == pairs
    assert compared["notes"][0].endswith(sentence)


def test_other_classes_on_the_same_samples_are_another_test_set():
    same, other = predictions(5), predictions(5, classes=("m", "f"))
    shuffled = same.sample(frac=1, random_state=0)
    assert overviews._test_rows(same) == overviews._test_rows(shuffled)
    assert overviews._test_rows(same) != overviews._test_rows(other)


def test_only_what_differs_is_listed_and_per_mode_where_modes_differ(tmp_path):
    plain = experiment(tmp_path, "a", A)
    rates = {"fine_tuning": {"lr": 0.5, "tune": {"lr": [0.1, 0.5]}}, "*": {"lr": 0.25}}
    tuned = experiment(tmp_path, "b", {**B, "feature_extraction": ([5, 5], 0.1)}, train=rates)
    split = DATASET.split.model_copy(update={"seed": 1})
    dataset = DATASET.model_copy(update={"split": split})
    tuned = tuned.model_copy(update={"dataset": dataset})
    compared = overview(tmp_path, [plain, tuned])["differences"]
    assert {row["key"]: (row["values"]["a"], row["values"]["b"]) for row in compared} == {
        "modes": ("fine_tuning, from_scratch", "feature_extraction, fine_tuning, from_scratch"),
        "dataset.split.seed": (str(DATASET.split.seed), "1"),
        "train.lr": ("0.01", "feature_extraction, from_scratch: 0.25; fine_tuning: 0.5"),
        "train.tune.lr": ("–", "feature_extraction, from_scratch: –; fine_tuning: [0.1, 0.5]"),
    }


def test_a_setting_of_a_mode_that_the_other_lacks_is_no_difference(tmp_path):
    both = experiment(tmp_path, "a", A, train={"fine_tuning": {"lr": 0.5}})
    one = experiment(tmp_path, "b", {"from_scratch": B["from_scratch"]})
    other = experiment(tmp_path, "c", {"feature_extraction": ([5, 5], 0.1)})
    compared = by_experiment(*read(tmp_path, [both, one, other]))
    keys = [row["key"] for row in overviews.differences(compared, [both, one])]
    assert keys == ["modes"]
    # With no mode in common, all that the modes were set to is compared.
    keys = [row["key"] for row in overviews.differences(compared, [both, other])]
    assert keys == ["modes", "train.lr"]


def test_a_failed_run_gets_a_warning_with_its_experiment_and_is_no_evidence(tmp_path):
    specs = [experiment(tmp_path, name, {"from_scratch": ([5], 0.9)}) for name in "ab"]
    compared = overview(tmp_path, specs)
    assert [w.split(",")[0] for w in compared["warnings"]] == ["a: from_scratch", "b: from_scratch"]
    table = overviews.table(compared)
    assert "failed: test accuracy 50.0 %, not above" in table["warnings"][1]
    assert table["failed"].tolist() == [1, 1]
    (pair,) = compared["pairs"]
    assert pair["verdict"].startswith("no verdict: from_scratch of a did not train (test accuracy")
    tables.write_overview(compared, tmp_path / "overview.html")
    assert "1 of 1 run failed" in (tmp_path / "overview.html").read_text(encoding="utf-8")


def test_the_table_has_a_row_per_experiment_and_mode(two, tmp_path):
    table = overviews.table(two)
    tables.write_csv(table, tmp_path / "overview.csv")
    read_again = pd.read_csv(tmp_path / "overview.csv").set_index(["experiment", "mode"])
    row = read_again.loc["b", "fine_tuning"]
    assert row[["accuracy", "val_accuracy", "n", "seeds"]].tolist() == [0.7, 0.9, 10, 2]
    assert row["accuracy_low"] <= 0.7 <= row["accuracy_high"]
    assert read_again["best_on_val"].tolist() == [False, True, True, False]


def drawn(compared):
    figure = overview_figure(compared)
    figure.savefig("/dev/null", format="png", dpi=72)  # settles the layout
    return figure, [text.get_text() for text in figure.findobj(Text)]


def test_the_figure_shows_every_mode_validation_majority_and_published_figures(tmp_path):
    specs = [experiment(tmp_path, "a", A), experiment(tmp_path, "b", B)]
    compared = overview(tmp_path, specs, PUBLISHED)
    figure, texts = drawn(compared)
    axes, words = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    # From the top down: in the order of `in_order`, then the published results.
    assert labels == [
        *("from_scratch\n(1 of 2 runs failed)", "fine_tuning"),
        *("from_scratch\n(2 of 2 runs failed)", "fine_tuning"),
        *("Doe <1>", "on a blog"),
    ]
    assert {"On a [vgg_mini]", "Published (not comparable unless stated)"} <= set(texts)
    bars = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "|"]
    assert bars == [0.8, 0.7, 0.6, 0.9]
    hollow = [
        list(line.get_xdata()) for line in axes.lines if line.get_markerfacecolor() == "white"
    ]
    assert hollow == [[0.83], [0.7, 0.76]]
    assert "70 to 76 %" in texts
    majority = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [list(line.get_xdata()) for line in majority] == [[0.5, 0.5]] * 2
    (sentences,) = words.texts
    assert "same test samples" in sentences.get_text()
    box, page = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= page[0] and box.y1 <= page[1]


def test_an_overview_without_intervals_and_validation_figures_is_drawn(two):
    bare = copy.deepcopy(two)
    for row in bare["rows"]:
        row["val"] = dict.fromkeys(row["val"])
        row["test"]["accuracy"] |= {"low": None, "high": None}
    figure, texts = drawn(bare)
    assert not [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert "published" not in texts


def test_one_experiment_can_stand_beside_published_figures_alone(tmp_path):
    compared = overview(
        tmp_path, [experiment(tmp_path, "a", A)], PUBLISHED[:1], metric="balanced_accuracy"
    )
    assert compared["pairs"] == compared["differences"] == []
    assert compared["notes"] == ["Best on validation, by balanced accuracy: from_scratch in a."]
    assert compared["experiments"][0]["majority_baseline"] == 0.5
    _, texts = drawn(compared)
    assert "83 %" in texts and "guessing" in texts and "the commonest class" not in texts
    tables.write_overview(compared, tmp_path / "overview.html")
    page = (tmp_path / "overview.html").read_text(encoding="utf-8")
    assert "guessing: 50.0 %" in page
    assert "Settings that differ" not in page and "Verdicts" not in page


def test_the_page_is_escaped_and_needs_no_other_file(tmp_path):
    specs = [experiment(tmp_path, "a", A), experiment(tmp_path, "b", B)]
    specs[0] = specs[0].model_copy(update={"title": "<b>&"})
    merged = DATASET.model_copy(update={"merged": True})
    specs[1] = specs[1].model_copy(update={"dataset": merged})
    compared = overview(tmp_path, specs, PUBLISHED)
    tables.write_overview(compared, tmp_path / "overview.html")
    page = (tmp_path / "overview.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|b)\b|src=|href=|url\(|@import", page)
    assert "&lt;b&gt;&amp;" in page and "Doe &lt;1&gt;" in page and "other &amp; people" in page
    assert "70 to 76" in page and "dataset.merged" in page and "prefers-color-scheme" in page
    assert "80.0 <small>+30.0</small>" in page  # validation, and how far it is above the test
    for pair in compared["pairs"]:
        assert pair["verdict"] in page


def listed_inputs(folder, specs):
    """The inputs of a recipe and the digests of the files among them, by role."""
    inputs, _ = read(folder, specs)
    listed = {
        role: [
            *(str(path.relative_to(folder)) for path in paths),
            *(str(path.relative_to(folder).with_name(name)) for path in paths),
        ]
        for (role, paths), name in zip(inputs.items(), ("fit.json", "metrics.json"), strict=True)
    }
    return listed, {role: [files.sha256(path) for path in paths] for role, paths in inputs.items()}


def test_verification_recomputes_a_comparison_and_which_runs_failed(tmp_path):
    specs = [experiment(tmp_path, "a", A)]
    listed, digests = listed_inputs(tmp_path, specs)
    recipe = {"wildcards": {"experiment": "a"}, "inputs": listed, "settings": OPTIONS}
    results = by_experiment(*read(tmp_path, specs))["a"]
    failures = results.failures_by_mode("accuracy")
    compared = compare.compare(results.tables(), **OPTIONS, failures=failures)
    reason = "test accuracy 40.0 %, not above the 50.0 % of the commonest class"
    assert compared["failed"] == {"from_scratch": {"1": reason}}
    path = tmp_path / "results/experiments/a/comparison.seal.json"
    seal(path, {}, recipe, compared, digests)
    assert list(verify.verify_results(tmp_path / "results")) == []
    seal(path, {}, recipe, compared | {"failed": {}}, digests)
    (problem,) = verify.verify_results(tmp_path / "results")
    assert "failed differs from the value recomputed" in problem.sentence
    del recipe["inputs"]["fits"]
    seal(path, {}, recipe, compared, digests)
    (problem,) = verify.verify_results(tmp_path / "results")
    assert "an older version of Graft made it" in problem.sentence


def test_verification_recomputes_an_overview_from_fits_and_predictions(tmp_path):
    specs = [experiment(tmp_path, "a", A), experiment(tmp_path, "b", B)]
    listed, digests = listed_inputs(tmp_path, specs)
    chosen = settings(specs, PUBLISHED)
    recipe = {"wildcards": {"overview": "o"}, "inputs": listed, "settings": chosen.recipe()}
    folder = tmp_path / "results/overviews/o"
    folder.mkdir(parents=True)
    compared = overviews.overview(by_experiment(*read(tmp_path, specs)), chosen)
    seal(folder / "overview.seal.json", {}, recipe, compared, digests)
    assert list(verify.verify_results(tmp_path / "results")) == []
    compared["rows"][0]["test"]["accuracy"]["mean"] = 0.99
    seal(folder / "overview.seal.json", {}, recipe, compared, digests)
    (problem,) = verify.verify_results(tmp_path / "results")
    assert "rows differs from the value recomputed" in problem.sentence
    (tmp_path / "results/experiments/a/fine_tuning/0/history.csv").unlink()
    sentences = [p.sentence for p in verify.verify_results(tmp_path / "results")]
    assert any("history.csv: the file is missing" in sentence for sentence in sentences)


@pytest.mark.workflow
def test_an_overview_is_planned_once_its_experiments_are_run(tmp_path):
    project = Project(tmp_path / "project")
    plan = planned(project.dry_run())
    assert plan["overview"] == 1
    alone = planned(project.dry_run("all_overview"))
    assert set(plan) - set(alone) == {"compare", "labels", "plots", "report", "track"}
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(json.dumps({"run": ["portraits_identity"]}))
    project.overlays.append(overlay)
    assert "overview" not in planned(project.dry_run())
    assert set(planned(project.dry_run("all_overview"))) == {"all_overview"}
