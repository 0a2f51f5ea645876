"""Predictions of own pictures and exports, as targets of the workflow."""

import json

import pytest
from builders import draw_photos, read_rows
from project import Project, planned

from graft.core import seals
from graft.reporting import verify

pytestmark = pytest.mark.workflow


def test_the_target_predicts_a_folder_and_follows_it(edited, tmp_path):
    project, drawn = edited, draw_photos(tmp_path)
    overlay = project.folder / "overlay.yaml"
    project.overlays.append(overlay)
    few = {"run": ["portraits_identity"]}
    overlay.write_text(json.dumps(few))
    printed = project.snakemake("predict", check=False)
    assert "config: predict.pictures is missing. Name your folder" in printed

    asked = {"pictures": "photos", "experiment": "portraits_identity", "mode": "from_scratch"}
    overlay.write_text(json.dumps({**few, "predict": asked}))
    # Without the folder nothing starts, so nothing is trained for nothing.
    printed = project.snakemake("predict", check=False)
    assert "predict.pictures is 'photos', where there is no folder" in printed
    assert not planned(printed)

    photos = project.folder / "photos"
    photos.mkdir()
    for path in drawn.rglob("*.*"):
        (photos / path.name).write_bytes(path.read_bytes())
    project.snakemake("predict", "all_export")
    rows = read_rows(project.results / "predict/predictions.csv")
    record = seals.read(project.results / "predict/predictions.seal.json")
    assert len(rows) == 6 and record["dropped"] == {"no_face": 2, "unreadable": 1}
    assert not list(project.store.glob("*_contact_sheet.html"))
    model = "experiments/portraits_identity/from_scratch/0/model.onnx"
    exported = seals.read(project.results / f"{model}.seal.json")
    assert exported["max_abs_difference"] < 1e-4 and (project.results / model).stat().st_size
    assert list(verify.verify_results(project.results)) == []

    assert "Nothing to be done" in project.dry_run("predict", "all_predict", "all_export")
    (photos / "blank.png").unlink()
    assert planned(project.dry_run("all_predict")) == {"predict": 1, "all_predict": 1}
    # A model file needs no experiment and nothing else.
    by_file = {"model": f"results/{model[:-4]}safetensors"}
    overlay.write_text(json.dumps({"predict": {"pictures": "photos", **by_file}}))
    project.snakemake("predict")
    again = read_rows(project.results / "predict/predictions.csv")
    assert again == [row for row in rows if row["picture"] != "blank.png"]
    # A wrong path leaves the predictions as they are.
    overlay.write_text(json.dumps({"predict": {"pictures": "photo", **by_file}}))
    project.snakemake("predict", check=False)
    assert read_rows(project.results / "predict/predictions.csv") == again


def test_a_model_is_trained_on_the_way_where_there_is_none(tmp_path):
    project = Project(tmp_path / "project")
    draw_photos(project.folder)
    overlay = project.folder / "overlay.yaml"
    asked = {"pictures": "photos", "experiment": "portraits_identity", "mode": "from_scratch"}
    overlay.write_text(json.dumps({"predict": asked}))
    project.overlays.append(overlay)
    plan = planned(project.dry_run("predict"))
    assert (plan["train"], plan["predict"]) == (1, 1) and "evaluate" not in plan
