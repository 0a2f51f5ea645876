"""Recipes: everything that a result depends on changes them, nothing else does."""

import pytest
from conftest import ROOT

from graft.core import recipes

SCRIPTS = ROOT / "workflow" / "scripts"


@pytest.mark.parametrize(
    "change",
    [
        {"wildcards": {"part": "val-00"}},
        {"settings": {"packed_size": 65}},
        {"inputs": {"crop": ["b.h5"]}},
        {"inputs": {"other_role": ["a.h5"]}},
        {"code": "1"},
    ],
)
def test_whatever_a_result_depends_on_changes_its_recipe(tmp_path, change):
    lock = tmp_path / "lock"
    lock.write_text("torch==1")
    one = {
        "wildcards": {"part": "train-00"},
        "settings": {"packed_size": 64},
        "inputs": {"crop": ["a.h5"]},
        "code": "0",
        "lock": lock,
    }
    assert recipes.recipe("pack", **one) == recipes.recipe("pack", **one)
    assert recipes.recipe("pack", **one) != recipes.recipe("pack", **{**one, **change})


def test_the_lock_counts_and_the_comments_in_it_do_not(tmp_path):
    digests = []
    for name, text in {
        "a": "torch==1 \\\n    --hash=sha256:0\n",
        "b": "# made today\ntorch==1 \\\n    --hash=sha256:0\n    # via x\n",
        "c": "torch==2 \\\n    --hash=sha256:0\n",
    }.items():
        path = tmp_path / name
        path.write_text(text)
        digests.append(recipes.lock_digest(path))
    assert digests[0] == digests[1] != digests[2]


def test_scripts_read_nothing_but_their_recipe():
    """Neither config nor wildcards are hashed by the store, so no script may read them."""
    for script in [*SCRIPTS.glob("*.py"), *SCRIPTS.glob("graft/**/*.py")]:
        text = script.read_text()
        assert "snakemake.config" not in text, script
        assert "snakemake.wildcards" not in text, script


RULE = {
    "recipe_stage": "pack",
    "script": "../scripts/pack.py",
    "cached": True,
    "outputs": [("pack", set()), ("seal", set())],
    "inputs": ["crop"],
    "forbidden": {"shadow": False},
    "may_skip_cache": {"track"}.__contains__,
}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"recipe_stage": None}, "lacks `params: recipe="),
        ({"recipe_stage": "crop"}, "carries the recipe of crop"),
        ({"cached": False}, "lacks `cache: True`"),
        ({"script": None}, "no `script:`"),
        ({"script": "../scripts/crop.py"}, "no `script:` called pack.py"),
        ({"outputs": [("pack", set())]}, "no output called seal"),
        ({"outputs": [(None, set()), ("seal", set())]}, "outputs without a name"),
        ({"outputs": [("pack", {"directory"})]}, "directory"),
        ({"inputs": [None]}, "inputs without a name"),
        ({"forbidden": {"shadow": True}}, "uses `shadow:`"),
    ],
)
def test_a_rule_that_breaks_the_contract_is_refused_with_advice(change, problem):
    problems = recipes.check_rule("pack", **{**RULE, **change})
    assert problems == [] if problem is None else any(problem in p for p in problems)
