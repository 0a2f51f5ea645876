"""The digests of files that nobody publishes: recorded once, readable, and safe with many jobs."""

import multiprocessing
from pathlib import Path

import pytest
import yaml

from graft.core.errors import GraftError
from graft.download.digest_lock import NAME, Entry, read, record

ONE, TWO = Entry("wiki_crop.tar", "1" * 64), Entry("a b.zip", "ab" * 32)
KEY = "datasets.wiki.files.wiki_crop.tar"


def test_entries_are_written_sorted_and_read_again(tmp_path, capsys):
    path = tmp_path / NAME
    assert read(path) == {}
    record(path, "sources.vgg_face", TWO)
    record(path, KEY, ONE)
    text = path.read_text()
    assert read(path) == {KEY: ONE, "sources.vgg_face": TWO} and list(read(path))[0] == KEY
    assert f'{KEY}:\n  file: "wiki_crop.tar"\n  sha256: "{ONE.sha256}"\n' in text
    assert text.startswith("# The sha256 of files") and "Commit this file" in text
    assert yaml.safe_load(text)[KEY]["sha256"] == "1" * 64  # text, though of digits only
    assert f"sha256 {ONE.sha256} of {KEY} is recorded. Commit" in capsys.readouterr().out
    before = path.stat().st_mtime_ns
    record(path, KEY, ONE)
    assert path.stat().st_mtime_ns == before and path.read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


def test_an_entry_with_another_digest_is_not_replaced(tmp_path):
    path = tmp_path / NAME
    record(path, KEY, ONE)
    with pytest.raises(GraftError) as raised:
        record(path, KEY, ONE._replace(sha256=TWO.sha256))
    assert ONE.sha256 in str(raised.value) and TWO.sha256 in str(raised.value)
    assert read(path) == {KEY: ONE}


def add(path, start, number):
    start.wait()
    for step in range(5):
        record(Path(path), f"datasets.d{number}.files.f{step}.tar", ONE)


def test_jobs_at_once_lose_no_entry(tmp_path):
    context = multiprocessing.get_context("fork")
    start = context.Event()
    path = tmp_path / NAME
    jobs = [context.Process(target=add, args=(path, start, n)) for n in range(6)]
    for job in jobs:
        job.start()
    start.set()
    for job in jobs:
        job.join()
    assert all(job.exitcode == 0 for job in jobs)
    assert len(read(path)) == 30


@pytest.mark.parametrize(
    "text",
    [
        "<<<<<<< HEAD\na: 1\n=======\n>>>>>>> x\n",
        "- a list",
        "only text",
        f"{KEY}: {{file: a.tar}}",
        f"{KEY}: {{file: a.tar, sha256: 123}}",
        f"{KEY}: {{file: a.tar, sha256: abc}}",
        f"{KEY}: {{file: a.tar, sha256: {'a' * 64}, more: 1}}",
        "{KEY}: !!python/object/apply:os.system [true]",
        "\x00",
    ],
)
def test_a_damaged_lock_is_one_sentence(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(GraftError, match=rf"{NAME}: it is no list of digests \(.*\)\. Restore"):
        read(tmp_path / NAME)
    with pytest.raises(GraftError, match="no list of digests"):
        record(tmp_path / NAME, KEY, ONE)
    assert (tmp_path / NAME).read_text() == text


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_lock_has_no_entries(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    assert read(tmp_path / NAME) == {}
