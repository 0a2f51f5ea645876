"""The store: entries appear whole, are checked before use, and links survive a move."""

import os
import shutil

import pytest

from graft.core import seals, store

KEY = seals.identity({}, {})


def make_job(folder, text="pixels"):
    """The outputs of a job, sealed."""
    folder.mkdir(parents=True, exist_ok=True)
    artefact, seal = folder / "a.h5", folder / "a.seal.json"
    artefact.write_text(text)
    seals.write(seal, {"pack": artefact}, stage="pack", recipe={}, inputs={}, results={}, run={})
    return [artefact, seal]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with results and an empty store."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".store").mkdir()
    return tmp_path


def test_outputs_become_relative_links_into_a_read_only_entry(place):
    outputs = make_job(place / "results")
    entry = place / ".store" / KEY
    store.put(entry, outputs)
    assert [os.readlink(path) for path in outputs] == [
        f"../.store/{KEY}/a.h5",
        f"../.store/{KEY}/a.seal.json",
    ]
    assert outputs[0].read_text() == "pixels"
    assert [oct(path.stat().st_mode & 0o777) for path in outputs] == ["0o444", "0o444"]
    assert entry.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in entry.parent.iterdir()] == [KEY]


def test_links_are_absolute_where_the_store_is_elsewhere(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    outputs = make_job(place / "results")
    store.put(folder / KEY, outputs)
    assert os.readlink(outputs[0]) == str(folder / KEY / "a.h5")


def test_links_are_absolute_where_results_are_a_link_out_of_the_working_directory(
    place, tmp_path_factory
):
    scratch = tmp_path_factory.mktemp("scratch")
    (place / "results").symlink_to(scratch)
    outputs = make_job(place / "results" / "data")
    store.put(place / ".store" / KEY, outputs)
    assert outputs[0].read_text() == "pixels"


def test_of_two_that_make_an_entry_the_first_stays_and_both_use_it(place):
    entry = place / ".store" / KEY
    first, second = make_job(place / "one", "first"), make_job(place / "two", "second")
    store.put(entry, first)
    store.put(entry, second)
    assert second[0].read_text() == "first"
    seals.check(second[:1], second[1:])


def test_an_entry_is_fetched_whole_or_not_at_all(place):
    entry = place / ".store" / KEY
    wanted = [place / "other" / "a.h5", place / "other" / "a.seal.json"]
    assert not store.fetch(entry, wanted)
    store.put(entry, make_job(place / "results"))
    assert store.fetch(entry, wanted)
    assert wanted[0].read_text() == "pixels"


def flip(path):
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


DAMAGE = {
    "deleted": lambda path: path.unlink(),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "flipped": flip,
}


@pytest.mark.parametrize("name", ["a.h5", "a.seal.json"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_not_fetched_and_is_replaced(place, damage, name):
    entry = place / ".store" / KEY
    store.put(entry, make_job(place / "results"))
    (entry / name).chmod(0o644)
    DAMAGE[damage](entry / name)
    again = make_job(place / "other")
    assert not store.fetch(entry, again)
    store.put(entry, again)
    store.check(entry)
    assert again[0].read_text() == "pixels"


def test_outputs_stay_as_they_were_where_the_store_cannot_be_written(place):
    outputs = make_job(place / "results")
    with pytest.raises(OSError):
        store.put(place / "no such folder" / KEY, outputs)
    assert not any(path.is_symlink() for path in outputs)
    seals.check(outputs[:1], outputs[1:])


def test_links_follow_a_store_that_was_moved(place, tmp_path_factory):
    old, new = tmp_path_factory.mktemp("old") / "store", place / ".store"
    old.mkdir()
    outputs = make_job(place / "results" / "data")
    store.put(old / KEY, outputs)
    shutil.copytree(old, new, dirs_exist_ok=True)
    shutil.rmtree(old)
    assert store.mend_links(place / "results", new) == (2, 0)
    assert outputs[0].read_text() == "pixels"
    assert store.mend_links(place / "results", new) == (0, 0)


def test_a_copied_project_uses_its_own_store(place, tmp_path_factory):
    original = tmp_path_factory.mktemp("original")
    (original / ".store").mkdir()
    store.put(original / ".store" / KEY, make_job(original / "results"))
    assert os.path.isabs(os.readlink(original / "results" / "a.h5"))  # made from another folder
    shutil.copytree(original, place, symlinks=True, dirs_exist_ok=True)
    assert store.mend_links(place / "results", place / ".store") == (2, 0)
    assert (place / "results" / "a.h5").samefile(place / ".store" / KEY / "a.h5")


def test_links_into_a_purged_entry_are_removed_and_others_left_alone(place):
    outputs = make_job(place / "results")
    store.put(place / ".store" / KEY, outputs)
    shutil.rmtree(place / ".store" / KEY)
    mine = place / "results" / "mine"
    mine.symlink_to("nowhere")
    old = place / "results" / "old.h5"
    old.symlink_to(place / ".store" / f"{KEY}_pack.h5")
    assert store.mend_links(place / "results", place / ".store") == (0, 3)
    assert [path.name for path in (place / "results").iterdir()] == ["mine"]


def test_no_results_have_no_links(place):
    assert store.mend_links(place / "results", place / ".store") == (0, 0)


def test_only_what_no_result_links_to_is_unreferenced(place):
    outputs = make_job(place / "results" / "data")
    folder = place / ".store"
    store.put(folder / KEY, outputs)
    (folder / ("ab" * 32)).mkdir()
    (folder / f"{'cd' * 32}_pack.h5").write_text("an entry of an earlier version")
    (folder / ".new-x").mkdir()
    (folder / "notes.txt").write_text("somebody's")
    names = [path.name for path in store.unreferenced([place / "results"], folder)]
    assert names == [".new-x", "ab" * 32, f"{'cd' * 32}_pack.h5"]
    outputs[0].unlink()
    outputs[1].unlink()
    assert folder / KEY in store.unreferenced([place / "results"], folder)
