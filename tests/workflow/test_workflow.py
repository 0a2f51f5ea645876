"""The workflow as a whole, through the real command: what runs, what reruns, what is reused."""

import ast
import itertools
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from datetime import datetime
from pathlib import Path

import h5py
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from project import Project, because, executed, files, planned

from graft.core import store
from graft.reporting import verify

pytestmark = pytest.mark.workflow

EVERYTHING = {
    "download": 2,
    "structure": 2,
    "crop": 8,
    "pack": 8,
    "weights": 1,
    "features": 4,
    "train": 7,
    "evaluate": 7,
    "compare": 2,
    "labels": 1,
    "plots": 2,
    "overview": 1,
    "report": 1,
    "track": 2,
}
BYTES = ("data/*/data_file.csv", "data/*/packs/*.h5", "data/*/crops/*.h5", "features/**/*.h5")
RAW = ("data/*/raw/[!.]*.tar",)
MODELS = ("experiments/*/*/*/model.safetensors", "experiments/*/*/*/history.csv")


def test_one_command_makes_everything_and_a_second_finds_nothing_to_do(done):
    assert {rule: executed(done.log).count(rule) for rule in EVERYTHING} == EVERYTHING
    assert "Nothing to be done" in done.snakemake()


def test_a_run_ends_with_its_result_unless_it_is_to_be_quiet(done):
    places = r"\nReport: +results/report\.html\nModels: .*\nPredictions: .*\nMLflow: "
    ending = r"\nportraits_sex: test accuracy of \d+ samples .*\n  feature_extraction +\d+\.\d %"
    for log in (done.log, done.snakemake()):
        assert re.search(ending, log) and re.search(places, log)
    for log in (done.snakemake("--quiet"), done.dry_run(), done.snakemake("all_crop")):
        assert not re.search(ending, log) and "Models:" not in log


def test_a_run_that_fails_ends_with_what_failed_and_how_to_go_on(edited):
    overlay = edited.folder / "overlay.yaml"
    overlay.write_text("experiments: {portraits_sex: {train_sizes: [999]}}")
    edited.overlays.append(overlay)
    log = edited.snakemake("all_train", check=False)
    assert re.search(
        r"What failed:\n  graft train: experiments\.portraits_sex: train_sizes has 999", log
    )
    assert "(results/logs/train/portraits_sex/train_999/from_scratch/0.log)" in log
    assert "To go on, run again: snakemake all_train --configfile" in log


def test_a_job_s_reason_is_one_short_line(edited):
    overlay = edited.folder / "overlay.yaml"
    overlay.write_text("experiments: {portraits_sex: {train: {tune: {lr: [0.04]}}}}")
    edited.overlays.append(overlay)
    plan = edited.dry_run()
    reasons = re.findall(r"^    reason: (.*)$", plan, re.MULTILINE)
    assert "Params have changed since last execution: train.tune.lr [0.03] -> [0.04]" in reasons
    assert max(map(len, reasons)) < 300


def test_the_labels_curve_has_every_size_of_the_training_set(done):
    folder = done.results / "experiments/portraits_sex"
    curve = json.loads((folder / "labels.seal.json").read_text())
    rows = pd.read_csv(done.results / "data/portraits/data_file.csv")
    faces = [
        json.loads(p.read_text())
        for p in done.results.glob("data/portraits/crops/train*.seal.json")
    ]
    assert curve["sizes"] == [8, sum(part["kept"] for part in faces)]
    assert (rows["split"] == "train").sum() >= curve["sizes"][1]
    for size, place in zip(curve["sizes"], ("train_8/", ""), strict=True):
        for mode, points in curve["modes"].items():
            table = pd.read_csv(folder / f"{place}{mode}/0/predictions.csv")
            (mean,) = (point["mean"] for point in points if point["train_rows"] == size)
            assert mean == pytest.approx((table["true"] == table["predicted"]).mean())
    # The features are those of all samples, computed once.
    assert not list(done.results.glob("features/**/train_8*"))


FOLLOWING_CROP = {k: v for k, v in EVERYTHING.items() if k not in ("download", "structure")}


