"""Files whose publishers give no digest: trusted once, kept to from then on, nothing done twice."""

import hashlib
import json
import shutil

import pytest
import torch
import yaml
from builders import FOLDER, jpeg, make_zip, overlay
from project import Project, executed, planned

from graft.download import digest_lock
from graft.models.backbones import Backbone
from graft.reporting import verify

pytestmark = pytest.mark.workflow

KEY = "datasets.mine.files.mine.zip"
RAW = "results/data/mine/raw/mine.tar"


TARGETS = ("all_structure", "all_weights")


def pictures(first):
    return {
        f"{kind}/{n}.jpg": jpeg(first + 100 * (kind == "dog") + n)
        for kind in ("cat", "dog")
        for n in range(20)
    }


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Begun:
    """A zip file and weights without published digests, and the project that met them first."""

    def __init__(self, folder):
        self.folder, self.source, self.overlay = folder, folder / "mine.zip", folder / "own.yaml"
        make_zip(self.source, pictures(0))
        torch.manual_seed(0)
        torch.save(Backbone("vgg_mini").tensors(), folder / "net.pth")
        self.first = Project(folder / "first", store=folder / "store", overlays=[self.overlay])
        self.lock = self.first.folder / digest_lock.NAME
        self.recorded = {KEY: sha256(self.source), "sources.net": sha256(folder / "net.pth")}

    def write(self, *, sha256=None, **more):
        files = {"mine.zip": {"url": [str(self.source)], "sha256": sha256}}
        config = overlay(mine=FOLDER | {"files": files}) | {"compute": {"device": "cpu"}} | more
        weights = {"url": [str(self.folder / "net.pth")]}
        config["sources"]["net"] = {"architecture": "vgg_mini", "weights": weights}
        config["experiments"]["mine"] |= {"source": "net", "modes": ["feature_extraction"]}
        self.overlay.write_text(yaml.safe_dump(config))

    def elsewhere(self, name, *, store):
        """Another working directory, with the lock."""
        project = Project(self.folder / name, store=self.folder / store, overlays=[self.overlay])
        shutil.copy(self.lock, project.folder / digest_lock.NAME)
        return project


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    begun = Begun(tmp_path_factory.mktemp("begun"))
    begun.write()
    begun.log = begun.first.snakemake(*TARGETS)
    return begun


def test_a_digest_that_nobody_publishes_is_recorded_and_nothing_is_done_again(begun):
    assert {"download", "weights"} <= set(executed(begun.log))
    recorded = {key: entry.sha256 for key, entry in digest_lock.read(begun.lock).items()}
    assert recorded == begun.recorded
    seal = json.loads((begun.first.folder / f"{RAW}.seal.json").read_text())
    assert seal["first_use"] == {"key": KEY, "file": "mine.zip", "sha256": recorded[KEY]}
    assert seal["seal"]["recipe"]["settings"]["sha256"] == recorded[KEY]
    assert list(verify.verify_results(begun.first.results)) == []
    assert list(verify.verify_store(begun.first.store)) == []
    assert not planned(begun.first.dry_run(*TARGETS))
    begun.write(sha256=recorded[KEY])  # the lock's digest, entered into the config
    assert not planned(begun.first.dry_run(*TARGETS))
    begun.write()


def test_the_lock_is_what_identifies_the_entry_of_the_store(begun):
    second = begun.elsewhere("second", store="store")
    log = second.snakemake(*TARGETS)
    assert f"Linking {RAW} to the store" in log and "Linking results/sources/net" in log
    assert (second.folder / RAW).read_bytes() == (begun.first.folder / RAW).read_bytes()
    # Without the lock the store is not asked: its file may be another one.
    (second.folder / digest_lock.NAME).unlink()
    assert planned(second.dry_run(*TARGETS)).items() >= {"download": 1, "weights": 1}.items()


def test_another_file_is_refused_until_the_entry_is_removed(begun):
    third = begun.elsewhere("third", store="empty")
    before = begun.source.read_bytes()
    make_zip(begun.source, pictures(50))
    other = sha256(begun.source)
    log = third.snakemake(*TARGETS, check=False)
    said = f"has sha256 {other}, expected {begun.recorded[KEY]} (downloads.lock.yaml)"
    assert said in log and f"remove {KEY} from downloads.lock.yaml" in log
    kept = {k: v for k, v in yaml.safe_load(begun.lock.read_text()).items() if k != KEY}
    (third.folder / digest_lock.NAME).write_text(yaml.safe_dump(kept))
    third.snakemake("all_download")
    assert digest_lock.read(third.folder / digest_lock.NAME)[KEY].sha256 == other
    begun.source.write_bytes(before)


def test_whoever_wants_published_digests_is_stopped_with_the_lock_or_without(begun):
    begun.write(download={"require_digest": True})
    strict = begun.elsewhere("strict", store="none")
    log = strict.snakemake("all_download", check=False)
    digest = begun.recorded[KEY]
    assert f"{KEY}.sha256 is missing. The downloaded file has sha256 {digest}" in log
    assert (strict.folder / digest_lock.NAME).read_text() == begun.lock.read_text()
    begun.write()


def test_a_page_to_log_in_is_neither_used_nor_recorded(tmp_path):
    (tmp_path / "mine.zip").write_bytes(b'{"error": "log in first"}')
    config = overlay(mine=FOLDER | {"files": {"mine.zip": {"url": [str(tmp_path / "mine.zip")]}}})
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    project = Project(tmp_path / "project", overlays=[tmp_path / "own.yaml"])
    log = project.snakemake("all_structure", check=False)
    assert "the file is JSON text, perhaps an error message, and its name that of a zip" in log
    assert not (project.folder / digest_lock.NAME).exists()
