"""The seed systems' recipes, published and corrected, on real pictures by the real command."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from conftest import KIT, ROOT, needs_kit
from project import Project

from graft.reporting import verify

pytestmark = needs_kit


CLOTHES = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")

SHORTER = {
    "neon": """
compute: {reproducible: fast}
datasets: {lfw: {limit: {train: 240, val: 100, test: 200}, shards: {train: 1}}}
""",
    "emotions": """
compute: {reproducible: fast}
datasets: {fer2013: {shards: {train: 1}}}
experiments:
  emotions_published: {seeds: [0], modes: [feature_extraction], train: {epochs: 2}}
  emotions_corrected: {seeds: [0], modes: [freeze_fire5], train: {epochs: 2, warm_up: false}}
""",
    "digits": """
compute: {reproducible: fast}
datasets: {mnist: {limit: {test: 1000}, shards: {train: 1}}}
experiments:
  digits_frozen: {train: {epochs: 1}}
  digits_mlp: {train: {tune: {lr: [0.01]}}}
run: [digits_features, digits_features_corrected, digits_frozen, digits_mlp]
overviews:
  digits:
    experiments: [digits_features, digits_features_corrected, digits_frozen, digits_mlp]
""",
    "voc": """
datasets:
  voc2007:
    limit: {train: 120, val: 60, test: 120}
    patches: {scales: [1, 1.6, 2.3]}
    shards: {train: 1, val: 1, test: 1}
experiments:
  voc_corrected: {modes: [feature_extraction], train: {tune: {lr: [0.001]}}}
  voc_dense: {train: {tune: {lr: [0.001]}}}
  voc_whole: {modes: [from_scratch, feature_extraction], train: {tune: {lr: [0.001]}}}
run: [voc_corrected, voc_dense, voc_whole]
overviews: {voc2007: {experiments: [voc_corrected, voc_dense, voc_whole]}}
""",
    "clothes": """
datasets:
  mnist: {limit: {train: 300, val: 100, test: 100}, shards: {train: 1}}
  fashion_mnist: {limit: {train: 200, val: 100, test: 200}}
experiments:
  digits_vit: {train: {epochs: 1}}
  digits_convnext: {train: {epochs: 1}}
  clothes_vit:
    modes: [logistic_probe, freeze_blocks.5]
    train: {epochs: 2, warm_up: false, tune: {}}
  clothes_convnext:
    modes: [knn_probe, freeze_stages.2]
    train: {epochs: 2, warm_up: false, tune: {}}
""",
}
"""What is changed to save time; what the recipes gave without is in docs/results.md."""


def run(tmp_path_factory, store, changes: str, *overlays: str) -> Project:
    """The overlays as shipped, with changes, in a copy of the project beside the kit."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "shared").mkdir()
    (folder / "shared" / "data").symlink_to(KIT)
    (folder / "changes.yaml").write_text(changes)
    paths = [*(ROOT / "config" / name for name in overlays), folder / "changes.yaml"]
    project = Project(folder / "project", store=store, overlays=paths)
    project.snakemake("all_plots", "all_overview", "all_heat_maps")
    return project


@pytest.fixture(scope="module")
def neon(tmp_path_factory, store):
    overlays = ("imdb_wiki.yaml", "lfw_squeezenet.yaml", "kit/imdb_wiki.yaml")
    return run(tmp_path_factory, store, SHORTER["neon"], *overlays)


@pytest.fixture(scope="module")
def emotions(tmp_path_factory, store):
    overlays = ("fer2013.yaml", "kit/fer2013.yaml")
    return run(tmp_path_factory, store, SHORTER["emotions"], *overlays)


@pytest.fixture(scope="module")
def digits(tmp_path_factory, store):
    return run(tmp_path_factory, store, SHORTER["digits"], "mnist.yaml", "kit/mnist.yaml")


@pytest.fixture(scope="module")
def voc(tmp_path_factory, store):
    return run(tmp_path_factory, store, SHORTER["voc"], "voc2007.yaml", "kit/voc2007.yaml")


@pytest.fixture(scope="module")
def clothes(tmp_path_factory, store):
    """Fashion-MNIST is Debian's, which root can install."""
    if not CLOTHES.exists() and os.getuid() == 0 and shutil.which("apt-get"):
        for command in ("update", "install -y dataset-fashion-mnist"):
            subprocess.run(["apt-get", "-qq", *command.split()], capture_output=True, check=False)
    if not CLOTHES.exists():
        pytest.skip(f"Debian's package dataset-fashion-mnist cannot be installed ({CLOTHES})")
    overlays = ("mnist.yaml", "kit/mnist.yaml", "fashion_mnist.yaml", "kit/fashion_mnist.yaml")
    return run(tmp_path_factory, store, SHORTER["clothes"], *overlays)


def read(project: Project, path: str) -> dict:
    return json.loads((project.results / path).read_text(encoding="utf-8"))


def metrics(project: Project, experiment: str, mode: str) -> dict:
    found = read(project, f"experiments/{experiment}/{mode}/0/metrics.json")
    low, high = found["intervals"]["accuracy"]
    print(
        f"{experiment} {mode}: {100 * found['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}], "
        f"majority {100 * found['majority_baseline']:.1f}, n = {found['n']}"
    )
    return found


def check_pages(project: Project, overview: str, experiments: list[str]) -> None:
    """The experiments' pages and the one that puts them side by side exist and are sound."""
    page = (project.results / f"overviews/{overview}/overview.html").read_text(encoding="utf-8")
    assert all(name in page for name in experiments)
    for name in experiments:
        assert (project.results / f"experiments/{name}/plots/summary.html").stat().st_size > 1000
    assert list(verify.verify_results(project.results)) == []


