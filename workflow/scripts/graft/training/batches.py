"""Batches: network input from packed pictures or from stored features, augmented or plain."""

import numpy as np
import torch

from graft.config.models import Augment, Transform
from graft.images.packs import Packs
from graft.models.transforms import to_input
from graft.training import targets
from graft.training.augmentation import PLAIN, Augmentation


class Batches:
    """Reads batches at the cut of a network.

    `data` are uint8 pictures (n, h, w, c), which the `transform` prepares, or without one float16
    features (n, views, ...), of which a plain batch has the first view.
    """

    def __init__(
        self, data: Packs, transform: Transform | None, *, device: str, augment: Augment = PLAIN
    ):
        self.data = data
        self.transform = transform
        self.augmentation = Augmentation(augment, len(data.classes))
        self.device = device
        self.labels = np.asarray(data.labels)
        self.target = targets.of(data)

    def __len__(self) -> int:
        return len(self.labels)

    def read(
        self, indices: np.ndarray, rng: np.random.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(inputs, labels) of the samples at `indices`; augmented when `rng` is given.

        Labels are those of `packs`, of one or of any number of classes; of mixed samples the
        classes' shares, float32 (n, classes).
        """
        block = self.data.read(indices)
        labels = torch.from_numpy(self.labels[indices]).to(self.device)
        if self.transform is not None:
            pictures = block if rng is None else self.augmentation.pictures(block, rng)
            pixels = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device)
            inputs = to_input(pixels, self.transform)
        else:
            features = block[:, 0] if rng is None else self.augmentation.features(block, rng)
            inputs = torch.from_numpy(features).to(self.device).float()
        return (inputs, labels) if rng is None else self.augmentation.mixed(inputs, labels)
