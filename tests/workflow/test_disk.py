"""The disk space that features take is stated, and refused, before a run starts."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import SHIPPED
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

import disk
from graft.config.read import read_config

LARGE = {
    "datasets": {
        "portraits": {"packed_size": 224, "limit": {"train": 50_000, "val": 5_000, "test": 10_000}}
    }
}


def config(changes=None):
    """The shipped config, with changes."""
    merged: dict = {}
    for part in (SHIPPED, changes or {}):
        update_config(merged, part)
    return read_config(merged)


def workflow(*parts: str, cut: str = "block1"):
    """A workflow that has features of these parts to compute."""
    places = {"dataset": "portraits", "source": "portraits_identity", "cut": cut}
    features, pack = (
        SimpleNamespace(params={"recipe": SimpleNamespace(recipe_of=stage)})
        for stage in ("features", "pack")
    )
    jobs = [
        SimpleNamespace(rule=features, wildcards=SimpleNamespace(**places, part=part))
        for part in parts
    ]
    other = SimpleNamespace(rule=pack, wildcards=SimpleNamespace())
    return SimpleNamespace(dag=SimpleNamespace(needrun_jobs=lambda: [other, *jobs]))


@pytest.fixture
def stated(tmp_path, monkeypatch):
    """Level -> what was logged, with 10 GB free on an imagined disk."""
    found: dict[str, list[str]] = {"info": [], "warning": []}
    logger = SimpleNamespace(**{level: lines.append for level, lines in found.items()})
    monkeypatch.setattr(disk, "logger", logger)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: SimpleNamespace(free=10 * 10**9))
    monkeypatch.chdir(tmp_path)
    return found


# vgg_mini's first block has 16 maps of 112 x 112 after its pooling: 401,408 bytes in float16.
# Training pictures have two views, others one.
@pytest.mark.parametrize(
    "parts, taken",
    [(["val-00"], "2.0 GB"), (["test-00"], "2.0 GB"), (["test-00", "test-01"], "4.0 GB")],
)
def test_what_features_take_is_stated(stated, parts, taken):
    disk.check_features(workflow(*parts), config(LARGE), Path("store"))
    (line,) = stated["info"]
    assert line == (
        f"features: {taken} are needed, and 10.0 GB are free "
        f"(portraits behind block1 of portraits_identity: {taken})."
    )
    assert stated["warning"] == []


def test_features_that_do_not_fit_are_refused(stated):
    with pytest.raises(WorkflowError, match=r"40\.1 GB are needed, and 10\.0 GB are free .*cuts"):
        disk.check_features(workflow("train-00"), config(LARGE), Path("store"))


def test_a_store_that_may_have_them_makes_it_a_warning(stated):
    (Path("store") / ("0" * 64)).mkdir(parents=True)
    disk.check_features(workflow("train-00"), config(LARGE), Path("store"))
    assert re.match(r"features: 40\.1 GB are needed", *stated["warning"])


def test_the_number_of_pictures_is_that_of_the_data_file_once_there_is_one(stated, monkeypatch):
    monkeypatch.setattr(disk.seals, "read", lambda path: {"rows": {"val": 2_500}})
    disk.check_features(workflow("val-00"), config(LARGE), Path("store"))
    assert stated["info"][0].startswith("features: 1.0 GB are needed")


def test_small_features_are_not_worth_a_line_or_a_look_at_the_network(stated, monkeypatch):
    monkeypatch.setattr(disk.networks, "values", lambda *asked: pytest.fail(json.dumps(asked)))
    disk.check_features(workflow("train-00", "val-00", "test-00"), config(), Path("store"))
    assert stated == {"info": [], "warning": []}