@pytest.mark.parametrize(
    ("module", "definition", "stages", "plan"),
    [
        ("graft/images/align.py", "crop", {"crop"}, FOLLOWING_CROP),
        (
            "graft/models/weights.py",
            "normalise",
            {"weights"},
            {"weights": 1, "features": 4, "train": 4, "evaluate": 4}
            | dict.fromkeys(("compare", "labels", "plots", "overview", "report", "track"), 1),
        ),
        (
            "graft/evaluation/compare.py",
            "_counts",
            {"compare", "labels", "overview"},
            {"compare": 2, "labels": 1, "plots": 2, "overview": 1, "report": 1, "track": 2},
        ),
        ("graft/reporting/track.py", "record", {"track"}, {"track": 2}),
        ("graft/reporting/changes.py", "update", {"report"}, {"report": 1}),
    ],
)
def test_an_edited_definition_reruns_what_reaches_it_and_what_follows(
    edited, module, definition, stages, plan
):
    path = edited.folder / "workflow/scripts" / module
    lines = path.read_text().splitlines(keepends=True)
    (function,) = (
        n for n in ast.parse("".join(lines)).body if getattr(n, "name", "") == definition
    )
    lines.insert(function.body[0].end_lineno, "    edited = True\n")
    path.write_text("".join(lines))
    dry_run = edited.dry_run()
    assert because(dry_run, "Params have changed") == stages
    assert planned(dry_run) == plan


def test_a_comment_a_docstring_and_an_unused_definition_rerun_nothing(edited):
    path = edited.folder / "workflow/scripts/graft/images/align.py"
    text = path.read_text().replace('"""', '"""Edited. ', 1)
    path.write_text(f"# edited\n{text}\n\ndef unused() -> int:\n    return 1\n")
    assert "Nothing to be done" in edited.dry_run()


@pytest.mark.parametrize(
    ("overlay", "reader"),
    [
        ("evaluate: {seed: 1}", "evaluate"),
        ("compute: {evaluation_precision: bf16}", "evaluate"),
        ("datasets: {portraits: {equalize: true}}", "pack"),
        ("experiments: {portraits_sex: {train: {lr: 0.5}}}", "train"),
        ("compute: {training_processes: 2}", "train"),
        ("mlflow: {experiment: other}", "track"),
    ],
)
def test_a_config_value_reruns_the_stage_that_reads_it(edited, overlay, reader):
    path = edited.folder / "overlay.yaml"
    path.write_text(overlay)
    edited.overlays.append(path)
    assert because(edited.dry_run(), "Params have changed") == {reader}


def test_two_processes_train_what_one_does(edited):
    """By torch's launcher, started within the job: one seal, nothing left behind. How near the
    models are is seen in tests/training/test_distributed.py."""
    path = edited.folder / "overlay.yaml"
    path.write_text("compute: {training_processes: 2}")
    edited.overlays.append(path)
    run = edited.results / "experiments/portraits_sex/from_scratch/0"
    one = pd.read_csv(run / "history.csv")
    log = edited.snakemake(str((run / "fit.json").relative_to(edited.folder)))
    assert executed(log).count("train") == 1 and "threads: 2" in log
    two = pd.read_csv(run / "history.csv")
    same = ["epoch", "learning_rate"]
    pd.testing.assert_frame_equal(two[same], one[same])
    seal = json.loads((run / "fit.json").read_text())["seal"]
    assert seal["recipe"]["settings"]["processes"] == seal["run"]["threads"] == 2
    assert not (run / ".checkpoint.pt").exists()
    written = (edited.results / "logs/train/portraits_sex/from_scratch/0.log").read_text()
    assert "rank 0: epochs" in written and "rank 1: epochs" not in written


def test_another_lock_reruns_everything(edited):
    with open(edited.folder / "envs/graft.lock", "a") as file:
        file.write("another==1.0\n")
    assert planned(edited.dry_run()) == EVERYTHING


def test_forcing_a_stage_reruns_it_and_what_follows(done):
    plan = planned(done.dry_run("--forcerun", "crop"))
    assert plan == FOLLOWING_CROP


def test_forcing_a_stage_redoes_it_instead_of_taking_it_from_the_store(edited):
    log = edited.snakemake("all_compare", "--forcerun", "compare")
    assert "Linking results/" not in log and executed(log).count("compare") == 2
    for path in edited.results.glob("experiments/*/comparison.csv"):
        assert not path.is_symlink()
    assert list(verify.verify_results(edited.results)) == []


def test_one_stage_can_be_asked_for_alone(done, tmp_path):
    fresh = Project(tmp_path / "fresh")
    plan = planned(fresh.dry_run("all_crop"))
    assert plan == {"download": 2, "structure": 2, "crop": 8, "all_crop": 1}


