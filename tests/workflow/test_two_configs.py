"""Two configs at once: a folder for each run, with the store, downloads and digests in common."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from project import TINY, Project, planned

from graft.download import digest_lock

ARCHIVE = "results/data/portraits/raw/wiki_crop.tar"
TARGET = "results/data/portraits/data_file.csv"

pytestmark = pytest.mark.workflow


class Clone(Project):
    """A clone in which `make` finds the environment of these tests, and two overlays."""

    def __init__(self, folder):
        super().__init__(folder, overlays=())
        shutil.copy(ROOT / "Makefile", folder)
        (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
        tiny = yaml.safe_load(TINY.read_text()) | {"run": ["portraits_sex"], "overviews": {}}
        other = {**tiny, "datasets": {**tiny["datasets"]}}
        other["datasets"]["portraits"] = {
            **tiny["datasets"]["portraits"],
            "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        }
        (folder / "config" / "first.yaml").write_text(yaml.safe_dump(tiny))
        (folder / "config" / "other.yaml").write_text(yaml.safe_dump(other))

    def make(self, *arguments: str) -> subprocess.CompletedProcess:
        """`make`, with the environment taken for set up."""
        environment = {k: v for k, v in self.environment().items() if k != "SNAKEMAKE_OUTPUT_CACHE"}
        return subprocess.run(
            ["make", "-o", ".venv/.ready", *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def test_runs_of_two_configs_stand_side_by_side_and_share_what_is_the_same(tmp_path):
    clone = Clone(tmp_path / "clone")
    for name in ("first", "other"):
        done = clone.make("run", f"NAME={name}", f"CONFIG=config/{name}.yaml", f"CORES=2 {TARGET}")
        assert done.returncode == 0, done.stdout
        assert (f"Linking {ARCHIVE} to the store" in done.stdout) is (name == "other")
        assert f"Linking {TARGET}" not in done.stdout
    tables = [(clone.folder / "runs" / name / TARGET).read_bytes() for name in ("first", "other")]
    assert tables[0] != tables[1] and not clone.results.exists()

    # Each is whole, and up to date with its own config only.
    for name, config, stale in (("first", "first", False), ("first", "other", True)):
        checked = clone.make("verify", f"NAME={name}", f"CONFIG=config/{config}.yaml")
        assert "All files match their seals." in checked.stdout
        assert (f"{TARGET}: " in checked.stdout) is stale

    # What one run does not name, the other may use.
    entries = len(list(clone.store.iterdir()))
    pruned = clone.make("prune", "NAME=other", "CONFIG=config/other.yaml", "ARGS=--yes")
    assert "Nothing to remove." in pruned.stdout and len(list(clone.store.iterdir())) == entries
    shutil.rmtree(clone.folder / "runs" / "first")
    pruned = clone.make("prune", "NAME=other", "CONFIG=config/other.yaml", "ARGS=--yes")
    assert "1 entries" in pruned.stdout and len(list(clone.store.iterdir())) == entries - 1


def test_the_working_directory_may_be_named_to_snakemake_and_paths_start_from_the_command(tmp_path):
    clone = Clone(tmp_path / "clone")
    options = ["--directory", "runs/first", "--configfile", "config/first.yaml"]
    log = clone.dry_run(TARGET, *options)
    assert planned(log) == {"download": 1, "structure": 1}
    assert "profiles/default" in log and (clone.folder / "runs" / "first").is_dir()


def test_a_run_goes_by_the_digests_that_were_recorded_beside_the_snakefile(tmp_path):
    clone = Clone(tmp_path / "clone")
    (clone.folder / "mine.zip").write_bytes(b"another file than before")
    files = {"mine.zip": {"url": [str(clone.folder / "mine.zip")]}}
    dataset = {"layout": "folder", "label": "class", "packed_size": 32, "files": files}
    experiment = {"dataset": "mine", "source": "vgg_mini", "modes": ["from_scratch"]}
    overlay = {"run": ["mine"], "datasets": {"mine": dataset}, "experiments": {"mine": experiment}}
    (clone.folder / "config" / "mine.yaml").write_text(yaml.safe_dump(overlay))
    key = "datasets.mine.files.mine.zip"
    entry = digest_lock.Entry("mine.zip", "a" * 64)
    digest_lock.record(clone.folder / digest_lock.NAME, key, entry)
    failed = clone.make("run", "NAME=mine", "CONFIG=config/mine.yaml", "CORES=2 all_download")
    assert failed.returncode and f"expected {'a' * 64} (downloads.lock.yaml)" in failed.stdout
