"""Drawn portraits that the tests of detection and of cropping share."""

import pytest

from graft.demo.people import draw_identity, draw_shot
from graft.demo.portraits import render


@pytest.fixture(scope="session")
def drawn():
    """Portraits of several sizes, with their true landmarks."""
    return [
        render(draw_identity(5, number), draw_shot(5, number, 0), size)
        for number, size in enumerate([160] * 9 + [128, 200, 128])
    ]
