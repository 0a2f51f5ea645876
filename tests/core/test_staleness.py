"""Staleness: what a seal has against today's recipe and the inputs' own seals."""

import os

import pytest

from graft.core import seals, staleness
from graft.core.errors import GraftError


def write(folder, name, recipe, inputs):
    artefact, seal = folder / f"{name}.h5", folder / f"{name}.seal.json"
    artefact.write_text(f"{name} {recipe}")
    options = {"stage": name, "results": {}, "run": {}}
    seals.write(seal, {"out": artefact}, recipe=recipe, inputs=inputs, **options)
    return artefact, seal


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """An input, and an artefact that was made from it; with today's recipe of the second."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "crop", {"inputs": {}}, {})
    (record,), digests = seals.check(["crop.h5"], ["crop.seal.json"])
    recipe = {
        "settings": {"size": 32, "options": {}},
        "inputs": {"crops": ["crop.h5", "crop.seal.json"]},
    }
    write(tmp_path, "pack", recipe, {"crops": digests})
    return tmp_path / "pack.seal.json", recipe


def test_nothing_has_changed(chain):
    assert staleness.changes(*chain) == (set(), set())


def test_a_setting_that_has_changed_is_named_with_both_values(chain):
    seal, recipe = chain
    today = {**recipe, "settings": {"size": 64, "options": {"gray": True}}}
    before, now = staleness.changes(seal, today)
    assert before == {"settings.size: 32", "settings.options: {}"}
    assert now == {"settings.size: 64", "settings.options.gray: true"}


def test_an_input_that_was_made_again_differently_is_named(chain, tmp_path):
    write(tmp_path, "crop", {"inputs": {}, "other": 1}, {})
    before, now = staleness.changes(*chain)
    assert [line.split(":")[0] for line in [*before, *now]] == ["crop.h5", "crop.h5"]


@pytest.mark.parametrize(
    ("before", "now", "line"),
    [
        (
            {"settings.train.lr: 0.001"},
            {"settings.train.lr: 0.003"},
            "train.lr 0.001 -> 0.003",
        ),
        (set(), {"settings.gray: true"}, "gray (unset) -> true"),
        ({"code: 12", "lock: 3"}, {"code: 34", "lock: 4"}, "the code of the stage; the locked env"),
        (
            {"results/a.h5: 1", "results/b.h5: 2", "results/c.h5: 3"},
            {"results/a.h5: missing", "results/b.h5: 4", "results/c.h5: 5"},
            "results/a.h5 missing; results/b.h5 and 1 more changed",
        ),
        (
            {f"settings.k{n}: 1" for n in range(9)},
            {f"settings.k{n}: 2" for n in range(9)},
            "k0 1 -> 2; k1 1 -> 2; k2 1 -> 2; k3 1 -> 2; 5 more",
        ),
    ],
)
def test_changes_are_described_in_one_line(before, now, line):
    described = staleness.described(staleness.Changes(before, now))
    assert described.startswith(line) and "\n" not in described
    long = staleness.Changes({"settings.x: " + "[1, 2], " * 200}, {"settings.x: 1"})
    assert len(staleness.described(long)) < 100


@pytest.mark.parametrize("text", [None, "{}"])
def test_an_input_whose_seal_is_missing_or_damaged_is_missing(chain, tmp_path, text):
    (tmp_path / "crop.seal.json").unlink()
    if text is not None:
        (tmp_path / "crop.seal.json").write_text(text)
    _, now = staleness.changes(*chain)
    assert now == {"crop.h5: missing"}


def test_an_output_that_is_missing_is_named(chain, tmp_path):
    (tmp_path / "pack.h5").unlink()
    before, now = staleness.changes(*chain)
    (line,) = now
    assert line.endswith("pack.h5: missing") and len(before) == 1


def test_damage_is_an_error_unless_the_artefact_is_stale_anyway(chain, tmp_path):
    seal, recipe = chain
    pack = tmp_path / "pack.h5"
    data = pack.read_bytes()
    pack.write_bytes(data[:-1])
    with pytest.raises(GraftError, match="make repair"):
        staleness.changes(seal, recipe)
    assert staleness.changes(seal, {**recipe, "settings": {}}).now
    pack.write_bytes(bytes([data[0] ^ 1]) + data[1:])  # newer than its seal
    with pytest.raises(GraftError, match="sha256"):
        staleness.changes(seal, recipe)


def test_files_that_were_only_touched_are_fresh(chain, tmp_path):
    for path in tmp_path.iterdir():
        os.utime(path)
    os.utime(tmp_path / "pack.h5")
    assert staleness.changes(*chain) == (set(), set())


def test_a_remembered_seal_is_read_once(chain, tmp_path):
    read = staleness.remembered()
    assert staleness.changes(*chain, read) == (set(), set())
    (tmp_path / "crop.seal.json").unlink()
    assert staleness.changes(*chain, read) == (set(), set())
