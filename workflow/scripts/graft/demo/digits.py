"""Digits: 1,797 real handwritten digits that come with scikit-learn, written as MNIST is.

Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning
Repository 1998 (CC BY 4.0), its test set; `sklearn.datasets.load_digits` has them offline.
Pictures are 8 x 8, ink is light on black.
"""

import gzip
from pathlib import Path

import numpy as np

from graft.core.errors import GraftError
from graft.core.files import atomic
from graft.datasets import idx
from graft.demo.drawings import DRAWINGS

MOST = 16
"""The value of a pixel is the number of ink points among the 16 of its 4 x 4 block in the scan."""


@DRAWINGS.register("digits")
def write(path: Path) -> None:
    """Write the pictures or the labels as IDX (see `idx`), compressed if the name ends in `.gz`.

    The name ends in `images-idx3-ubyte` for the pictures, uint8 (1797, 8, 8), 0 to 16 scaled to
    0 to 255 and rounded to the nearest, or in `labels-idx1-ubyte` for the labels, uint8 (1797,),
    0 to 9. Raises GraftError for another name.
    """
    from sklearn.datasets import load_digits  # takes a second to import

    name = path.name.removesuffix(".gz")
    if name.endswith("images-idx3-ubyte"):
        values = np.round(load_digits().images * (255 / MOST)).astype(np.uint8)
    elif name.endswith("labels-idx1-ubyte"):
        values = load_digits().target.astype(np.uint8)
    else:
        raise GraftError(
            f"{path}: the name of a file of digits ends in images-idx3-ubyte or labels-idx1-ubyte, "
            "with .gz or without. Rename it in the dataset's `files`."
        )
    data = idx.encode(values)
    with atomic(path) as temporary:
        # No time and no name in the header: equal digits are equal bytes.
        temporary.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
