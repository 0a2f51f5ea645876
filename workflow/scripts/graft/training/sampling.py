"""Sampling: which training rows an epoch sees, and in what order.

Where classes are unequal, a network can do well without the rare ones. Balancing shows it all
classes equally often; validation and test rows are never balanced.
"""

import numpy as np


def epoch_rows(
    labels: np.ndarray, balance: str, *, seed: int, rng: np.random.Generator
) -> np.ndarray:
    """The rows of one epoch in their order: int64 (m,), positions in `labels`.

    `labels` is int (n,) with n >= 1; the classes are those that occur in it. Labels of any number
    of classes (n, K) cannot be balanced. `balance` is one of

    - `none`: every row once;
    - `downsample`: of every class as many rows as the smallest has. Which ones depends on `seed`
      (>= 0) alone, so all epochs, candidates and modes of a seed learn from the same rows;
    - `upsample`: of every class as many rows as the largest has, `most`. Of a class of `own` rows
      each comes most // own times, and the rest are different ones drawn by `rng`;
    - `weighted`: n draws with replacement, each class equally likely, and each row of a class.

    `rng` is the epoch's generator: equal ones give equal rows.
    """
    if balance == "none":
        return rng.permutation(len(labels))
    classes = _by_class(labels)
    sizes = np.array([len(rows) for rows in classes])
    match balance:
        case "downsample":
            # A spawned stream, because [seed] alone would be that of the first epoch.
            fixed = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
            drawn = [fixed.choice(rows, sizes.min(), replace=False) for rows in classes]
        case "upsample":
            most = sizes.max()
            drawn = []
            for rows in classes:
                times, rest = divmod(most, len(rows))
                drawn += [np.repeat(rows, times), rng.choice(rows, rest, replace=False)]
        case "weighted":
            chosen = rng.integers(len(classes), size=len(labels))
            within = rng.integers(sizes[chosen])
            return np.concatenate(classes)[(np.cumsum(sizes) - sizes)[chosen] + within]
    return rng.permutation(np.concatenate(drawn))


def epoch_length(labels: np.ndarray, balance: str) -> int:
    """How many rows `epoch_rows` gives, the same in every epoch."""
    if balance == "none":
        return len(labels)
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    match balance:
        case "downsample":
            return int(len(counts) * counts.min())
        case "upsample":
            return int(len(counts) * counts.max())
    return len(labels)


def class_weights(labels: np.ndarray, balance: str, classes: int) -> np.ndarray:
    """How much a row of each class counts where the rows are read as they are: float64 (classes,).

    1 with `none`. With any other balance all classes count equally, as they do in `epoch_rows`,
    and the n rows still sum to n: n / (classes that occur * rows of the class).
    """
    counts = np.bincount(labels, minlength=classes)
    if balance == "none":
        return np.ones(classes)
    return len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))


def _by_class(labels: np.ndarray) -> list[np.ndarray]:
    """The rows of each class that occurs, ascending."""
    counts = np.bincount(labels)
    rows = np.argsort(labels, kind="stable")
    return np.split(rows, np.cumsum(counts[counts > 0])[:-1])
