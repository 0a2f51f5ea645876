"""Drawn shots."""

from graft.demo.shot import draw_shot


def test_seeds_people_and_pictures_differ():
    assert draw_shot(1, 0, 0) == draw_shot(1, 0, 0)
    shots = {draw_shot(s, person, p) for s in (1, 2) for person in (0, 1) for p in (0, 1)}
    assert len(shots) == 8
