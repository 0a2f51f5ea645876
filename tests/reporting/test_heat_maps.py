"""Where in a picture a class is seen."""

import numpy as np
import pytest

from graft.reporting import heat_maps
from graft.reporting.figures.style import save_svg
from graft.reporting.heat_maps import HeatMap


def test_a_pixel_has_the_mean_of_the_patches_that_cover_it():
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [1.2, 0.4, 2.6, 1.4]])
    found = heat_maps.covered(boxes, np.array([0.2, 0.6, 1.0]), 3, 4)
    assert found == pytest.approx(
        np.array([[0.2, (0.2 + 0.6) / 2 + 0.2, 0.8, 0], [0.2, 0.4, 0.6, 0], [0] * 4])
    )


def test_the_sum_over_pixels_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    starts, sides = rng.integers(0, 20, (40, 2)), rng.integers(1, 12, 40)
    boxes = np.concatenate([starts, starts + sides[:, None]], axis=1)
    values = rng.random(40)
    expected = np.zeros((30, 31))
    for y in range(30):
        for x in range(31):
            inside = (boxes[:, 0] <= x) & (x < boxes[:, 2]) & (boxes[:, 1] <= y) & (y < boxes[:, 3])
            expected[y, x] = values[inside].mean() if inside.any() else 0
    assert heat_maps.covered(boxes, values, 30, 31) == pytest.approx(expected)


def test_a_class_has_a_row_of_its_pictures_and_one_without_any_has_none(tmp_path):
    picture = np.full((30, 40, 3), 99, np.uint8)
    maps = {
        "cat": [HeatMap(picture, np.eye(30, 40))],
        "dog": [],
        "bus": [HeatMap(picture, 0 * np.eye(30, 40))],
    }
    drawn = heat_maps.figure(maps)
    titles = [axes.get_title() for axes in drawn.axes if axes.get_title()]
    assert titles == ["cat, at most 100 %", "bus, at most 0 %"]
    save_svg(drawn, tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_text().count("<image") == 2
