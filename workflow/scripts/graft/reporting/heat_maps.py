"""Heat maps: where in a picture a model of patches sees a class."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure

from graft.config.architectures import IMAGE
from graft.evaluation import multilabel
from graft.evaluation.predictions import read_predictions
from graft.images.patch_rows import PatchRows, open_patches
from graft.models.model_file import load_network
from graft.reporting.figures.style import new_figure, style
from graft.training import loop
from graft.training.batches import Batches

PICTURES = 3
"""Of each class, those with the highest scores: that of a picture that was missed shows nothing."""

CLASSES_MOST = 40
WIDTH, HEIGHT = 2.6, 2.05  # inches of a picture
OPACITY = 0.65


class HeatMap(NamedTuple):
    """A picture uint8 (h, w, 3), and a class's probability at each of its pixels (h, w)."""

    picture: np.ndarray
    heat: np.ndarray


@torch.inference_mode()
def shown(
    model: Path,
    parts: Sequence[Path],
    packs: Sequence[Path],
    predictions: Path,
    *,
    device: str,
    precision: str,
    threads: int,
) -> dict[str, list[HeatMap]]:
    """Class -> maps of the test pictures that show it and have the highest scores for it.

    parts: the model's inputs, packs or features at its cut. packs: those with the pictures, of the
    same samples in the same order.
    """
    torch.set_num_threads(threads)
    network, description = load_network(model)
    network = network.to(device)
    rows, whole = open_patches(parts), open_patches(packs)
    places = {str(sample): place for place, sample in enumerate(rows.pictures.sample_ids)}
    tested = multilabel.unpack_predictions(read_predictions(predictions))
    maps: dict[str, list[HeatMap]] = {}
    for number, name in enumerate(tested.classes[:CLASSES_MOST]):
        positive = np.flatnonzero(tested.true[:, number] == 1)
        best = positive[np.argsort(-tested.scores[positive, number], kind="stable")[:PICTURES]]
        maps[name] = []
        for row in best:
            place = places[str(tested.sample_id[row])]
            own = rows.of_pictures(np.array([place]))
            transform = description.backbone.transform if description.cut == IMAGE else None
            batches = Batches(own, transform, device=device)
            outputs = torch.cat(list(loop.outputs(network, network, batches, precision)))
            probabilities = outputs.double().softmax(1)[:, number].numpy()
            picture = whole.decoded(place)
            maps[name].append(HeatMap(picture, heat(whole, place, picture, probabilities)))
    return maps


def heat(rows: PatchRows, place: int, picture: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The mean probability over the patches that cover each pixel: float64 (height, width)."""
    return covered(rows.boxes(place), probabilities, picture.shape[0], picture.shape[1])


def covered(boxes: np.ndarray, values: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mean of the values of the boxes (n, 4) over each pixel: float64 (height, width), 0 where
    there is none. Boxes are rounded to whole pixels."""
    edges = np.clip(np.rint(boxes).astype(np.int64), 0, (width, height, width, height))
    sums, counts = np.zeros((2, height + 1, width + 1))
    for table, amounts in ((sums, values), (counts, np.ones(len(values)))):
        for x, y, sign in ((0, 1, 1), (2, 1, -1), (0, 3, -1), (2, 3, 1)):
            np.add.at(table, (edges[:, y], edges[:, x]), sign * amounts)
    total, count = (np.cumsum(np.cumsum(t, 0), 1)[:-1, :-1] for t in (sums, counts))
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0.5)


@style()
def figure(maps: Mapping[str, Sequence[HeatMap]]) -> Figure:
    """A row for each class, with each of its pictures plain and under its map."""
    held = {name: found for name, found in maps.items() if found}
    rows = max(1, len(held))
    drawn = new_figure(WIDTH * PICTURES, HEIGHT * rows, compress=True)
    grid = drawn.subplots(rows, PICTURES, squeeze=False)
    shades = colormaps["inferno"]
    for axes in grid.ravel():
        axes.axis("off")
    for line, (name, found) in zip(grid, held.items(), strict=False):
        for axes, (picture, heat_map) in zip(line, found, strict=False):
            strength = np.clip(heat_map / max(heat_map.max(), 1e-12), 0, 1)[..., None]
            grey = picture.mean(axis=2, keepdims=True).repeat(3, 2) / 255
            colour = shades(strength[..., 0])[..., :3]
            blend = OPACITY * strength
            axes.imshow(grey * (1 - blend) + colour * blend, interpolation="antialiased")
            axes.set_title(f"{name}, at most {100 * heat_map.max():.0f} %", fontsize=9)
    return drawn
