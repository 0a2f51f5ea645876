"""Features: the activations at the cut, computed once for every picture and stored.

The frozen prefix never changes, so its output is computed here and training starts after it. A
picture has one view, or two where its mirror image is wanted as an augmentation.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from graft.config.models import Transform
from graft.core import hdf5
from graft.core.errors import GraftError
from graft.images.packs import Pack
from graft.models.backbones import Backbone
from graft.models.model_file import load_source
from graft.models.network import split, too_small
from graft.models.transforms import to_input


def extract(
    pack: Path,
    source: Path,
    destination: Path,
    *,
    cut: str,
    flip: bool,
    device: str,
    precision: str,
    batch_size: int,
    recipe: dict[str, Any],
) -> dict[str, Any]:
    """Run the frozen prefix over a pack; write `features` float16 (n, views, ...).

    Views: the picture, and its mirror image if `flip`. The trailing dimensions are (width,)
    after a pooling or a fully connected block, else (channels, h, w). Labels, groups and
    sample_ids are copied. Raises GraftError if an activation does not fit into float16.
    """
    tensors, settings = load_source(source)
    backbone = Backbone(settings.architecture, settings.experts, skip_init=True)
    backbone.load(tensors)
    backbone.eval()
    prefix = split(backbone, cut)[0].to(device).to(memory_format=torch.channels_last)
    transform = settings.transform
    images = Pack(pack)
    views = 2 if flip else 1
    with hdf5.create(destination, recipe) as file:
        try:  # the shape of the activations, with a black picture: a part may be empty
            black = torch.zeros((1, *images.array.shape[1:]), dtype=torch.uint8)
            shape = tuple(run(prefix, transform, black, device, precision).shape[1:])
        except RuntimeError:  # a pooling has nothing left to pool
            size = transform.size or images.array.shape[1]
            raise too_small(settings.architecture, size) from None
        features = hdf5.contiguous(file, "features", (len(images), views, *shape), np.float16)
        for start in tqdm(range(0, len(images), batch_size), desc=f"{cut} features"):
            indices = np.arange(start, min(start + batch_size, len(images)))
            batch = torch.from_numpy(images.read(indices))
            both = [batch, batch.flip(2)][:views]
            activations = torch.stack(
                [run(prefix, transform, view, device, precision) for view in both], 1
            )
            if not torch.isfinite(activations).all():
                raise GraftError(
                    f"{pack}: activations at the cut {cut} exceed the range of float16 (65504). "
                    "Cut elsewhere, or check the source's transform."
                )
            features[start : start + len(batch)] = activations.numpy()
        images.copy_labels(file)
    return {"rows": len(images), "views": views, "shape": list(shape)}


@torch.inference_mode()
def run(
    module: torch.nn.Module,
    transform: Transform,
    pictures: torch.Tensor,
    device: str,
    precision: str,
) -> torch.Tensor:
    """uint8 pictures (n, h, w, c) through a module, as float16 on the CPU."""
    with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
        return module(to_input(pictures.to(device), transform)).to("cpu", torch.float16)
