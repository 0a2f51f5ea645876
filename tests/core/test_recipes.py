"""Recipes: everything that a result depends on changes them, nothing else does."""

import pytest
from conftest import ROOT

from graft.core import recipes

SCRIPTS = ROOT / "workflow" / "scripts"


@pytest.fixture
def scripts(tmp_path):
    """A script that imports one module, which imports another; a third stands by."""
    package = tmp_path / "graft"
    (package / "datasets").mkdir(parents=True)
    for name, text in {
        "stage.py": "from graft import used\nimport os\n",
        "graft/__init__.py": "",
        "graft/used.py": "from graft.datasets import lfw\n",
        "graft/datasets/__init__.py": "from . import lfw\n",
        "graft/datasets/lfw.py": "x = 1\n",
        "graft/unused.py": "x = 1\n",
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def digest(scripts):
    recipes.sources.cache_clear()
    recipes.code_digest.cache_clear()
    return recipes.code_digest(scripts / "stage.py")


def test_imports_are_followed_through_packages_and_relative_imports(scripts):
    found = {str(path.relative_to(scripts)) for path in recipes.sources(scripts / "stage.py")}
    assert found == {
        "stage.py",
        "graft/__init__.py",
        "graft/used.py",
        "graft/datasets/__init__.py",
        "graft/datasets/lfw.py",
    }


@pytest.mark.parametrize(
    ("module", "changes"),
    [("graft/used.py", True), ("graft/datasets/lfw.py", True), ("graft/unused.py", False)],
)
def test_the_code_digest_follows_the_imports(scripts, module, changes):
    before = digest(scripts)
    with open(scripts / module, "a") as file:
        file.write("y = 2\n")
    assert (digest(scripts) != before) is changes


def test_touching_a_module_changes_nothing(scripts):
    before = digest(scripts)
    (scripts / "graft/used.py").touch()
    assert digest(scripts) == before


@pytest.mark.parametrize(
    "change",
    [
        {"wildcards": {"part": "val-00"}},
        {"settings": {"image_size": 65}},
        {"inputs": {"crop": ["b.h5"]}},
        {"inputs": {"other_role": ["a.h5"]}},
    ],
)
def test_whatever_a_result_depends_on_changes_its_recipe(scripts, tmp_path, change):
    lock = tmp_path / "lock"
    lock.write_text("torch==1")
    one = {
        "wildcards": {"part": "train-00"},
        "settings": {"image_size": 64},
        "inputs": {"crop": ["a.h5"]},
        "script": scripts / "stage.py",
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
def test_a_rule_that_breaks_the_contract_is_told_how(change, problem):
    problems = recipes.check_rule("pack", **{**RULE, **change})
    assert problems == [] if problem is None else any(problem in p for p in problems)
