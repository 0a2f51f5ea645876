"""Cutting patches, and their features alone and from one run per scale, on pictures of VOC 2007.

    python benchmarks/patches.py [--kit ../shared/data] [--pictures 4] [--side 224] [--cut-only]

prints the tables of docs/patches.md: patches a second, and for each scale how close the features of
SqueezeNet 1.1 in the whole picture are to those of single patches (cosine similarity).
"""

import argparse
import itertools
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "workflow" / "scripts"))

from graft.config.sources import Transform  # noqa: E402
from graft.core import instructions  # noqa: E402
from graft.images import patches  # noqa: E402
from graft.images.decode import decode  # noqa: E402
from graft.models import dense  # noqa: E402
from graft.models.backbones import Backbone  # noqa: E402
from graft.models.transforms import to_input  # noqa: E402

BATCH, REPEATS = 32, 3
WEIGHTS = "weights/squeezenet1_1_imagenet_features.pth"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kit", type=Path, default=Path("../shared/data"))
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cut-only", action="store_true", help="no features")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    pictures = _pictures(arguments.kit, arguments.pictures)
    print(f"{instructions.kind()}, {arguments.threads} thread(s), {len(pictures)} pictures\n")
    _cutting(pictures, arguments.side)
    if not arguments.cut_only:
        _features(pictures, arguments.side, arguments.kit / WEIGHTS)


def _cutting(pictures: list[np.ndarray], side: int) -> None:
    """Patches a second of each way to cut them, and the error against Pillow's one at a time."""
    print("| cut by | patches/s | mean error | of the worst patch |\n|---|---|---|---|")
    grids = [_grid(picture) for picture in pictures]
    exact = [_alone(*pair, side) for pair in zip(pictures, grids, strict=True)]
    for name, cut in WAYS.items():
        seconds, found = 0.0, []
        for picture, boxes in zip(pictures, grids, strict=True):
            least, result = _timed(lambda p=picture, b=boxes, c=cut: c(p, b, side))
            seconds += least
            found.append(result)
        errors = np.concatenate(
            [
                np.abs(a.astype(np.int16) - b).mean(axis=(1, 2, 3))
                for a, b in zip(found, exact, strict=True)
            ]
        )
        rate = len(errors) / seconds
        print(f"| {name} | {rate:.0f} | {errors.mean():.2f} | {errors.max():.1f} |")


def _features(pictures: list[np.ndarray], side: int, weights: Path) -> None:
    """Features a second alone and from one run per scale, and their similarity, by scale."""
    backbone = Backbone("squeezenet1_1", skip_init=True)
    backbone.load(torch.load(weights, map_location="cpu"))
    backbone.eval().to(memory_format=torch.channels_last)
    shape, transform = dense.geometry(backbone, side), Transform()

    def alone(picture: np.ndarray, boxes: np.ndarray) -> torch.Tensor:
        with torch.inference_mode():
            rows = [
                backbone(to_input(torch.from_numpy(patches.cut(picture, part, side)), transform))
                for part in np.split(boxes, range(BATCH, len(boxes), BATCH))
            ]
            return torch.cat([row.mean((2, 3)) for row in rows])

    print("\n| scale | patches | alone | in the picture | ratio | cosine, mean | least |")
    print("|---|---|---|---|---|---|---|")
    sums = np.zeros(3)
    scales = [patches.by_scale(p.shape[1], p.shape[0]) for p in pictures]
    for number, parts in enumerate(itertools.zip_longest(*scales)):
        times, similar = np.zeros(2), []
        for picture, boxes in zip(pictures, parts, strict=True):
            if boxes is None:
                continue
            one, single = _timed(lambda p=picture, b=boxes: alone(p, b))
            two, windows = _timed(
                lambda p=picture, b=boxes: dense.windows(backbone, p, [b], shape, transform)
            )
            times += one, two
            similar.append(torch.cosine_similarity(single, windows).numpy())
        values = np.concatenate(similar)
        rates = len(values) / times
        sums += len(values), *times
        print(
            f"| {patches.SCALES[number]} | {len(values)} | {rates[0]:.0f}/s | {rates[1]:.0f}/s "
            f"| {times[0] / times[1]:.1f} | {values.mean():.2f} | {values.min():.2f} |"
        )
    rates = sums[0] / sums[1:]
    print(
        f"| all | {sums[0]:.0f} | {rates[0]:.0f}/s | {rates[1]:.0f}/s "
        f"| {sums[1] / sums[2]:.1f} | | |"
    )


def _alone(picture: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
    image, result = Image.fromarray(picture), np.empty((len(boxes), side, side, 3), np.uint8)
    for patch, box in zip(result, boxes.tolist(), strict=True):
        patch[:] = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box))
    return result


def _rounded(picture: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
    """Boxes at whole pixels, cropped, then resized: the usual way."""
    image, result = Image.fromarray(picture), np.empty((len(boxes), side, side, 3), np.uint8)
    for patch, box in zip(result, boxes.round().astype(int).tolist(), strict=True):
        patch[:] = np.asarray(image.crop(box).resize((side, side), Image.Resampling.BILINEAR))
    return result


def _warped(picture: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
    options = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REPLICATE}
    result = np.empty((len(boxes), side, side, 3), np.uint8)
    for patch, (x1, y1, x2, _) in zip(result, boxes, strict=True):
        step = (x2 - x1) / side
        matrix = np.array([[step, 0, x1 + step / 2 - 0.5], [0, step, y1 + step / 2 - 0.5]])
        cv2.warpAffine(picture, matrix, (side, side), dst=patch, **options)
    return result


WAYS: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "`patches.cut`": patches.cut,
    "Pillow, a patch at a time": _alone,
    "Pillow, cropped at whole pixels": _rounded,
    "OpenCV's warpAffine, bilinear": _warped,
}


def _grid(picture: np.ndarray) -> np.ndarray:
    return patches.grid(picture.shape[1], picture.shape[0])


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """The least seconds of REPEATS calls, and what the last one returned."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return min(times), result


def _pictures(kit: Path, count: int) -> list[np.ndarray]:
    with tarfile.open(kit / "voc2007" / "VOCtest_06-Nov-2007.tar") as tar:
        jpegs = (m for m in tar if m.name.endswith(".jpg"))
        files = [tar.extractfile(member) for member in itertools.islice(jpegs, count)]
        decoded = [decode(file.read()) for file in files if file]
    return [picture for picture in decoded if not isinstance(picture, str)]


if __name__ == "__main__":
    main()
