"""Features: what stands at the cut, computed once for every picture and kept.

The frozen prefix never changes, so its output is computed here and training starts behind
it. A picture has one view, or two where its mirror image is wanted as an augmentation.
"""

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from graft.core import hdf5
from graft.core.errors import GraftError
from graft.images.packs import Pack
from graft.models import model_file, network
from graft.models.backbones import Backbone
from graft.models.transforms import Transform


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
    recipe: dict,
) -> dict:
    """Run the frozen prefix over a pack; write `features` float16 (n, views, ...).

    Views: the picture, and its mirror image if `flip`. The trailing dimensions are (width,)
    behind a pooling or a fully connected block, else (channels, h, w). Labels, groups and
    sample_ids are carried along. Raises GraftError if an activation does not fit into float16.
    """
    tensors, description = model_file.load(source)
    backbone = Backbone(description["architecture"], description.get("experts"), skip_init=True)
    backbone.load(tensors)
    backbone.eval()
    frozen = network.prefix(backbone, cut).to(device, memory_format=torch.channels_last)
    transform = Transform.from_dict(description["transform"])
    images = Pack(pack)
    views = 2 if flip else 1
    with hdf5.create(destination, recipe) as file:
        try:
            shape = _shape(frozen, transform, images.array, device, precision)
        except RuntimeError:  # a pooling finds nothing left to pool
            size = transform.size or images.array.shape[1]
            raise network.too_small(description["architecture"], size) from None
        features = hdf5.contiguous(file, "features", (len(images), views, *shape), np.float16)
        for start in tqdm(range(0, len(images), batch_size), desc=f"{cut} features"):
            batch = torch.from_numpy(images.read(np.s_[start : start + batch_size]))
            both = [batch, batch.flip(2)][:views]
            activations = torch.stack(
                [run(frozen, transform, v, device, precision) for v in both], 1
            )
            _refuse_overflow(activations, pack, cut)
            features[start : start + len(batch)] = activations.numpy()
        images.copy_labels(file)
    return {"rows": len(images), "views": views, "shape": list(shape)}


@torch.inference_mode()
def run(
    module: torch.nn.Module,
    transform: Transform,
    images: torch.Tensor,
    device: str,
    precision: str,
) -> torch.Tensor:
    """uint8 pictures (n, h, w, c) through a module, as float16 on the CPU."""
    with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
        return module(transform(images.to(device))).to("cpu", torch.float16)


def _shape(frozen, transform, pictures, device: str, precision: str) -> tuple[int, ...]:
    """Shape of one picture's activations, found with a black picture: a part may be empty."""
    black = torch.zeros((1, *pictures.shape[1:]), dtype=torch.uint8)
    return tuple(run(frozen, transform, black, device, precision).shape[1:])


def _refuse_overflow(activations: torch.Tensor, pack: Path, cut: str) -> None:
    if not torch.isfinite(activations).all():
        raise GraftError(
            f"{pack}: activations at the cut {cut} exceed what float16 holds (65504); "
            "cut elsewhere or check the source's transform."
        )