def test_a_second_working_directory_takes_all_but_report_and_track_from_the_store(done, tmp_path):
    other = Project(tmp_path / "other", store=done.store)
    before = {path.name: path.stat().st_mtime_ns for path in store.entries(done.store)}
    log = other.snakemake()
    ran = [path for path in (other.results / "logs").rglob("*.log") if path.stat().st_size]
    assert {path.relative_to(other.results / "logs").parts[0] for path in ran} <= {
        "report",
        "track",
    }
    assert {path.name: path.stat().st_mtime_ns for path in store.entries(done.store)} == before
    assert log.count("Linking results/") > 50
    assert files(other.results, *BYTES, *MODELS) == files(done.results, *BYTES, *MODELS)
    # What came from the store is logged all the same.
    assert ledger(other) == ledger(done)


def test_a_changed_config_value_gets_entries_of_its_own_in_the_store(done, tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("datasets: {portraits: {grayscale: true}}")
    other = Project(tmp_path / "other", store=done.store)
    other.overlays.append(overlay)
    before = set(store.entries(done.store))
    other.snakemake("results/data/portraits/packs/test-00.h5")
    (new,) = set(store.entries(done.store)) - before
    assert {path.name for path in new.iterdir()} == {"test-00.h5", "test-00.seal.json"}
    grey = files(other.results, "data/portraits/packs/test-00.h5")
    assert grey != files(done.results, "data/portraits/packs/test-00.h5")


@pytest.mark.parametrize(
    ("dataset", "experiment"),
    [("portraits", "portraits_sex"), ("portraits_identity", "portraits_identity")],
)
def test_counts_are_conserved_from_the_archive_to_the_predictions(done, dataset, experiment):
    data = done.results / "data" / dataset
    structure = json.loads((data / "data_file.seal.json").read_text())
    with tarfile.open(next(data.glob("raw/*.tar"))) as tar:
        pictures = sum(name.endswith(".jpg") for name in tar.getnames())
    rows = (data / "data_file.csv").read_text().count("\n") - 1
    assert pictures == rows == structure["published"]
    assert structure["published"] == structure["kept"] + sum(structure["dropped"].values())
    faces = [json.loads(path.read_text()) for path in sorted(data.glob("crops/*.seal.json"))]
    assert sum(part["rows"] for part in faces) == structure["kept"]
    assert all(part["rows"] == part["kept"] + sum(part["dropped"].values()) for part in faces)
    test = [json.loads(path.read_text()) for path in data.glob("crops/test-*.seal.json")]
    predictions = list((done.results / "experiments" / experiment).glob("*/*/predictions.csv"))
    assert predictions
    for path in predictions:
        assert path.read_text().count("\n") - 1 == sum(part["kept"] for part in test)


def ledger(project) -> dict:
    """What MLflow's database holds, apart from ids and times."""
    database = sqlite3.connect(project.results / "mlflow/mlflow.db")
    runs = database.execute(
        "select r.run_uuid, t.value from runs r join tags t on t.run_uuid = r.run_uuid "
        "where t.key = 'graft.key' and r.lifecycle_stage = 'active'"
    ).fetchall()
    found = {}
    for run, key in runs:
        assert key not in found, "a run was duplicated"
        steps = database.execute(
            "select key, step, value from metrics where run_uuid = ? and key not like '%seconds%' "
            "and key not like '%memory%'",
            (run,),
        ).fetchall()
        params = database.execute("select key, value from params where run_uuid = ?", (run,))
        found[key] = (sorted(steps), sorted(params.fetchall()))
    return found


def test_mlflow_holds_a_parent_and_a_child_for_each_run_and_reruns_do_not_duplicate(edited):
    before = ledger(edited)
    assert set(before) == {
        "portraits_identity",
        "portraits_identity/from_scratch/0",
        "portraits_sex",
        *(
            f"portraits_sex/{size}{mode}/0"
            for size in ("", "train_8/")
            for mode in ("from_scratch", "feature_extraction", "fine_tuning")
        ),
    }
    steps, params = before["portraits_sex/fine_tuning/0"]
    # Epoch 0 is the start from the trained head.
    assert [s for k, s, _ in steps if k == "val_accuracy"] == [0, 1, 2]
    assert [s for k, s, _ in steps if k == "train_loss"] == [1, 2]
    assert dict(params)["train.epochs"] == "2"
    assert (dict(params)["dataset"], dict(params)["source"]) == ("portraits", "portraits_identity")
    measured = {name for name, _, _ in steps}
    assert {"test_accuracy", "test_auroc", "best_val_accuracy", "best_val_loss"} <= measured
    means = {name for name, _, _ in before["portraits_sex"][0]}
    assert {f"test_{m}/fine_tuning" for m in ("accuracy", "auroc", "log_loss")} <= means
    artifacts = {path.name for path in (edited.results / "mlflow/artifacts").rglob("*.*")}
    assert {"model.safetensors", "predictions.csv", "mode_comparison.svg"} <= artifacts
    edited.snakemake("--forcerun", "track")
    assert ledger(edited) == before


def test_mlflow_has_trainings_times_inputs_and_models_that_predict_as_the_results_say(edited):
    edited.dry_run()  # from the start of any run on, a copy has its models beside it
    folder = edited.results / "experiments/portraits_sex"
    made = json.loads((folder / "mlflow.json").read_text())
    database = sqlite3.connect(edited.results / "mlflow/mlflow.db")
    for name, run in made["children"].items():
        fit = json.loads((folder / name / "fit.json").read_text())
        began, ended = database.execute(
            "select start_time, end_time from runs where run_uuid = ?", (run,)
        ).fetchone()
        started = datetime.fromisoformat(fit["seal"]["run"]["started"]).timestamp()
        assert began == pytest.approx(started * 1000, abs=1)
        assert ended - began == pytest.approx(fit["seal"]["run"]["seconds"] * 1000, abs=2)
        inputs = database.execute(
            "select d.name, t.value from datasets d join inputs i on i.source_id = d.dataset_uuid "
            "join input_tags t on t.input_uuid = i.input_uuid where i.destination_id = ?",
            (run,),
        )
        uses = {("portraits", "training"), ("portraits", "validation"), ("portraits", "test")}
        transferred = set() if "from_scratch" in name else {("portraits_identity", "source")}
        assert set(inputs) == uses | transferred

        (place,) = database.execute(
            "select artifact_location from logged_models where model_id = ?",
            (made["models"][name],),
        ).fetchone()
        assert edited.folder in Path(place).parents
        parts = sorted(edited.results.glob("data/portraits/packs/test-*.h5"))
        pictures = np.concatenate([h5py.File(part)["images"][:] for part in parts])
        predictions = pd.read_csv(folder / name / "predictions.csv").filter(like="confidence_")
        probabilities = mlflow.pyfunc.load_model(place).predict(pictures)
        assert [f"confidence_{name}" for name in probabilities] == list(predictions)
        # Activations at a cut are kept in float16.
        assert np.allclose(probabilities, predictions, rtol=0, atol=0.01)


def test_a_clean_project_is_verified_whole(done):
    assert list(verify.verify_results(done.results)) == []
    assert list(verify.verify_store(done.store)) == []


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "deleted": lambda path: path.unlink(),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": flip,
    "emptied": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_verify_finds_every_damaged_entry_of_the_store(done, tmp_path, damage):
    missed = []
    for entry in store.entries(done.store):
        for name in sorted(path.name for path in entry.iterdir()):
            place = tmp_path / f"{entry.name}-{name}"
            shutil.copytree(entry, place / entry.name, copy_function=shutil.copyfile)
            DAMAGE[damage](place / entry.name / name)
            if not list(verify.verify_store(place)):
                missed.append(place.name)
    assert missed == []


def test_verify_finds_every_damaged_file_of_the_results(edited):
    whole = [
        path
        for folder in verify.SEALED_FOLDERS
        for path in sorted((edited.results / folder).rglob("*"))
        if path.is_file() and path.name != "mlflow.json"  # it vouches for nothing beside it
    ]
    assert len(whole) > 80
    missed = []
    for path, damage in zip(whole[::2], itertools.cycle(DAMAGE), strict=False):
        good = path.read_bytes()
        path.unlink()
        path.write_bytes(good)
        DAMAGE[damage](path)
        if not list(verify.verify_results(edited.results)):
            missed.append((path, damage))
        path.write_bytes(good)
    assert missed == []
    assert list(verify.verify_results(edited.results)) == []


def test_repair_removes_nothing_outside_the_store(edited, tmp_path):
    mine = tmp_path / "mine.tar"
    mine.write_bytes(b"precious")
    (edited.results / "data/portraits/raw/mine.tar").symlink_to(mine)
    problems = list(verify.verify_results(edited.results))
    assert ["mine.tar" in problem.sentence for problem in problems] == [True]
    for problem in problems:
        verify.remove(problem, edited.store)
    assert mine.read_bytes() == b"precious"


def test_an_artefact_made_from_an_older_input_is_found(edited):
    """A model and its seal replaced together are whole, but the predictions are another's."""
    run = edited.results / "experiments/portraits_sex/from_scratch/0"
    other = edited.results / "experiments/portraits_sex/fine_tuning/0"
    for name in ("model.safetensors", "history.csv", "fit.json"):
        (run / name).unlink()
        shutil.copy(other / name, run / name)
    sentences = [problem.sentence for problem in verify.verify_results(edited.results)]
    assert any("metrics.json: it was made from another" in sentence for sentence in sentences)


def test_a_damaged_entry_is_refused_by_its_reader(edited):
    """Its size and date are as before, so that planning does not see it. Other damage, and other
    readers: test_faults.py and tests/core/test_seals.py."""
    pack = edited.results / "data/portraits/packs/test-00.h5"
    time = pack.stat().st_mtime_ns
    pack.resolve().chmod(0o644)
    flip(pack.resolve())
    os.utime(pack, ns=(time, time))
    overlay = edited.folder / "overlay.yaml"  # so that `plots` reads the pack once more
    overlay.write_text("experiments: {portraits_sex: {title: Another title}}")
    edited.overlays.append(overlay)
    log = edited.snakemake(check=False)
    sentence = "graft plots: results/data/portraits/packs/test-00.h5: "
    messages = [line for line in log.splitlines() if line.startswith(sentence)]
    assert messages and "make repair" in messages[0] and "Traceback" not in log


def verified(project) -> subprocess.CompletedProcess:
    """`make verify`, with the project's overlays."""
    overlays = ["--configfile", *map(str, project.overlays)]
    return subprocess.run(
        [sys.executable, "workflow/scripts/verify.py", "results", *overlays],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_verify_names_what_the_config_of_today_would_change(edited):
    whole = verified(edited)
    assert whole.returncode == 0, whole.stdout
    assert "All are what the config, the code and the inputs give." in whole.stdout
    shutil.rmtree(edited.folder / ".snakemake")
    edited.overlays.append(edited.folder / "overlay.yaml")
    edited.overlays[-1].write_text("experiments: {portraits_sex: {train: {lr: 0.5}}}")
    stale = verified(edited)
    assert stale.returncode == 1
    assert "results/experiments/portraits_sex/from_scratch/0/fit.json: " in stale.stdout
    assert "portraits_identity/from_scratch" not in stale.stdout


def test_verify_finds_what_was_made_from_a_file_that_is_missing(edited):
    for name in ("data_file.csv", "data_file.seal.json"):
        (edited.results / "data/portraits" / name).unlink()
    sentences = [problem.sentence for problem in verify.verify_results(edited.results)]
    missing = "it was made from results/data/portraits/data_file.csv, which is missing"
    assert any("crops/train-00.seal.json: " in s and missing in s for s in sentences)


def test_figures_changed_by_hand_are_found(edited):
    metrics = edited.results / "experiments/portraits_sex/from_scratch/0/metrics.json"
    record = json.loads(metrics.read_text())
    record["accuracy"] = 0.99
    metrics.unlink()
    metrics.write_text(json.dumps(record))
    sentences = [p.sentence for p in verify.verify_results(edited.results)]
    assert any("metrics.json" in sentence for sentence in sentences)


STARTED = {
    "crop": "logs/crop/portraits_identity/train-00.log",
    "train": "experiments/portraits_identity/*/*/.checkpoint.pt",
}
"""Stage -> the files by which one sees that a job of it has begun."""


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(done, tmp_path):
    """As the other, undisturbed run: another directory, and a store that was empty."""
    target = "results/experiments/portraits_identity/from_scratch/0/metrics.json"
    project = Project(tmp_path / "project")
    for pattern in STARTED.values():
        project.kill_at(pattern, target)
    project.snakemake(target)
    first, second = (files(p.results, *BYTES, *MODELS, *RAW) for p in (done, project))
    assert len(second) == 12
    assert [name for name in second if first[name] != second[name]] == []
    assert not list(project.results.glob(STARTED["train"]))


RULE = """

rule added:
    output:
        "results/added.txt",
    log:
        "results/logs/added.log",
    {extra}
    script:
        "../scripts/structure.py"
"""


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("cache: True", "lacks `params: recipe="),
        ("params: recipe=recipe('structure', dict)", "carries the recipe of structure"),
        ("params: recipe=recipe('added', dict)", "lacks `cache: True`"),
    ],
)
def test_a_rule_that_breaks_the_contract_stops_the_parse(tmp_path, extra, problem):
    project = Project(tmp_path / "project")
    with open(project.folder / "workflow/rules/track.smk", "a") as file:
        file.write(RULE.format(extra=extra))
    assert problem in project.dry_run(check=False)


