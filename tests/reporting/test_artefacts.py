"""Artefacts: digests of what is in files, and whether a machine made the published ones."""

import hashlib
import json
import re
import shutil

import h5py
import numpy as np
import pytest
from conftest import ROOT

import golden
from graft.reporting import artefacts


def pack(path, *, recipe="a", value=1, kind=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["recipe"], file.attrs["classes"] = recipe, "n, p"
        file["images"] = np.full((3000, 2), value, kind)
    return path


def test_a_recipe_is_no_part_of_what_a_pack_holds(tmp_path):
    first = artefacts.digest(pack(tmp_path / "a.h5"))
    assert artefacts.digest(pack(tmp_path / "b.h5", recipe="b")) == first
    assert artefacts.digest(pack(tmp_path / "c.h5", value=2)) != first
    assert artefacts.digest(pack(tmp_path / "d.h5", kind=np.int8)) != first
    with h5py.File(pack(tmp_path / "e.h5"), "r+") as file:
        file["images"][2999, 1] = 0
    assert artefacts.digest(tmp_path / "e.h5") != first


def test_the_figures_are_those_of_the_comparisons(tmp_path):
    modes = {
        "fine_tuning": {"mean": 0.6971, "low": 0.66849, "high": 0.72},
        "from_scratch": {"mean": 0.5, "low": None, "high": None},
    }
    seal = tmp_path / "experiments/e/comparison.seal.json"
    seal.parent.mkdir(parents=True)
    seal.write_text(json.dumps({"modes": modes}))
    expected = {"fine_tuning": "69.7 % [66.8, 72.0]", "from_scratch": "50.0 %"}
    assert artefacts.figures(tmp_path) == {"e": expected}


def test_the_readme_quotes_the_published_figures_and_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    published = json.loads(golden.GOLDEN.read_text(encoding="utf-8"))["default"]["figures"]
    _, block, _ = re.split(r"<!-- (?:figures|end of figures) -->", text)
    rows = [line.strip("| ").split(" | ") for line in block.strip().splitlines()[2:]]
    assert {mode.strip("`"): figure for mode, figure, *_ in rows} == published["portraits_sex"]
    prose = re.sub(r"<!--.*?-->|https?://\S+", "", text)
    assert len(re.findall(r"\w[\w'.-]*", prose)) <= 900


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    pack(folder / "data/d/packs/train-00.h5")
    (folder / "experiments/e/m/0").mkdir(parents=True)
    (folder / "experiments/e/m/0/predictions.csv").write_text("sample_id\n")
    (folder / "experiments/e/m/0/fit.json").write_text("{}")  # a seal holds times
    return folder


def test_artefacts_are_listed_in_the_order_of_the_stages(results):
    found = artefacts.digests(results)
    names = ["data/d/packs/train-00.h5", "experiments/e/m/0/predictions.csv"]
    assert list(found) == names
    assert found[names[1]] == hashlib.sha256(b"sample_id\n").hexdigest()
    other = found | {names[0]: "0"}
    assert artefacts.difference(found, found) == []
    assert artefacts.difference(other, found) == artefacts.difference({}, found)[:1] == names[:1]


def test_a_machine_says_whether_it_made_the_published_bytes(results, monkeypatch, capsys):
    monkeypatch.setattr(golden, "GOLDEN", results.parent / "golden.json")

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["golden.py", str(results), *arguments])
        return golden.main(), capsys.readouterr().out

    assert run() == (1, "Nothing is published of the configuration 'default'.\n")
    assert run("--write") == (0, "")
    assert run() == (0, "Reproduced: 2 of 2 artefacts have the published bytes.\n")
    pack(results / "data/d/packs/train-00.h5", value=7)
    code, text = run()
    assert code == 1
    assert "1 of 2" in text and "Other bytes: data/d/packs/train-00.h5. This is expected" in text
    published = json.loads(golden.GOLDEN.read_text())["default"]
    assert len(published["cpus"]) == 1
    published["cpus"].append("another")
    golden.GOLDEN.write_text(json.dumps({"default": published}))
    run("--write")
    assert len(json.loads(golden.GOLDEN.read_text())["default"]["cpus"]) == 1, "other bytes"
    shutil.rmtree(results)
    code, text = run("--write")
    assert code == 1 and text.endswith("it holds no artefacts. Run the workflow first.\n")
    assert json.loads(golden.GOLDEN.read_text())["default"]["digests"], "still published"
