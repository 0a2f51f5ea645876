"""why.py: which stages run again after an edit, and what changed for a stage."""

import re

import pytest
from conftest import ROOT

import why
from graft.core.code import Code

FOLLOWING_CROP = (
    "pack, features, train, evaluate, heat_maps, compare, labels, plots, overview, report, track, "
    "predict, export"
)


@pytest.fixture(scope="module")
def code() -> Code:
    return Code.read(ROOT / "workflow" / "scripts")


@pytest.mark.parametrize(
    ("name", "direct", "following"),
    [
        # A metric reruns no training.
        (
            "graft.evaluation.calibration.brier_scores",
            {"evaluate": ""},
            "heat_maps, compare, labels, plots, overview, report, track",
        ),
        (
            "graft.datasets.layouts.lfw",
            {"structure": " (only with LAYOUTS lfw)"},
            f"regions, crop, {FOLLOWING_CROP}",
        ),
        (
            "graft.demo.face",
            {"download": " (only with DRAWINGS lfw, DRAWINGS wiki)"},
            f"structure, regions, crop, {FOLLOWING_CROP}",
        ),
        (
            "workflow/scripts/graft/reporting/templates/style.css",
            {"plots": "", "overview": "", "report": "", "predict": ""},
            "track",
        ),
    ],
)
def test_the_stages_that_run_again(code, name, direct, following):
    *lines, last = why.answer(code, name)
    found = dict(re.match(r"(\w+)( \(.*?\))?: ", line).groups("") for line in lines)
    assert found == direct
    assert last == f"then, because their inputs change: {following}"


def test_a_definition_that_only_tools_use_reruns_nothing(code):
    name = "graft.config.reference.tables"
    assert list(why.answer(code, name)) == [f"{name}: no stage depends on it."]


def test_a_name_that_is_not_defined_is_answered_with_those_that_are(code):
    with pytest.raises(
        LookupError, match=r"has no such definition\. Choose one of .*bootstrap_int"
    ):
        list(why.answer(code, "graft.evaluation.metrics.auroc"))
    with pytest.raises(LookupError, match="no definition, module or template of this name"):
        list(why.answer(code, "graft.nothing"))


MODULE = '''"""Two numbers."""

def used():
    """Documented."""
    return 1

def unused():
    return 1
'''
SCRIPT = "from graft.numbers import used\nused()\n"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (MODULE.replace("Documented", "Explained"), ["nothing that train depends on changed"]),
        (f"# A comment.\n{MODULE}", ["nothing that train depends on changed"]),
        (f"{MODULE}    # and more\n    print()\n", ["nothing that train depends on changed"]),
        (
            MODULE.replace("return 1", "return 2", 1),
            ["changed: graft.numbers.used    (train -> graft.numbers.used)"],
        ),
    ],
)
def test_what_changed_for_a_stage_between_two_commits(monkeypatch, text, lines):
    commits = {
        "old": Code({"train": SCRIPT, "graft": "", "graft.numbers": MODULE}),
        "new": Code({"train": SCRIPT, "graft": "", "graft.numbers": text}),
    }
    monkeypatch.setattr(why, "committed", commits.__getitem__)
    assert list(why.changes("train", "old", "new")) == lines


def test_the_table_lists_every_definition_of_the_library(code):
    lines = list(why.table(code))
    assert len(lines) > 900
    assert "graft.training.loop.fit: train" in lines
