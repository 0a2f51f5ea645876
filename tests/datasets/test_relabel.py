"""Other classes than the published ones."""

import pytest

from graft.config.datasets import Classes
from graft.core.errors import GraftError
from graft.datasets.relabel import relabel
from graft.datasets.table import Candidate


def relabelled(labels, **classes):
    """The candidates that these labels become; a label after "-" is of a dropped row."""
    candidates = [
        Candidate(
            "x.tar", str(i), label=label.lstrip("-"), drop_reason="bad" if "-" in label else ""
        )
        for i, label in enumerate(labels)
    ]
    found = list(relabel(candidates, Classes(**classes), dataset="d"))
    assert [row.member for row in found] == [row.member for row in candidates]
    return [(row.label, row.drop_reason) for row in found]


def test_classes_are_renamed_then_chosen_then_set_against_the_rest():
    labels = ["kitten", "cat", "dog", "cow", "-cow", "-kitten", ""]
    assert relabelled(labels) == relabelled(labels, rename={}, only=None, one_vs_rest=None)
    assert relabelled(labels, rename={"kitten": "cat", "cat": "kitten"})[:2] == [
        ("cat", ""),
        ("kitten", ""),
    ]
    assert relabelled(labels, rename={"kitten": "cat"}, only=("cat", "dog"), one_vs_rest="cat") == [
        ("cat", ""),
        ("cat", ""),
        ("rest", ""),
        ("cow", "other_class"),
        ("cow", "bad"),
        ("cat", "bad"),
        ("", ""),
    ]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"rename": {"kiten": "cat"}}, r"d\.classes\.rename names 'kiten'.* Did you mean kitten\?"),
        (
            {"only": ["kitten", "horse"]},
            r"d\.classes\.only names 'horse'.* Choose one of dog, kitten\.",
        ),
        ({"rename": {"kitten": "cat"}, "only": ["kitten"]}, r"only names 'kitten'"),
        ({"only": ["dog"], "one_vs_rest": "kitten"}, r"d\.classes\.one_vs_rest names 'kitten'"),
    ],
)
def test_a_class_that_does_not_exist_is_refused(classes, message):
    with pytest.raises(GraftError, match=message):
        relabelled(["kitten", "-dog"], **classes)


def test_classes_of_a_picture_are_renamed_and_chosen_one_by_one():
    candidates = [Candidate("x.tar", str(i), label=held) for i, held in enumerate(("a|b", "c", ""))]
    chosen = Classes(rename={"a": "d"}, only=("d", "b"))
    found = list(relabel(candidates, chosen, multi=True))
    assert [(row.label, row.drop_reason) for row in found] == [("b|d", ""), ("", ""), ("", "")]
    with pytest.raises(GraftError, match="names 'e', which is no class there"):
        list(relabel(candidates, Classes(only=("e",)), multi=True))