def test_neon_s_fine_tuning_hardly_moves_and_the_sweep_says_so(neon):
    for mode in ("from_scratch", "feature_extraction", "fine_tuning"):
        metrics(neon, "neon_published", mode)
    metrics(neon, "neon_corrected", "fine_tuning")
    fit = read(neon, "experiments/neon_corrected/fine_tuning/0/fit.json")
    scales = [row["transferred_lr_scale"] for row in fit["tuning"]]
    assert scales == [0, 0.001, 0.01, 0.1, 1]
    # What is chosen is the best on validation, whatever the test says.
    best = max(row["val"] for row in fit["tuning"])
    chosen = fit["chosen"]["transferred_lr_scale"]
    assert [row["val"] for row in fit["tuning"] if row["transferred_lr_scale"] == chosen] == [best]
    check_pages(neon, "neon", ["neon_published", "neon_corrected"])


def test_neon_s_inference_txt_says_what_predictions_csv_says(neon):
    folder = neon.results / "experiments/neon_published/fine_tuning/0"
    lines = (folder / "inference.txt").read_text(encoding="utf-8").splitlines()
    predictions = pd.read_csv(folder / "predictions.csv")
    assert len(lines) == len(predictions)
    for line, row in zip(lines, predictions.itertuples(), strict=True):
        female, male, correct = re.fullmatch(r"\[([\d.]+), ([\d.]+)\], ([01])", line).groups()
        assert float(female) == pytest.approx(row.confidence_female, abs=1e-6)
        assert float(male) == pytest.approx(row.confidence_male, abs=1e-6)
        assert ["female", "male"][int(correct)] == row.true


def test_emotions_are_recognised_clearly_above_the_majority_rate(emotions):
    metrics(emotions, "emotions_published", "feature_extraction")
    found = metrics(emotions, "emotions_corrected", "freeze_fire5")
    assert found["intervals"]["accuracy"][0] > found["majority_baseline"] + 0.05
    assert len(found["classes"]) == 7
    check_pages(emotions, "emotions", ["emotions_published", "emotions_corrected"])


def test_every_row_of_the_published_table_is_kept_or_dropped_with_a_reason(emotions):
    rows = pd.read_csv(emotions.results / "data/fer2013/data_file.csv", keep_default_na=False)
    assert len(rows) == 4535
    kept = rows[rows["drop_reason"] == ""]
    assert set(rows["drop_reason"]) <= {"", "duplicate_of_test", "duplicate_of_val"}
    assert kept["split"].value_counts()["test"] == 466  # PrivateTest, whole


def test_imagenet_s_features_tell_digits_from_2000(digits):
    experiments = {
        "digits_features": "feature_extraction",
        "digits_features_corrected": "feature_extraction",
        "digits_frozen": "freeze_fire5",
        "digits_mlp": "from_scratch",
    }
    found = {name: metrics(digits, name, mode) for name, mode in experiments.items()}
    assert found["digits_features"]["accuracy"] >= 0.93
    assert found["digits_features_corrected"]["accuracy"] >= 0.93
    # The article's baselines had collapsed; trained properly this one has not.
    assert found["digits_mlp"]["accuracy"] >= 0.85
    fit = read(digits, "experiments/digits_features/feature_extraction/0/fit.json")
    assert fit["samples"]["train"] == 2000
    check_pages(digits, "digits", list(experiments))


def test_patches_and_transfer_tell_what_a_picture_shows(voc):
    found = {}
    for name, mode in (
        ("voc_corrected", "feature_extraction"),
        ("voc_dense", "feature_extraction"),
        ("voc_whole", "feature_extraction"),
        ("voc_whole", "from_scratch"),
    ):
        measured = read(voc, f"experiments/{name}/{mode}/0/metrics.json")
        assert measured["n"] == 120 and len(measured["classes"]) == 6
        print(name, mode, {k: round(measured[k], 3) for k in ("mean_ap", "mean_ap_11")})
        found[name, mode] = measured["mean_ap"]
    scratch = found["voc_whole", "from_scratch"]
    assert found["voc_corrected", "feature_extraction"] > scratch + 0.15
    assert found["voc_dense", "feature_extraction"] > scratch + 0.1
    chosen = read(voc, "experiments/voc_corrected/feature_extraction/0/metrics.json")
    assert max(chosen["exponents"].values()) == chosen["exponents"][str(chosen["exponent"])]
    maps = voc.results / "experiments/voc_corrected/feature_extraction/0/heat_maps.svg"
    assert maps.read_text(encoding="utf-8").count("<image") >= 12
    check_pages(voc, "voc2007", ["voc_corrected", "voc_dense", "voc_whole"])


def test_a_vision_transformer_and_a_convnext_go_from_digits_to_clothes(clothes):
    """What is frozen where, and that nothing is missing; so few pictures prove no accuracy."""
    frozen = {("clothes_vit", "freeze_blocks.5"): "blocks.5"}
    frozen |= {("clothes_convnext", "freeze_stages.2"): "stages.2"}
    for (name, mode), cut in frozen.items():
        fit = read(clothes, f"experiments/{name}/{mode}/0/fit.json")
        assert fit["cut"] == cut and fit["transfer"]["frozen_blocks"][-1].startswith(cut)
        assert fit["transfer"]["imported"] == fit["transfer"]["of"] > 50
    for name, mode in (("clothes_vit", "logistic_probe"), ("clothes_convnext", "knn_probe")):
        assert metrics(clothes, name, mode)["n"] == 200
    assert list(verify.verify_results(clothes.results)) == []
