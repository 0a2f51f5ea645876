"""Features: the activations at the cut, computed once for every picture and stored.

The frozen prefix never changes, so its output is computed here and training starts after it. A
picture has one view, or two where its mirror image is wanted as an augmentation.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from graft.config.sources import Transform
from graft.config.stages import BackboneSettings
from graft.core import hdf5
from graft.core.errors import GraftError
from graft.images.packs import Pack, open_parts
from graft.images.patch_rows import PatchRows, copy_arrays
from graft.models import dense
from graft.models.backbones import Backbone
from graft.models.inference import Prepared, prepared
from graft.models.model_file import load_source
from graft.models.network import split, too_small
from graft.models.transforms import to_input


def extract_patches(
    pack: Path,
    source: Path,
    destination: Path,
    *,
    cut: str,
    flip: bool,
    is_dense: bool,
    device: str,
    precision: str,
    batch_size: int,
    recipe: dict[str, Any],
) -> dict[str, Any]:
    """As `extract`, of the patches of a pack's pictures: `features` float16 (patches, views, ...).

    is_dense: average windows of the maps of whole pictures (see `models.dense`), which only the cut
    `avgpool` has, instead of running the prefix over each patch. Where the patches are is copied.
    """
    pictures = open_parts([pack])
    views = 2 if flip else 1
    rows = PatchRows(pictures)
    side = rows.side
    prefix, settings = prefix_of(source, cut, device, side)
    network = prepared(prefix, device=device, precision=precision)
    transform = settings.transform
    if is_dense and cut != "avgpool":
        raise GraftError(
            f"patches.features: dense averages maps, as the cut avgpool does, and not {cut}. Set "
            "it to single, or use modes that read features at avgpool."
        )

    def computed(start: int, end: int) -> torch.Tensor:
        batch = torch.from_numpy(rows.read(np.arange(start, end)))
        both = [batch, batch.flip(2)][:views]
        return torch.stack([run(network, transform, view, device) for view in both], 1)

    shape = _shape(network, settings, side, device)
    maps = prefix[:-1]  # without the pooling
    geometry = dense.geometry(maps, transform.size or side) if is_dense else None
    with hdf5.create(destination, recipe) as file:
        features = hdf5.contiguous(file, "features", (len(rows), views, *shape), np.float16)
        for picture in tqdm(range(len(pictures)), desc=f"{cut} features of patches"):
            first, last = (int(rows.starts[at]) for at in (picture, picture + 1))
            if geometry is not None:
                found = _dense(
                    rows.decoded(picture),
                    rows.boxes(picture),
                    maps,
                    geometry,
                    transform,
                    views=views,
                    device=device,
                )
                features[first:last] = _checked(found, pack, cut).numpy()
                continue
            for start in range(first, last, batch_size):
                end = min(start + batch_size, last)
                features[start:end] = _checked(computed(start, end), pack, cut).numpy()
        pictures.packs[0].copy_labels(file)
        if pictures.packs[0].patches is not None:
            copy_arrays(pictures.packs[0].patches, file)
    return {
        "rows": len(pictures),
        "patches": len(rows),
        "views": views,
        "shape": list(shape),
    }


def _dense(
    image: np.ndarray,
    boxes: np.ndarray,
    maps: nn.Sequential,
    shape: dense.Geometry,
    transform: Transform,
    *,
    views: int,
    device: str,
) -> torch.Tensor:
    """float16 (patches, views, channels) of a picture's patches, from its maps at each scale."""
    scales = _by_scale(boxes)
    found = [dense.windows(maps, image, scales, shape, transform, device=device)]
    if views == 2:
        width = image.shape[1]
        mirrored = [
            np.stack([width - own[:, 2], own[:, 1], width - own[:, 0], own[:, 3]], axis=1)
            for own in scales
        ]
        turned = np.ascontiguousarray(image[:, ::-1])
        found.append(dense.windows(maps, turned, mirrored, shape, transform, device=device))
    return torch.stack(found, 1).to("cpu", torch.float16)


def _by_scale(boxes: np.ndarray) -> list[np.ndarray]:
    """The boxes (n, 4) of each scale, in order: float64 squares of exactly one size."""
    sides = (boxes[:, 2] - boxes[:, 0]).astype(np.float64)
    changes = np.flatnonzero(np.abs(np.diff(sides)) > 1e-3 * sides[1:]) + 1
    scales = []
    for own in np.split(boxes.astype(np.float64), changes):
        side = (own[:, 2:] - own[:, :2]).mean()
        scales.append(np.concatenate([own[:, :2], own[:, :2] + side], axis=1))
    return scales


def prefix_of(
    source: Path, cut: str, device: str, side: int
) -> tuple[nn.Sequential, BackboneSettings]:
    """What of a source is before a cut, in evaluation mode, and what the source is.

    side: of the pictures in pixels, before the source's transform.
    """
    tensors, settings = load_source(source)
    size = settings.transform.size or side
    backbone = Backbone(settings.architecture, settings.experts, size=size, skip_init=True)
    backbone.load(tensors)
    backbone.eval()
    prefix = split(backbone, cut)[0].to(device).to(memory_format=torch.channels_last)
    return prefix, settings


def _shape(
    network: Prepared, settings: BackboneSettings, side: int, device: str
) -> tuple[int, ...]:
    """The shape of a picture's activations, with a black one: a part may be empty."""
    try:
        black = torch.zeros((1, side, side, 3), dtype=torch.uint8)
        return tuple(run(network, settings.transform, black, device).shape[1:])
    except RuntimeError:  # a pooling has nothing left to pool
        raise too_small(settings.architecture, settings.transform.size or side) from None


def _checked(activations: torch.Tensor, pack: Path, cut: str) -> torch.Tensor:
    if not torch.isfinite(activations).all():
        raise GraftError(
            f"{pack}: activations at the cut {cut} exceed the range of float16 (65504). Cut "
            "elsewhere, or check the source's transform."
        )
    return activations


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
    images = Pack(pack)
    side = images.array.shape[1]
    prefix, settings = prefix_of(source, cut, device, side)
    network = prepared(prefix, device=device, precision=precision)
    transform = settings.transform
    views = 2 if flip else 1
    with hdf5.create(destination, recipe) as file:
        shape = _shape(network, settings, side, device)
        features = hdf5.contiguous(file, "features", (len(images), views, *shape), np.float16)
        for start in tqdm(range(0, len(images), batch_size), desc=f"{cut} features"):
            indices = np.arange(start, min(start + batch_size, len(images)))
            batch = torch.from_numpy(images.read(indices))
            both = [batch, batch.flip(2)][:views]
            activations = torch.stack([run(network, transform, view, device) for view in both], 1)
            features[start : start + len(batch)] = _checked(activations, pack, cut).numpy()
        images.copy_labels(file)
    return {"rows": len(images), "views": views, "shape": list(shape)}


@torch.inference_mode()
def run(
    network: Prepared, transform: Transform, pictures: torch.Tensor, device: str
) -> torch.Tensor:
    """uint8 pictures (n, h, w, c) through a prepared network, as float16 on the CPU."""
    return network(to_input(pictures.to(device), transform)).to("cpu", torch.float16)
