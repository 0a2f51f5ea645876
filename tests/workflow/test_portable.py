"""The same bytes everywhere, with `compute.reproducible: portable`."""

import json

import pytest
from conftest import ROOT
from project import Project

from graft.core import instructions
from graft.reporting.artefacts import difference, digests

GOLDEN = json.loads((ROOT / "tests" / "golden.json").read_text(encoding="utf-8"))
RUN = "results/experiments/portraits_sex/fine_tuning/0/predictions.csv"
DRAWN = ("data/portraits/raw/", "data/portraits_identity/raw/")
WITHOUT_AVX512 = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512CD,-AVX512DQ"

pytestmark = pytest.mark.workflow


def test_drawn_data_have_the_published_bytes_on_every_cpu(done):
    published = {k: v for k, v in GOLDEN["tiny"]["digests"].items() if k.startswith(DRAWN)}
    assert len(published) == 2
    assert difference(digests(done.results), published) == []


def test_a_machine_of_a_published_kind_makes_all_of_the_published_bytes(done):
    """`python workflow/scripts/golden.py RESULTS --configuration tiny --write` publishes a run."""
    published, model = GOLDEN["tiny"], instructions.kind()
    if model not in published["cpus"]:
        pytest.skip(f"no bytes are published from this CPU ({model})")
    assert difference(digests(done.results), published["digests"]) == []


def test_the_chain_to_the_predictions_is_the_same_without_the_newest_instructions(done, tmp_path):
    """The libraries are kept from them by the workflow; here the C library is as well."""
    if "avx512f" not in instructions.cpu().instructions:
        pytest.skip("this CPU has no instructions beyond AVX2")
    other = Project(tmp_path / "project")
    other.snakemake(RUN, environment={"GLIBC_TUNABLES": WITHOUT_AVX512})
    found, usual = digests(other.results), digests(done.results)
    assert RUN.removeprefix("results/") in found
    assert difference(usual, found) == []
