"""The config that is written for a folder of photographs."""

import subprocess
import sys
from collections import Counter

import pytest
import yaml
from builders import plant
from conftest import ROOT, SHIPPED

from graft.config import plan
from graft.config.read import read_config
from graft.core.errors import GraftError
from graft.datasets import photos


def folder(tmp_path, **classes):
    names = [f"{name}/{n}.jpg" for name, number in classes.items() for n in range(number)]
    return plant(tmp_path / "my photos", {name: b"x" for name in names})


def merged(text):
    """The shipped config with the overlay, as Snakemake merges them."""

    def merge(below, above):
        if not (isinstance(below, dict) and isinstance(above, dict)):
            return above
        return {k: merge(below.get(k), above[k]) if k in above else below[k] for k in below | above}

    return read_config(merge(SHIPPED, yaml.safe_load(text)))


def test_pictures_are_counted_by_the_folder_at_the_top(tmp_path):
    place = folder(tmp_path, cat=3, dog=2)
    plant(place, {"cat/kittens/a.PNG": b"x", "cat/notes.txt": b"x", "dog/.thumb.jpg": b"x"})
    plant(place, {".cache/a.jpg": b"x", "top.jpg": b"x", "empty/readme.md": b"x"})
    assert photos.count(place) == Counter(cat=4, dog=2)


@pytest.mark.parametrize("pattern", ["{}", "PetImages/PetImages/{}", "Training/{}", "train/{}"])
def test_the_classes_are_those_that_the_layout_reads(tmp_path, pattern):
    names = [f"{pattern.format(name)}/{n}.jpg" for name in ("cat", "dog") for n in range(3)]
    tested = [name.replace("rain", "est", 1) for name in names if "rain" in name]
    place = plant(tmp_path / "mine", {name: b"x" for name in (*names, *tested)})
    assert photos.count(place) == Counter(dict.fromkeys(("cat", "dog"), 3 + len(tested) // 2))


def test_folders_that_may_be_splits_are_counted_until_the_config_answers(tmp_path):
    place = plant(tmp_path / "mine", {f"{a}/{b}/1.jpg": b"x" for a in "AB" for b in ("cat", "dog")})
    assert photos.count(place) == Counter(A=2, B=2)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"cat": 3}, "and has only cat"),
        ({}, "there is no such folder"),
        ({"cat": 3, "dog": 1}, "dog: one picture cannot be both"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(tmp_path, classes, message):
    with pytest.raises(GraftError, match=message):
        photos.count(folder(tmp_path, **classes))


def test_the_config_is_valid_and_names_the_folder(tmp_path):
    place = folder(tmp_path, cat=120, dog=80)
    config = merged(photos.config(place, photos.count(place)))
    assert config.datasets["my_photos"].files["my_photos.tar"].folder == str(place)
    assert plan.experiments(config) == ["my_photos"]
    experiment = config.experiments["my_photos"]
    assert experiment.source == "imagenet_resnet18" and experiment.train_sizes == (20, 50, "all")
    assert (experiment.train.epochs, experiment.train.batch_size) == (12, 8)
    assert len(experiment.seeds) == 3


def test_many_photographs_get_fewer_epochs_and_larger_sizes(tmp_path):
    config = merged(photos.config(tmp_path, {f"class {n}": 300 for n in range(20)}))
    experiment = config.experiments["my_photos"]
    assert (experiment.train.epochs, experiment.train.batch_size) == (4, 32)
    assert experiment.train_sizes == (50, 100, 200, 500, 1000, "all")


def test_own_weights_become_a_source(tmp_path):
    text = photos.config(
        tmp_path, {"a": 9, "b": 9}, weights=tmp_path / "w: x.pth", architecture="squeezenet1_1"
    )
    config = merged(text)
    assert plan.weight_files(config) == {"my_weights": str(tmp_path / "w: x.pth")}
    assert config.sources["my_weights"].architecture == "squeezenet1_1"
    assert config.experiments["my_photos"].train_sizes == ("all",)


def test_the_command_keeps_a_file_that_may_hold_changes(tmp_path):
    place = folder(tmp_path, cat=3, dog=2)
    (tmp_path / "config").mkdir()
    script = ROOT / "workflow/scripts/photos.py"

    def run(*arguments):
        return subprocess.run(
            [sys.executable, script, place, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    first = run()
    assert first.returncode == 0 and "5 pictures: cat 3, dog 2." in first.stdout
    path = tmp_path / "config/my_photos.yaml"
    path.write_text("mine")
    again = run()
    assert again.returncode == 1 and "add FORCE=1" in again.stderr
    assert path.read_text() == "mine"
    assert run("--force").returncode == 0 and path.read_text() != "mine"
