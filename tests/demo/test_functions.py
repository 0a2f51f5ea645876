"""The functions that drawings are computed with: right, of the argument's type, and in order."""

import math

import cv2
import numpy as np
import pytest

from graft.demo import functions

VALUES = np.linspace(-20, 20, 4001)


@pytest.mark.parametrize(
    ("name", "relative"), [("exp", True), ("sin", False), ("cos", False), ("tanh", False)]
)
def test_a_function_is_that_of_the_c_library(name, relative):
    wanted = np.array([getattr(math, name)(value) for value in VALUES])
    error = np.abs(getattr(functions, name)(VALUES) - wanted)
    assert (error / wanted if relative else error).max() < 1e-14


def test_an_angle_is_right_in_each_quadrant_and_on_the_axes():
    around = np.linspace(-3.1, 3.1, 63)
    x, y = 2 * np.cos(around), 2 * np.sin(around)
    assert np.abs(functions.arctan2(y, x) - around).max() < 1e-14
    axes = functions.arctan2(np.array([0.0, 0, 1, -1, 0]), np.array([0.0, 1, 0, 0, -1]))
    np.testing.assert_allclose(axes, [0, 0, math.pi / 2, -math.pi / 2, math.pi], atol=1e-15)


def test_a_result_has_the_type_of_its_argument():
    assert functions.exp(np.ones(2, np.float32)).dtype == np.float32
    assert functions.sin(np.float32(1)).dtype == np.float32
    assert functions.tanh(0.5) == pytest.approx(math.tanh(0.5), abs=1e-15)
    assert functions.exp(-1e6) > 0 and np.isfinite(functions.exp(1e6))


def test_a_product_is_summed_in_the_order_of_its_columns():
    """1e16 + 1 - 1e16 is 0 in this order, and 1 in another."""
    a, b = np.array([[1e16, 1.0, -1e16]]), np.ones((3, 2))
    assert functions.product(a, b).tolist() == [[0.0, 0.0]]
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    assert np.array_equal(functions.product(a, b), a @ b)


def test_opencv_is_as_it_was_afterwards():
    assert cv2.useOptimized()
    with pytest.raises(RuntimeError), functions.plain_opencv():
        assert not cv2.useOptimized()
        raise RuntimeError
    assert cv2.useOptimized()
