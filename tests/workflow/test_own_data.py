"""Own pictures and the embedded digits through the whole workflow."""

import hashlib
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from builders import FOLDER, MERGED, make_zip, overlay, plant
from project import Project, executed, files, planned

from graft.datasets import table
from graft.models.backbones import Backbone
from graft.reporting import verify

pytestmark = pytest.mark.workflow


def drawing(kind, index):
    """A picture of 40 x 40 pixels: a disc or a square of some size and colour, as PNG."""
    rng = np.random.default_rng([index, len(kind)])
    image = np.full((40, 40, 3), 255, np.uint8)
    colour, size = rng.integers(0, 200, 3).tolist(), int(rng.integers(6, 14))
    if kind == "disc":
        cv2.circle(image, (20, 20), size, colour, -1)
    else:
        cv2.rectangle(image, (20 - size, 20 - size), (20 + size, 20 + size), colour, -1)
    return cv2.imencode(".png", image)[1].tobytes()


def test_own_pictures_from_a_folder_and_a_zip_file_to_the_report(tmp_path):
    mine = {f"{kind}/{i}.png": drawing(kind, i) for kind in ("disc", "square") for i in range(6)}
    more = {f"set/{i}.png": drawing(("disc", "box")[i % 2], 50 + i) for i in range(8)}
    listed = "path,label\n" + "".join(f"{i}.PNG,{('disc', 'box')[i % 2]}\n" for i in range(8))
    published = make_zip(tmp_path / "more.zip", more | {"set/t.csv": listed.encode()})
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    config = overlay(
        "both",
        mine=FOLDER,
        more=FOLDER
        | {
            "files": {"more.zip": {"url": [str(published)], "sha256": digest}},
            "options": {"table": "t.csv"},
            "classes": {"rename": {"box": "square"}},
        },
        both=MERGED,
    )
    config |= {"compute": {"device": "cpu"}, "evaluate": {"resamples": 100}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    project = Project(tmp_path / "project", overlays=[tmp_path / "own.yaml"])

    log = project.snakemake(check=False)
    assert "datasets.mine.files.mine.tar.folder is 'photos', where there is no folder" in log

    photos = plant(project.folder / "photos", mine)
    log = project.snakemake()
    assert Counter(executed(log))["download"] == 2
    frame = table.read(project.results / "data/both/data_file.csv")
    assert Counter(frame["label"]) == {"disc": 10, "square": 10}
    assert set(frame["archive"]) == {"mine/mine.tar", "more/more.tar"}
    noted = "8 of its 8 names are those of pictures but for the case, such as '0.PNG'"
    seal = json.loads((project.results / "data/both/data_file.seal.json").read_text())
    assert noted in seal["notes"][0] and "more.tar: set/t.csv: " in seal["notes"][0]
    assert noted in (project.results / "logs/structure/both.log").read_text()
    assert noted in (project.results / "experiments/both/plots/summary.html").read_text().replace(
        "&#39;", "'"
    )

    os.utime(photos / "disc/0.png", (1, 1))
    photos = photos.rename(tmp_path / "moved")
    config["datasets"]["mine"]["files"]["mine.tar"]["folder"] = str(photos)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    assert not planned(project.dry_run())
    plant(photos, {"disc/new.png": drawing("disc", 99)})
    again = planned(project.dry_run())
    assert again["download"] == 1 and again["structure"] == 1 and again["train"] == 1


OVERLAY = """
run: [digits]
compute: {device: cpu}
experiments:
  digits: {dataset: digits, source: vgg_mini, modes: [from_scratch]}
"""


def test_the_digits_become_packs_and_come_out_of_the_store(tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(OVERLAY)
    first = Project(tmp_path / "first", store=tmp_path / "store", overlays=[overlay])
    target = "results/data/digits/packs/val-00.h5"
    first.snakemake(target)
    wanted = ("results/data/digits/raw/*-ubyte", target)
    made = files(first.folder, *wanted)
    names = ["digits-images-idx3-ubyte", "digits-labels-idx1-ubyte", "val-00.h5"]
    assert sorted(Path(name).name for name in made) == names
    before = {path.name: path.stat().st_mtime_ns for path in first.store.iterdir()}
    second = tmp_path / "second"
    shutil.copytree(first.folder, second, ignore=shutil.ignore_patterns("results", ".snakemake"))
    Project(second, store=first.store, overlays=[overlay]).snakemake(target)
    assert files(second, *wanted) == made
    # Files whose names have no suffix are stored and verified like all others.
    assert {path.name: path.stat().st_mtime_ns for path in first.store.iterdir()} == before
    assert list(verify.verify_store(first.store)) == []
    assert list(verify.verify_results(second / "results")) == []


def test_own_weights_need_no_digest_and_a_changed_file_is_imported_anew(tmp_path):
    torch.manual_seed(0)
    tensors = Backbone("vgg_mini").tensors()
    net = tmp_path / "net.pth"
    torch.save(tensors, net)
    config = {
        "run": ["digits"],
        "compute": {"device": "cpu"},
        "sources": {"own": {"architecture": "vgg_mini", "weights": {"file": str(net)}}},
        "experiments": {"digits": {"dataset": "digits", "source": "own", "modes": ["knn_probe"]}},
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    project = Project(tmp_path / "project", overlays=[tmp_path / "own.yaml"])
    project.snakemake("all_weights")
    report = json.loads((project.results / "sources/own.import_report.json").read_text())
    assert report["origin"]["sha256"] == hashlib.sha256(net.read_bytes()).hexdigest()
    assert list(verify.verify_results(project.results)) == []
    os.utime(net, (1, 1))
    assert not planned(project.dry_run("all_weights"))
    torch.save({name: tensor + 1 for name, tensor in tensors.items()}, net)
    assert planned(project.dry_run("all_weights"))["weights"] == 1
    net.rename(tmp_path / "gone.pth")
    log = project.snakemake("all_weights", check=False)
    assert "sources.own.weights.file is" in log and "cannot be read (No such file" in log


def several(index):
    """A picture of 40 x 40 pixels with a disc, a square, both or neither, as PNG; and which."""
    rng = np.random.default_rng([index, 7])
    image = np.full((40, 40, 3), 255, np.uint8)
    held = [name for bit, name in enumerate(("disc", "square")) if index >> bit & 1]
    if "disc" in held:
        cv2.circle(image, (int(rng.integers(8, 32)), 12), int(rng.integers(5, 8)), (200, 0, 0), -1)
    if "square" in held:
        x, side = int(rng.integers(4, 24)), int(rng.integers(8, 13))
        cv2.rectangle(image, (x, 26), (x + side, 26 + side), (0, 0, 200), -1)
    return cv2.imencode(".png", image)[1].tobytes(), "|".join(held)


def test_pictures_of_several_classes_from_a_table_to_the_report_and_onnx(tmp_path):
    drawn = {f"{i}.png": several(i) for i in range(60)}
    listed = "path,label\n" + "".join(f"{name},{held}\n" for name, (_, held) in drawn.items())
    sets = FOLDER | {
        "files": {"mine.tar": {"folder": str(tmp_path / "photos")}},
        "label": {"multi": True},
        "options": {"table": "labels.csv"},
    }
    plant(tmp_path / "photos", {name: data for name, (data, _) in drawn.items()})
    (tmp_path / "photos/labels.csv").write_text(listed)
    config = overlay(mine=sets)
    config["experiments"]["mine"]["train"] = {"epochs": 4, "lr": 0.003, "head": {"pool": "flatten"}}
    config |= {"compute": {"device": "cpu"}, "evaluate": {"resamples": 100}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    project = Project(tmp_path / "project", overlays=[tmp_path / "own.yaml"])
    log = project.snakemake("all", "all_export")
    assert "mAP" in log

    frame = table.read(project.results / "data/mine/data_file.csv")
    assert Counter(frame["label"]) == {"": 15, "disc": 15, "square": 15, "disc|square": 15}
    run = project.results / "experiments/mine/from_scratch/0"
    measured = json.loads((run / "metrics.json").read_text())
    assert measured["classes"] == ["disc", "square"] and measured["n"] > 5
    assert measured["mean_ap"] > measured["majority_baseline"]
    assert set(measured["per_class"]["disc"]) >= {"ap", "ap_11", "threshold", "f1", "positives"}
    session = onnxruntime.InferenceSession(run / "model.onnx")
    probabilities = session.run(
        ["probabilities"], {"pictures": np.full((1, 3, 32, 32), 255, np.float32)}
    )[0]
    assert probabilities.shape == (1, 2)  # of a white picture, each class by itself
    assert not list(verify.verify_results(project.results))
