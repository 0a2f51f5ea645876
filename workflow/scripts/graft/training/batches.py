"""Batches: network input from packed pictures or from stored features, augmented or plain."""

import numpy as np
import torch

from graft.config.models import Transform
from graft.images.packs import Packs
from graft.models.transforms import to_input


class Batches:
    """Reads batches at the cut of a network.

    `data` are uint8 pictures (n, h, w, c), which the `transform` prepares, or without one float16
    features (n, views, ...). `flip` mirrors half of the training
    pictures (or takes their mirrored view), `shift` moves them by up to that share of their side,
    with the border reflected.
    """

    def __init__(
        self, data: Packs, transform: Transform | None, *, flip: bool, shift: float, device: str
    ):
        self.data = data
        self.transform = transform
        self.flip = flip
        self.shift = shift
        self.device = device
        self.labels = np.asarray(data.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def read(
        self, indices: np.ndarray, rng: np.random.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(inputs, labels) of the samples at `indices`; augmented when `rng` is given."""
        block = self.data.read(indices)
        labels = torch.from_numpy(self.labels[indices]).to(self.device)
        if self.transform is not None:
            pictures = block if rng is None else self._augment(block, rng)
            inputs = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device)
            return to_input(inputs, self.transform), labels
        view = rng.integers(block.shape[1], size=len(block)) if rng is not None and self.flip else 0
        inputs = torch.from_numpy(block[np.arange(len(block)), view]).to(self.device).float()
        return inputs, labels

    def _augment(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mirror and shift each picture by one gather over its rows and columns."""
        count, height, width = pictures.shape[:3]
        rows = np.tile(np.arange(height), (count, 1))
        columns = np.tile(np.arange(width), (count, 1))
        if self.flip:
            mirrored = rng.random(count) < 0.5
            columns[mirrored] = columns[mirrored, ::-1]
        if self.shift:
            rows = _reflect(rows + _offsets(rng, count, height, self.shift), height)
            columns = _reflect(columns + _offsets(rng, count, width, self.shift), width)
        return pictures[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _offsets(rng: np.random.Generator, count: int, side: int, share: float) -> np.ndarray:
    most = round(side * share)
    return rng.integers(-most, most + 1, size=(count, 1))


def _reflect(positions: np.ndarray, side: int) -> np.ndarray:
    """Positions outside 0..side-1 mirrored back in (without repeating the border)."""
    positions = np.abs(positions)
    return np.where(positions >= side, 2 * (side - 1) - positions, positions)
