"""Drawn archives that several tests read."""

import csv
import io
import tarfile
from pathlib import Path

import pytest

from graft.demo.lfw import render_lfw
from graft.demo.wiki import render_wiki


class Drawn:
    """An archive of drawn portraits: its bytes by member, and its ground truth."""

    def __init__(self, path: Path):
        self.path = path
        with tarfile.open(path) as archive:
            self.files = {entry.name: archive.extractfile(entry).read() for entry in archive}
        last = list(self.files)[-1]
        self.truth = list(csv.DictReader(io.StringIO(self.files[last].decode())))


@pytest.fixture(scope="session")
def read_archive():
    return Drawn


@pytest.fixture(scope="session")
def wiki(tmp_path_factory) -> Drawn:
    """40 people, with one of each defect."""
    path = tmp_path_factory.mktemp("wiki") / "wiki_crop.tar"
    render_wiki(path, people=40, seed=11, size=96)
    return Drawn(path)


@pytest.fixture(scope="session")
def lfw(tmp_path_factory) -> Drawn:
    """3 people with 2 pictures each."""
    path = tmp_path_factory.mktemp("lfw") / "portraits_identity.tgz"
    render_lfw(path, people=3, pictures=2, seed=12, size=64)
    return Drawn(path)
