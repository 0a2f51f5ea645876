"""Augmentation: other views of the training samples, and mixtures of them.

A transform of torchvision's v2 has one draw for all pictures of a batch, so it is applied to each
picture by itself. What is cheap for a whole batch, flip and shift, is one gather.
"""

import numpy as np
import torch
from torch import nn

from graft.config.models import Augment

PLAIN = Augment(flip=False)
"""Changes nothing."""

ALL = slice(None)


class Augmentation:
    """Draws views of training samples, and mixes batches, as `spec` asks for.

    A flip, a shift and a stored view are drawn by the generator that is passed in, all else by
    torch's global one on the CPU: equal states of both give equal results. Given a `part` of
    `count` samples, the generator draws for all of them.
    """

    def __init__(self, spec: Augment, classes: int):
        self.spec = spec
        self.classes = classes

    def pictures(
        self,
        pictures: np.ndarray,
        rng: np.random.Generator,
        count: int | None = None,
        part: slice = ALL,
    ) -> np.ndarray:
        """A view of each picture; uint8 (n, height, width, 1 or 3) both.

        In this order: mirrored and shifted, cropped and resized back, with other colors (a grey
        picture: brightness and contrast), changed by RandAugment.
        """
        moved = self._moved(pictures, rng, len(pictures) if count is None else count, part)
        if self.spec.crop is None and not self.spec.color and self.spec.randaugment is None:
            return moved
        transform = self._transform(moved.shape[1:3])
        channels_first = torch.from_numpy(moved).permute(0, 3, 1, 2)
        views = torch.stack([transform(picture) for picture in channels_first])
        return views.permute(0, 2, 3, 1).numpy()

    def features(
        self,
        features: np.ndarray,
        rng: np.random.Generator,
        count: int | None = None,
        part: slice = ALL,
    ) -> np.ndarray:
        """One of the stored views of each sample: (n, views, ...) -> (n, ...)."""
        own, views = features.shape[:2]
        drawn = own if count is None else count
        view = rng.integers(views, size=drawn)[part] if self.spec.flip else 0
        return features[np.arange(own), view]

    def mixed(
        self, inputs: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs float32 (n, ...) mixed with those of their neighbours in the batch.

        `labels` int64 (n,) become the classes' shares in the mixture, float32 (n, classes), whose
        rows sum to 1. Without `mixup` and `cutmix` both stay as they are; with both, one is drawn.
        """
        if not self.spec.mixup and not self.spec.cutmix:
            return inputs, labels
        from torchvision.transforms import v2

        mixers: list[nn.Module] = []
        if self.spec.mixup:
            mixers.append(v2.MixUp(alpha=self.spec.mixup, num_classes=self.classes))
        if self.spec.cutmix:
            mixers.append(v2.CutMix(alpha=self.spec.cutmix, num_classes=self.classes))
        maps = inputs.reshape(len(inputs), -1, *(inputs.shape[2:] or (1, 1)))  # v2 wants (n,c,h,w)
        mixed, shares = v2.RandomChoice(mixers)(maps, labels)
        return mixed.reshape(inputs.shape), shares

    def _transform(self, size: tuple[int, int]) -> nn.Module:
        """What is drawn for each picture uint8 (channels, *size)."""
        from torchvision.transforms import v2

        crop, color, randaugment = self.spec.crop, self.spec.color, self.spec.randaugment
        transforms: list[nn.Module] = []
        if crop is not None:
            transforms.append(v2.RandomResizedCrop(size, scale=crop))
        if color:
            # The ratio of the four strengths is SimCLR's (Chen et al. 2020, appendix A).
            transforms.append(v2.ColorJitter(color, color, color, color / 4))
        if randaugment is not None:
            transforms.append(v2.RandAugment(randaugment.ops, randaugment.magnitude))
        return v2.Compose(transforms)

    def _moved(
        self, pictures: np.ndarray, rng: np.random.Generator, count: int, part: slice
    ) -> np.ndarray:
        """Mirror and shift each picture by one gather over its rows and columns."""
        own, height, width = pictures.shape[:3]
        rows = np.tile(np.arange(height), (own, 1))
        columns = np.tile(np.arange(width), (own, 1))
        if self.spec.flip:
            mirrored = rng.random(count)[part] < 0.5
            columns[mirrored] = columns[mirrored, ::-1]
        if self.spec.shift:
            down = _offsets(rng, count, height, self.spec.shift)[part]
            right = _offsets(rng, count, width, self.spec.shift)[part]
            rows, columns = _reflect(rows + down, height), _reflect(columns + right, width)
        return pictures[np.arange(own)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _offsets(rng: np.random.Generator, count: int, side: int, share: float) -> np.ndarray:
    most = round(side * share)
    return rng.integers(-most, most + 1, size=(count, 1))


def _reflect(positions: np.ndarray, side: int) -> np.ndarray:
    """Positions outside 0..side-1 mirrored back in (without repeating the border)."""
    positions = np.abs(positions)
    return np.where(positions >= side, 2 * (side - 1) - positions, positions)
