"""Drawn portraits that the tests of detection and of cropping share."""

import pytest

from graft.demo import portraits


@pytest.fixture(scope="session")
def drawn():
    """Portraits of several sizes, with their true landmarks."""
    return [
        portraits.render(
            portraits.draw_identity(5, number), portraits.draw_shot(5, number, 0), size
        )
        for number, size in enumerate([160] * 9 + [128, 200, 128])
    ]
