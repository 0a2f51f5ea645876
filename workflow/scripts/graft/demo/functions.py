"""Elementary functions and sums with the same bits on every CPU.

NumPy's own choose an implementation by the instructions that a CPU has, and these differ in the
last bit, as do matrix products, which are summed in another order. Here all is +, -, *, / and
square roots, one NumPy call each: IEEE 754 rounds these exactly, and nothing is fused. The
functions are Taylor series in float64 with errors below 1e-14 for arguments of -20 to 20 (relative
for `exp`, otherwise absolute); a result has the type of its argument.

What is left is the C library, of which NumPy's random numbers use `exp` and `log`, rarely and
mostly to accept or reject.
"""

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

EXP = [1 / math.factorial(k) for k in range(15)]
SIN = [(-1) ** k / math.factorial(2 * k + 1) for k in range(12)]
ATAN = [(-1) ** k / (2 * k + 1) for k in range(12)]


@contextmanager
def plain_opencv() -> Iterator[None]:
    """Without the kernels that OpenCV and its IPP choose by the CPU. Also a decorator."""
    before = cv2.useOptimized()
    cv2.setUseOptimized(False)
    try:
        yield
    finally:
        cv2.setUseOptimized(before)


def in_float64(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], Any]:
    """The same function for float32 or float64 arrays, or numbers, and of that type."""

    @functools.wraps(function)
    def converted(values: Any) -> Any:
        given = np.asarray(values)
        result = function(given.astype(np.float64)).astype(given.dtype)
        return result if given.ndim else result[()]

    return converted


@in_float64
def exp(x: np.ndarray) -> np.ndarray:
    """e to the power of x, for x in [-700, 700]; beyond, of the nearest of these."""
    x = np.clip(x, -700, 700)
    whole = np.rint(x / math.log(2))
    return np.ldexp(_series(x - whole * math.log(2), EXP), whole.astype(np.int64))


@in_float64
def sin(x: np.ndarray) -> np.ndarray:
    half_turns = np.rint(x / math.pi)
    rest = x - half_turns * math.pi
    sign = 1 - 2 * np.abs(half_turns - 2 * np.floor(half_turns / 2))
    return sign * rest * _series(rest * rest, SIN)


@in_float64
def cos(x: np.ndarray) -> np.ndarray:
    return sin(x + math.pi / 2)


@in_float64
def tanh(x: np.ndarray) -> np.ndarray:
    return 1 - 2 / (exp(2 * x) + 1)


def arctan2(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The angle of the points (x, y), in (-pi, pi]; of (0, 0) it is 0."""
    wide, high = np.abs(x.astype(np.float64)), np.abs(y.astype(np.float64))
    longer = np.maximum(wide, high)
    slope = np.minimum(wide, high) / np.where(longer == 0, 1, longer)
    for _ in range(2):  # half of the angle each time
        slope = slope / (1 + np.sqrt(1 + slope * slope))
    turned = 4 * slope * _series(slope * slope, ATAN)
    turned = np.where(high > wide, math.pi / 2 - turned, turned)
    turned = np.where(x < 0, math.pi - turned, turned)
    return np.where(y < 0, -turned, turned).astype(np.result_type(x, y))


def square(x: float) -> float:
    """x * x; Python's power is the C library's."""
    return x * x


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The matrix product of a (n, k) and b (k, m), summed in the order of k."""
    total = a[:, :1] * b[0]
    for column in range(1, len(b)):
        total = total + a[:, column, None] * b[column]
    return total


def _series(x: np.ndarray, coefficients: list[float]) -> np.ndarray:
    """The polynomial with these coefficients, of x**0 first, by Horner's rule."""
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total
