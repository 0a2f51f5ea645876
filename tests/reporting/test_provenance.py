"""What a report says of how its results were made."""

import pytest

from graft.core.version import VERSION
from graft.reporting import provenance

XEON = {"model": "Xeon", "instructions": ["avx2", "fma"]}


def record(stage, outputs=None, *, cpu=XEON, lock="1a2b", seconds=2.0, memory=100, **wildcards):
    files = {role: {"file": "f", "sha256": digest} for role, digest in (outputs or {}).items()}
    return {
        "seal": {
            "stage": stage,
            "graft_version": "0.1.0",
            "recipe": {"wildcards": wildcards, "python": "3.11.7", "lock": lock},
            "run": {"seconds": seconds, "peak_memory_mb": memory, "cpu": cpu},
            "outputs": files,
        }
    }


def test_jobs_are_summed_by_stage_in_the_order_of_the_stages():
    records = [
        record("train", memory=300),
        record("crop"),
        record("train", seconds=3.5, cpu={"model": "EPYC", "instructions": []}),
    ]
    crop, train = provenance.stages(records)
    assert (crop.name, crop.jobs, crop.cpus) == ("crop", 1, ["Xeon (avx2, fma)"])
    assert train == ("train", 2, 5.5, 300, ["Xeon (avx2, fma)", "EPYC"])


@pytest.mark.parametrize(
    ("cpus", "mode", "start"),
    [
        ([XEON, XEON], "fast", "All stages ran on one kind of CPU: Xeon (avx2, fma)."),
        ([XEON, {}], "portable", "The stages ran on 2 kinds of CPU; compute.reproducible: portab"),
        ([XEON, {}], "fast", "The stages ran on 2 kinds of CPU; with compute.reproducible: fast "),
    ],
)
def test_whether_all_cpus_were_alike_is_said(cpus, mode, start):
    stages = provenance.stages(
        record(stage, cpu=cpu) for stage, cpu in zip(("crop", "train"), cpus, strict=True)
    )
    assert provenance.on_cpus(stages, mode).startswith(start)


def test_files_that_were_trusted_on_first_use_are_listed():
    use = {"key": "sources.vgg", "file": "vgg.h5", "sha256": "ab" * 32}
    other = {"key": "datasets.a.files.b.zip", "file": "b.zip", "sha256": "cd" * 32}
    records = [record("weights") | {"first_use": use}, record("download")]
    records.append(record("download") | {"first_use": other})
    assert provenance.first_uses(records) == [tuple(other.values()), tuple(use.values())]


def test_digests_are_of_data_weights_and_models():
    run = {"experiment": "sex", "mode": "fine_tuning", "seed": "1"}
    records = [
        record("download", {"raw": "aa"}, dataset="faces", file="a.tar"),
        record("structure", {"data_file": "bb"}, dataset="faces"),
        record("crop", {"crops": "cc"}, dataset="faces", part="train-00"),
        record("weights", {"weights": "dd", "import_report": "ee"}, source="vgg"),
        record("train", {"model": "ff", "history": "00"}, **run),
    ]
    assert provenance.digests(records) == [
        ("download", "faces: a.tar", "aa"),
        ("structure", "faces: data_file.csv", "bb"),
        ("weights", "vgg: weights", "dd"),
        ("train", "sex: fine_tuning, seed 1", "ff"),
    ]


def test_weights_are_listed_that_were_not_plain_ones():
    held = {"unwrapped": ["model", "teacher"], "stripped": "backbone.", "notes": ["a", "b"]}
    records = [
        record("weights", source="plain") | {"unwrapped": [], "stripped": "", "notes": []},
        record("weights", source="of_an_older_version"),
        record("weights", source="dino") | held,
        record("weights", source="half") | {"notes": ["cast"]},
        record("train", experiment="sex", mode="fine_tuning", seed="1"),
    ]
    assert provenance.checkpoints(records) == [
        ("dino", "model > teacher", "backbone.", ["a", "b"]),
        ("half", "", "", ["cast"]),
    ]


def test_each_environment_is_listed_once():
    records = [record("crop"), record("pack"), record("train", lock="3c")]
    assert provenance.environments(records) == [
        ("0.1.0", "3.11.7", "1a2b"),
        ("0.1.0", "3.11.7", "3c"),
    ]


def test_versions_are_those_of_the_installed_packages(tmp_path):
    (tmp_path / "torch-2.15.0.dist-info").mkdir()
    (tmp_path / "torchvision-0.29.2.dist-info").mkdir()
    found = provenance.versions(tmp_path)
    assert found == {"Graft": VERSION, "PyTorch": "2.15.0", "torchvision": "0.29.2"}
    assert "PyTorch" in provenance.versions()
