"""The adapter: what every script does around the library call."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from conftest import ROOT

from adapter import Job
from graft.config.stages import Stage
from graft.core import devices, instructions, seals
from graft.core.errors import GraftError

SCRIPTS = ROOT / "workflow/scripts"


class Example(Stage):
    packed_size: int
    device: str


@pytest.fixture
def snakemake(tmp_path):
    """What Snakemake hands to a script that reads one sealed file and writes another."""
    source = tmp_path / "in.h5"
    source.write_bytes(b"input")
    seals.write(
        tmp_path / "in.seal.json",
        {"faces": source},
        stage="faces",
        recipe={"settings": {}},
        inputs={},
        results={"kept": 3},
        run={},
    )
    return SimpleNamespace(
        params=SimpleNamespace(
            recipe={
                "stage": "pack",
                "settings": {"packed_size": 8, "device": "cpu"},
                "wildcards": {"part": "train-00"},
                "inputs": {"faces": [str(source), str(tmp_path / "in.seal.json")], "warm_up": []},
            }
        ),
        threads=1,
        resources={"mirrors": json.dumps({"url": ["a"]})},
        log=[str(tmp_path / "log")],
        input={"faces": [str(tmp_path / "in.seal.json")], "warm_up": []},
        output={"pack": str(tmp_path / "out.h5"), "seal": str(tmp_path / "out.seal.json")},
    )


def test_inputs_are_checked_and_outputs_sealed_with_the_recipe_as_given(snakemake, tmp_path):
    given = json.dumps(snakemake.params.recipe)
    with Job(snakemake, Example) as job:
        assert job.input("faces").read_bytes() == b"input"
        assert job.record("faces")["kept"] == 3
        assert job.inputs["warm_up"] == []
        assert job.parameter("mirrors") == {"url": ["a"]}
        assert job.settings == Example(packed_size=8, device="cpu")
        job.outputs.pack.write_bytes(b"output")
        job.results = {"rows": 2}
    (record,), _ = seals.check([tmp_path / "out.h5"], [tmp_path / "out.seal.json"])
    assert record["rows"] == 2
    assert record["seal"]["recipe"] == json.loads(given)
    assert record["seal"]["inputs"]["faces"] == job.digests("faces")
    assert record["seal"]["identity"] == job.identity
    assert record["seal"]["run"]["peak_memory_mb"] > 0
    started = datetime.fromisoformat(record["seal"]["run"]["started"])
    assert timedelta() <= datetime.now(UTC) - started < timedelta(minutes=1)
    assert record["seal"]["run"]["cpu"] == instructions.cpu()._asdict() | {
        "instructions": list(instructions.cpu().instructions)
    }


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (GraftError("x.csv is bad; mend it."), "graft pack: x.csv is bad; mend it.\n"),
        (OSError(28, "No space left on device", "x.h5"), "the disk is full or a quota is reached"),
        (RuntimeError("PytorchStreamWriter failed: file write failed, error 28"), "disk is full"),
        (OSError(13, "Permission denied", "x.h5"), "Permission denied"),
    ],
)
def test_an_expected_error_is_one_sentence_and_leaves_no_seal(
    snakemake, tmp_path, capsys, error, sentence
):
    with pytest.raises(SystemExit) as caught, Job(snakemake, Example):
        raise error
    message = capsys.readouterr().err
    assert caught.value.code == 1
    assert sentence in message and message.count("\n") == 1 and "Traceback" not in message
    assert sentence in (tmp_path / "log").read_text()
    assert not (tmp_path / "out.seal.json").exists()


def test_a_defect_is_raised_and_the_log_keeps_where_it_happened(snakemake, tmp_path):
    with pytest.raises(ZeroDivisionError), Job(snakemake, Example):
        raise ZeroDivisionError
    assert "Traceback" in (tmp_path / "log").read_text()


def test_a_damaged_input_stops_the_job_before_it_starts(snakemake, tmp_path, capsys):
    (tmp_path / "in.h5").write_bytes(b"inpux")
    with pytest.raises(SystemExit), Job(snakemake, Example):
        pytest.fail("the body must not run")
    assert "in.h5: the file's sha256 is not that of its seal" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_reported(snakemake, capsys, monkeypatch):
    monkeypatch.setattr(devices, "cuda_devices", lambda: 0)
    snakemake.params.recipe["settings"]["device"] = "cuda"
    with pytest.raises(SystemExit), Job(snakemake, Example):
        pytest.fail("the body must not run")
    assert "no CUDA GPU" in capsys.readouterr().err


def test_the_peak_of_a_job_is_not_that_of_the_process_that_started_it():
    held = b"x" * 600_000_000
    code = "import adapter; print(adapter._peak_memory())"
    printed = subprocess.check_output(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(SCRIPTS)}, text=True
    )
    assert 10 < int(printed) < len(held) // 2**20
