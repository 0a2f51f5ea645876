"""Drawn portraits that the tests of detection and of cropping share."""

import pytest

from graft.demo.identity import draw_identity
from graft.demo.portrait import render
from graft.demo.shot import draw_shot


@pytest.fixture(scope="session")
def drawn():
    """Portraits of several sizes, with their true landmarks."""
    return [
        render(draw_identity(5, number), draw_shot(5, number, 0), size)
        for number, size in enumerate([160] * 9 + [128, 200, 128])
    ]
