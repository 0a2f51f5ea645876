"""Near duplicates: pictures that show the same, in other bytes (re-encoded, resized, brighter).

1. A picture becomes a thumbnail of SIDE x SIDE grey levels, of a JPEG at a fraction
   of the cost of decoding it whole. Thumbnails are in a temporary file, 1 KiB each.
2. Two pictures are candidates if 4 of the 8 bytes of their hashes are equal, as they are wherever
   the hashes differ in at most 4 bits. The hash is that of Zauner (Implementation and benchmarking
   of perceptual image hash functions, 2010) with signs instead of a median: those of the 64 lowest
   frequencies of the thumbnail's discrete cosine transform, in integers.
3. Candidates are near duplicates if their thumbnails correlate by at least SIMILAR where they show
   anything: cells where both have their background, the commonest grey, do not count. So digits on
   black are alike by their strokes and not by the black.

All of it is computed with integers up to one last quotient, so every CPU decides alike. A picture
smaller than a thumbnail is not compared, since too little is in it to recognise it by, nor is one
of a single grey.
"""

import io
import itertools
import tempfile
from array import array
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

SIDE = 32

SIMILAR = 0.97
"""Copies have more as a rule, other pictures less: docs/stages.md has what was measured."""

BACKGROUND = 4
"""Grey levels, of 255, around the commonest that count as it: noise of a JPEG."""

LEAST_CELLS = SIDE * SIDE // 16
"""Cells that two pictures must show something in to be compared."""

BITS_MOST = 12
"""Bits, of 64, by which the hashes of candidates may differ."""

NEIGHBOURS = 16
"""Candidates of one picture in one bucket: time is linear even where all pictures are alike."""

PAIRS = 4096
"""Pairs of thumbnails in memory at a time."""

EN_MASSE = 0.1
"""Share of the pictures from which on near duplicates may be the pictures' nature (see `Near`)."""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF")
ORIENTATION = 0x0112
"""The EXIF tag; TURNS has what each of its values needs."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_WAVES = np.rint(
    1024 * np.cos(np.pi * np.outer(np.arange(8), 2 * np.arange(SIDE) + 1) / (2 * SIDE))
).astype(np.int64)


class Near(NamedTuple):
    """Near duplicates among pictures, each identified by its content's digest.

    `clusters` gives each picture that has any the number of its cluster, from 0: a cluster holds
    all that are linked, directly or through others. `similarity` is the highest correlation with
    another picture. `alike`: more than EN_MASSE of the pictures have near duplicates, and most of
    those are in the lower half of the similarities that count. Copies crowd at 1; a likeness by
    nature, of X-rays or scans, thins out towards it.
    """

    clusters: dict[bytes, int]
    similarity: dict[bytes, float]
    alike: bool


class Thumbnails:
    """Thumbnails of pictures on disk, and their hashes in memory; use as a context manager."""

    def __init__(self) -> None:
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115
        self._numbers: dict[bytes, int] = {}
        self._hashes = array("Q")
        self._backgrounds = array("B")
        self.seen = 0
        """Pictures that were looked at."""

    def __enter__(self) -> "Thumbnails":
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def add(self, content: bytes, picture: bytes | np.ndarray) -> None:
        """A picture: an image file, or its pixels uint8 (height, width, 3). What cannot be read,
        and what shows nothing, is passed over."""
        self.seen += 1
        grey = thumbnail(picture) if content not in self._numbers else None
        if grey is None:
            return
        counts = np.bincount(grey.ravel(), minlength=256)
        common = int(np.convolve(counts, np.ones(2 * BACKGROUND + 1, np.int64), "same").argmax())
        if np.count_nonzero(np.abs(grey.astype(np.int64) - common) > BACKGROUND) < LEAST_CELLS:
            return
        self._numbers[content] = len(self._numbers)
        self._hashes.append(perceptual_hash(grey))
        self._backgrounds.append(common)
        self._spool.write(grey.tobytes())

    def near(self, contents: Collection[bytes]) -> Near:
        """The near duplicates among those of these pictures that were added."""
        known = [content for content in contents if content in self._numbers]
        if len(known) < 2:
            return Near({}, {}, alike=False)
        self._spool.flush()
        places = np.array([self._numbers[content] for content in known])
        pictures = np.memmap(self._spool, np.uint8, "r").reshape(-1, SIDE * SIDE)
        backgrounds = np.array(self._backgrounds, np.int64)
        best, links = np.zeros(len(known)), [np.empty((2, 0), np.int64)]
        for pairs in candidates(np.array(self._hashes, np.uint64)[places]):
            first, second = places[pairs]
            found = similarity(
                pictures[first], pictures[second], backgrounds[first], backgrounds[second]
            )
            linked = pairs[:, found >= SIMILAR]
            links.append(linked)
            for end in linked:
                np.maximum.at(best, end, found[found >= SIMILAR])
        first, second = np.concatenate(links, axis=1)
        matrix = coo_matrix((np.ones(len(first), bool), (first, second)), (len(known),) * 2)
        _, numbers = connected_components(matrix, directed=False)
        linked = np.flatnonzero(best)
        renumbered = np.unique(numbers[linked], return_inverse=True)[1].tolist()
        alike = len(linked) > EN_MASSE * len(contents) and np.median(best[linked]) < (
            (1 + SIMILAR) / 2
        )
        return Near(
            {known[at]: number for at, number in zip(linked, renumbered, strict=True)},
            {known[at]: float(best[at]) for at in linked},
            alike=bool(alike),
        )

    def picture(self, content: bytes) -> np.ndarray:
        """The thumbnail of a picture that has near duplicates: uint8 (SIDE, SIDE)."""
        self._spool.seek(self._numbers[content] * SIDE * SIDE)
        return np.frombuffer(self._spool.read(SIDE * SIDE), np.uint8).reshape(SIDE, SIDE)


def thumbnail(picture: bytes | np.ndarray) -> np.ndarray | None:
    """A picture as SIDE x SIDE grey levels, upright and stretched to a square: uint8 (SIDE, SIDE),
    or None if it is smaller or cannot be read. Levels are means over the picture's parts."""
    try:
        if isinstance(picture, np.ndarray):
            return _small(Image.fromarray(picture))
        with Image.open(io.BytesIO(picture), formats=FORMATS) as image:
            image.draft("L", (2 * SIDE, 2 * SIDE))  # a JPEG at 1/8 to 1/1 of its size
            turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
            grey = _small(image)
    except Exception:  # Pillow's decoders raise exceptions of many types for damaged files
        return None
    if grey is None or turn is None:
        return grey
    return np.asarray(Image.fromarray(grey).transpose(turn))


