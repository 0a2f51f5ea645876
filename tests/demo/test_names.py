"""Names of drawn people."""

from graft.demo.names import ENDINGS, FIRST, LAST, initials, invented_names


def test_names_are_unique():
    combinations = len(FIRST.split()) * len(LAST.split()) * len(ENDINGS.split())
    names = invented_names(2 * combinations + 5, seed=1)
    assert len(set(names)) == len(names)
    assert initials(1) == "A"
    assert initials(28) == "AB"