@pytest.mark.parametrize("profile", ["default", "slurm", "generic"])
def test_each_profile_plans_the_same_jobs(tmp_path, profile):
    project = Project(tmp_path / "project")
    assert planned(project.dry_run(profile=profile, cores=False)) == EVERYTHING


def test_regions_are_made_where_a_layout_says_where_objects_are_and_nowhere_else(tmp_path):
    project = Project(tmp_path / "project")
    overlay = project.folder / "overlay.yaml"
    overlay.write_text(
        "run: [objects]\n"
        "datasets: {voc2007: {shards: {train: 1, val: 1, test: 1}}}\n"
        "experiments: {objects: {dataset: voc2007, source: vgg_mini, modes: [from_scratch]}}\n"
    )
    project.overlays = [ROOT / "config" / "voc2007.yaml", overlay]
    plan = planned(project.dry_run())
    assert plan["regions"] == 1 and plan["structure"] == 1 and plan["download"] == 2
    assert planned(project.dry_run("all_regions"))["regions"] == 1
    assert "regions" not in planned(Project(tmp_path / "tiny").dry_run())


def test_a_file_with_another_sha256_is_reported_in_one_sentence(tmp_path):
    project = Project(tmp_path / "project")
    (project.folder / "mine.tar").write_bytes(b"not what was published")
    overlay = project.folder / "overlay.yaml"
    overlay.write_text(
        "datasets: {mine: {layout: lfw, label: identity, packed_size: 32, files: "
        "{mine.tar: {url: [mine.tar], sha256: " + "a" * 64 + "}}}}\n"
        "run: [mine]\n"
        "experiments: {mine: {dataset: mine, source: vgg_mini, modes: [from_scratch]}}\n"
    )
    project.overlays = [overlay]
    log = project.snakemake("all_download", check=False)
    sentence = "graft download: datasets.mine.files.mine.tar: "
    messages = [line for line in log.splitlines() if line.startswith(sentence)]
    assert "datasets.mine.files.mine.tar.sha256" in messages[0] and "Traceback" not in log
    assert not (project.results / "data/mine/raw/mine.tar").exists()