def _small(image: Image.Image) -> np.ndarray | None:
    if min(image.size) < SIDE:
        return None
    grey = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(grey, np.uint8)


def perceptual_hash(grey: np.ndarray) -> int:
    """64 bits of a thumbnail uint8 (SIDE, SIDE)."""
    frequencies = _WAVES @ grey.astype(np.int64) @ _WAVES.T
    return int.from_bytes(np.packbits(frequencies > 0).tobytes())


def candidates(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs of pictures whose hashes uint64 (n,) agree: int64 (2, up to PAIRS), each pair once."""
    parts = hashes.view(np.uint8).reshape(-1, 8)
    for chosen in itertools.combinations(range(8), 4):
        keys = np.ascontiguousarray(parts[:, chosen]).view(np.uint32).ravel()
        order = np.argsort(keys, kind="stable")
        ranked = keys[order]
        for step in range(1, min(NEIGHBOURS + 1, len(order))):
            at = np.flatnonzero(ranked[step:] == ranked[:-step])
            if not len(at):
                break
            pairs = np.stack([order[at], order[at + step]])
            # Pairs that agree in more than four bytes come with the first four.
            equal = parts[pairs[0], : chosen[-1] + 1] == parts[pairs[1], : chosen[-1] + 1]
            bits = np.bitwise_count(hashes[pairs[0]] ^ hashes[pairs[1]])
            pairs = pairs[:, (equal.sum(axis=1) == 4) & (bits <= BITS_MOST)]
            for start in range(0, pairs.shape[1], PAIRS):
                yield pairs[:, start : start + PAIRS]


def similarity(
    one: np.ndarray, other: np.ndarray, background: np.ndarray, other_background: np.ndarray
) -> np.ndarray:
    """The correlations of thumbnails uint8 (n, SIDE * SIDE), with backgrounds int64 (n,), where
    either shows something: float64 (n,) in -1..1, 0 where too little is shown."""
    x, y = one.astype(np.int64), other.astype(np.int64)
    shown = np.abs(x - background[:, None]) > BACKGROUND
    shown |= np.abs(y - other_background[:, None]) > BACKGROUND
    cells = shown.sum(axis=1)
    x, y = x * shown, y * shown
    sums = x.sum(axis=1), y.sum(axis=1)
    covariance = cells * (x * y).sum(axis=1) - sums[0] * sums[1]
    variances = [
        (cells * (v * v).sum(axis=1) - total**2).astype(np.float64)
        for v, total in zip((x, y), sums, strict=True)
    ]
    scale = np.sqrt(variances[0] * variances[1])
    valid = (cells >= LEAST_CELLS) & (scale > 0)
    return np.where(valid, covariance / np.where(valid, scale, 1.0), 0.0)
