"""Batches: network input from packed pictures or from stored features, augmented or plain."""

import numpy as np
import torch

from graft.config.models import Augment
from graft.config.patches import OnPatches
from graft.config.sources import Transform
from graft.images.packs import Packs
from graft.images.patch_rows import PatchRows
from graft.models.transforms import to_input
from graft.training import sampling, targets
from graft.training.augmentation import ALL, PLAIN, Augmentation


class Batches:
    """Reads batches at the cut of a network.

    `data` are uint8 pictures (n, h, w, c), which the `transform` prepares, or without one float16
    features (n, views, ...), of which a plain batch has the first view. `patches`: how those of
    `PatchRows` are drawn.
    """

    def __init__(
        self,
        data: Packs | PatchRows,
        transform: Transform | None,
        *,
        device: str,
        augment: Augment = PLAIN,
        patches: OnPatches | None = None,
    ):
        self.data = data
        self.transform = transform
        self.augmentation = Augmentation(augment, len(data.classes))
        self.device = device
        self.labels = np.asarray(data.labels)
        self.target = targets.of(data)
        self.patches = patches or OnPatches()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def samples(self) -> int:
        """How many pictures there are, of which the rows may be patches."""
        return len(self.data.pictures) if isinstance(self.data, PatchRows) else len(self)

    def epoch_rows(self, balance: str, *, seed: int, rng: np.random.Generator) -> np.ndarray:
        """The rows of an epoch, as `sampling.epoch_rows` or `PatchRows.epoch_rows` draws them."""
        if isinstance(self.data, PatchRows):
            return self.data.epoch_rows(self.patches.per_picture, self.patches.batches, rng)
        return sampling.epoch_rows(self.labels, balance, seed=seed, rng=rng)

    def epoch_length(self, balance: str) -> int:
        """How many rows `epoch_rows` gives, the same in every epoch."""
        if isinstance(self.data, PatchRows):
            return self.data.epoch_length(self.patches.per_picture)
        return sampling.epoch_length(self.labels, balance)

    def read(
        self, indices: np.ndarray, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(inputs, labels) of the samples at `indices`, or of a part of them; augmented when `rng`
        is given, which then draws for all of them.

        Labels are those of `packs`, of one or of any number of classes; of mixed samples the
        classes' shares, float32 (n, classes).
        """
        count, indices = len(indices), indices[part]
        block = self.data.read(indices)
        labels = torch.from_numpy(self.labels[indices]).to(self.device)
        if self.transform is not None:
            pictures = block if rng is None else self.augmentation.pictures(block, rng, count, part)
            pixels = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device)
            inputs = to_input(pixels, self.transform)
        else:
            features = (
                block[:, 0] if rng is None else self.augmentation.features(block, rng, count, part)
            )
            inputs = torch.from_numpy(features).to(self.device).float()
        return (inputs, labels) if rng is None else self.augmentation.mixed(inputs, labels)
