"""The input transform: how stored uint8 pictures become what a backbone was trained on.

A backbone's weights are only worth something together with the input they expect, so the
transform travels with the source, into every model and every recipe.
"""

from dataclasses import asdict, dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Transform:
    """(pixel * scale - mean) / std per channel, in the given channel order and size.

    `size` in pixels (square), or None to take pictures as they are packed; `scale` is applied
    to 0..255 values; `mean` and `std` are in the given channel order.
    """

    size: int | None
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: str

    @classmethod
    def from_dict(cls, values: dict) -> "Transform":
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def to_dict(self) -> dict:
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (n, height, width, 1 or 3) RGB -> float32 (n, 3, size, size), channels last.

        One grey channel is repeated.
        """
        batch = images.permute(0, 3, 1, 2)
        if batch.shape[1] == 1:
            batch = batch.expand(-1, 3, -1, -1)
        return self.apply(batch.float())

    def apply(self, batch: torch.Tensor) -> torch.Tensor:
        """float RGB pixels 0..255 (n, 3, height, width) -> (n, 3, size, size), channels last.

        Resizing is bilinear with antialiasing.
        """
        if self.size is not None and tuple(batch.shape[2:]) != (self.size, self.size):
            batch = functional.interpolate(
                batch, (self.size, self.size), mode="bilinear", antialias=True
            )
        if self.channels == "BGR":
            batch = batch.flip(1)
        mean = batch.new_tensor(self.mean).view(1, 3, 1, 1)
        std = batch.new_tensor(self.std).view(1, 3, 1, 1)
        batch = (batch * self.scale - mean) / std
        return batch.contiguous(memory_format=torch.channels_last)
