"""What planning costs: jobs and recipes grow with the parts alone, settings are computed once."""

import json
import subprocess
import sys

import pytest
import yaml
from project import TINY, Project

pytestmark = pytest.mark.workflow

PLAN = """
import json, sys
from collections import Counter

from snakemake.cli import main
from snakemake.dag import DAG

sys.path.insert(0, "workflow/scripts")
from graft.config import stages
from graft.core import recipes

calls = Counter()

def count(module, name):
    function = getattr(module, name)
    def counted(*arguments, **options):
        calls[name] += 1
        return function(*arguments, **options)
    setattr(module, name, counted)

count(recipes, "recipe")
for stage in ("crop", "pack", "features"):
    count(stages, stage)
stats = DAG.stats

def planned(dag):
    jobs = list(dag.jobs)
    calls["jobs"] = len(jobs)
    calls["inputs"] = sum(len(job.input) for job in jobs)
    calls["artefacts"] = sum(
        path.endswith(".h5") for job in jobs if job.rule.name == "train" for path in job.input
    )
    print("counted", json.dumps(calls))
    return stats(dag)

DAG.stats = planned
main(sys.argv[1:])
"""


def test_planning_is_linear_in_the_parts(tmp_path):
    """Names of parts have two and three digits."""
    more = tmp_path / "more.yaml"
    project = Project(tmp_path / "project", overlays=(TINY, more))
    found = []
    for parts in (95, 105, 115):
        shards = {"train": parts, "val": 2, "test": 2}
        more.write_text(yaml.safe_dump({"datasets": {"portraits": {"shards": shards}}}))
        done = subprocess.run(
            [sys.executable, "-c", PLAN]
            + project.command("--dry-run", "--quiet", "rules", "progress")[1:],
            cwd=project.folder,
            env=project.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("counted")]
        found.append(json.loads(line.removeprefix("counted")))
    first, second, third = found
    stages = ("crop", "pack", "features")
    for counted in ("jobs", "recipe"):
        assert second[counted] - first[counted] == 10 * len(stages)
        assert third[counted] - second[counted] == 10 * len(stages)
    assert third["recipe"] < third["jobs"]  # of each job that has one, once
    assert third["inputs"] - second["inputs"] == second["inputs"] - first["inputs"]
    assert {one["artefacts"] for one in found} == {first["artefacts"]}
    for stage in stages:
        assert first[stage] == second[stage] == third[stage]