def test_an_unknown_key_in_an_overlay_is_reported_with_the_nearest_known_one(tmp_path):
    project = Project(tmp_path / "project")
    overlay = project.folder / "overlay.yaml"
    overlay.write_text("datasets: {portraits: {packed_sise: 3}}")
    project.overlays = [overlay]
    log = project.dry_run(check=False)
    assert "datasets.portraits.packed_sise is not a known key. Did you mean packed_size?" in log


def test_a_folder_whose_path_has_a_space_is_refused_at_once(tmp_path):
    folder = tmp_path / "my project"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    done = subprocess.run(
        ["make", "setup"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "Move this folder to a path without one" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["Makefile"]


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_report_opens_offline_with_every_picture_shown(done, tmp_path):
    page, report = done.results / "report.html", done.results / "workflow_report.html"
    done.snakemake("--report", str(report), cores=False)
    pictures = sorted(done.results.glob("experiments/*/plots/*.svg"))
    shown = tmp_path / "shown.html"
    shown.write_text("".join(f'<img src="{path}">' for path in pictures) + LOADED)
    for opened, wanted in (
        (page, " pictures</output>"),
        (report, "portraits_sex"),
        (shown, f"loaded {len(pictures)}<"),
    ):
        browser = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
            + ["--virtual-time-budget=10000", "--host-resolver-rules=MAP * ~NOTFOUND"]
            + ["--allow-file-access-from-files", opened.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert wanted in browser.stdout
    html = report.read_text(encoding="utf-8")
    assert html.count("data:image/svg+xml;charset") >= len(pictures)


LOADED = """<p id="n"></p><script>
window.onload = () => {
  const loaded = [...document.images].filter((i) => i.complete && i.naturalWidth > 0).length;
  document.getElementById("n").textContent = "loaded " + loaded;
};
</script>"""
