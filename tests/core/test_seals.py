"""Seals: every change of a sealed file, or of the seal itself, is an error."""

import json

import pytest

from graft.core import seals
from graft.core.errors import GraftError


@pytest.fixture
def sealed(tmp_path):
    artefact = tmp_path / "train-00.h5"
    artefact.write_bytes(bytes(range(200)))
    seal = tmp_path / "train-00.seal.json"
    seals.write(
        seal,
        {"pack": artefact},
        stage="pack",
        recipe={"settings": {}},
        inputs={"crops": ["ab"]},
        results={"rows": 5},
        run={"seconds": 0.1},
    )
    return artefact, seal


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "flipped at the start": lambda path: flip(path, 0),
    "flipped in the middle": lambda path: flip(path, path.stat().st_size // 2),
    "flipped at the end": lambda path: flip(path, -2),
}


def test_an_unchanged_file_passes_and_its_results_are_read(sealed):
    artefact, seal = sealed
    (record,), (sha256,) = seals.check([artefact], [seal])
    assert record["rows"] == 5
    assert sha256 == record["seal"]["outputs"]["pack"]["sha256"]


@pytest.mark.parametrize("which", [0, 1], ids=["artefact", "seal"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_any_damage_is_refused_in_one_line(sealed, which, damage):
    DAMAGE[damage](sealed[which])
    with pytest.raises(GraftError, match=sealed[which].name) as caught:
        seals.check([sealed[0]], [sealed[1]])
    assert "\n" not in str(caught.value)


def test_a_file_without_a_seal_is_refused(sealed, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(b"x")
    with pytest.raises(GraftError, match="has no seal"):
        seals.check([other], [sealed[1]])


def test_a_result_changed_by_hand_is_refused(sealed):
    record = json.loads(sealed[1].read_text())
    record["rows"] = 6
    sealed[1].write_text(json.dumps(record))
    with pytest.raises(GraftError, match="damaged"):
        seals.read(sealed[1])
    for other in ("[]", "{}", '{"seal": []}'):
        sealed[1].write_text(other)
        with pytest.raises(GraftError, match="damaged"):
            seals.read(sealed[1])


def test_the_identity_follows_the_bytes_read_and_the_recipe():
    one = seals.identity({"a": 1}, {"x": ["00"]})
    assert one == seals.identity({"a": 1}, {"x": ["00"]})
    assert one != seals.identity({"a": 1}, {"x": ["01"]})
    assert one != seals.identity({"a": 2}, {"x": ["00"]})
    assert one != seals.identity({"a": 1}, {"y": ["00"]})
