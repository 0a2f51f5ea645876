"""After a failed job others are started if nothing reads what it would have made, else not."""

import os

import forked
import pytest
from conftest import ROOT

pytestmark = pytest.mark.workflow

SNAKEFILE = """
import sys

sys.path.insert(0, {scripts!r})
import going_on

going_on.after_failures_of({{"track"}})


rule all:
    input:
        "recorded",
        "trained",


rule {name}:
    output:
        "recorded",
    priority: 1
    shell:
        "false"


rule train:
    output:
        "trained",
    shell:
        "touch {{output}}"
"""


@pytest.mark.parametrize("name, goes_on", [("track", True), ("evaluate", False)])
def test_a_failed_record_keeps_no_other_job_from_being_started(tmp_path, name, goes_on):
    scripts = str(ROOT / "workflow/scripts")
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(scripts=scripts, name=name))
    printed = tmp_path / "printed"
    ended = forked.snakemake(["--cores", "1"], tmp_path, dict(os.environ), printed)
    assert ended == 1, printed.read_text()
    assert f"Error in rule {name}:" in printed.read_text()
    assert (tmp_path / "trained").exists() is goes_on
