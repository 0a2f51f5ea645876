"""Digits: 1,797 real handwritten digits that come with scikit-learn, written as MNIST is.

Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning
Repository 1998 (CC BY 4.0), its test set; `sklearn.datasets.load_digits` has them offline.
Pictures are 8 x 8, ink is light on black.
"""

import gzip
import os
from pathlib import Path

import numpy as np

from graft.core.errors import GraftError
from graft.core.files import atomic
from graft.datasets import idx
from graft.demo.drawings import DRAWINGS

MOST = 16
"""A pixel is how many of the 16 points in its 4 x 4 block of the scanned bitmap were ink."""


@DRAWINGS.register("digits")
def write(path: str | os.PathLike) -> None:
    """Write the pictures or the labels as IDX (see `idx`), and gzip'd if the name ends so.

    The name ends with `images-idx3-ubyte` for the pictures, uint8 (1797, 8, 8), 0 to 16 scaled
    to 0 to 255 and rounded to the nearest, or with `labels-idx1-ubyte` for the labels, uint8
    (1797,), 0 to 9. Raises GraftError for another name.
    """
    from sklearn.datasets import load_digits  # takes a second, and only this needs it

    name = Path(path).name.removesuffix(".gz")
    if name.endswith("images-idx3-ubyte"):
        values = np.round(load_digits().images * (255 / MOST)).astype(np.uint8)
    elif name.endswith("labels-idx1-ubyte"):
        values = load_digits().target.astype(np.uint8)
    else:
        raise GraftError(
            f"{path}: the drawn digits are files named <name>-images-idx3-ubyte and "
            "<name>-labels-idx1-ubyte, each with .gz or without; rename it in the dataset's "
            "`files`."
        )
    data = idx.encode(values)
    with atomic(path) as temporary:
        # No time and no name in the header: equal digits are equal bytes.
        temporary.write_bytes(gzip.compress(data, mtime=0) if str(path).endswith(".gz") else data)
