"""Logarithms of made-up confidences."""

import numpy as np


def logs(confidences):
    """The logarithms of probabilities; that of 0 is that of the least step from 1, 2.2e-16."""
    return np.log(np.maximum(np.asarray(confidences, np.float64), np.finfo(np.float64).eps))
