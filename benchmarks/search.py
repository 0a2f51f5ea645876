"""The search for one face in a picture: small faces, turned pictures, pictures without a face.

    python benchmarks/search.py [--kit ../shared/data] [--threads 1] [--pictures 16]

prints the tables of docs/faces.md. Faces of LFW are pasted into photographs of Pascal VOC without a
person, enlarged to 1,600 x 1,200 pixels, so that a face's side is a share of the picture's shorter
side. A face is right if the intersection over union of its box with where it is is above one half.
"""

import argparse
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "workflow" / "scripts"))
sys.path.insert(0, str(Path(__file__).parent))

from faces import MIDDLE, _fddb, _lfw  # noqa: E402

from graft.config.datasets import Detector  # noqa: E402
from graft.config.detectors import YUNET  # noqa: E402
from graft.images import jpeg  # noqa: E402
from graft.images.crop import Crop, Cropper  # noqa: E402
from graft.images.detect import overlaps  # noqa: E402

SHARES = (0.03, 0.055, 0.08, 0.12)
MIN_FACES = {"mtcnn": (0.15, 0.05, 0.025), "yunet": (0.03125, 0.01, 0.005)}
WIDTH, HEIGHT = 1600, 1200


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kit", type=Path, default=Path("../shared/data"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pictures", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    some = arguments.pictures
    lfw, empty = _lfw(arguments.kit)[:some], _empty(arguments.kit)[: 4 * some]
    fddb = _fddb(arguments.kit)
    print("right, wrong, dropped; of those pasted, by share of the shorter side")
    shares = " | ".join(f"{share:g}" for share in SHARES)
    print(f"| detector | `min_face` | {shares} | FDDB | without a face: kept | pictures/s |")
    print("|" + "---|" * (len(SHARES) + 5))
    for name, sizes in MIN_FACES.items():
        for size in sizes:
            cropper = _cropper(arguments.kit, name, size)
            cells = []
            for share in SHARES:
                pasted = [_pasted(f, e, share) for f, e in zip(lfw, empty, strict=False)]
                truth = [box[None] for _, box in pasted]
                cells.append(_outcome(cropper([image for image, _ in pasted]), truth))
            cells.append(_outcome(cropper([p.image for p in fddb]), [p.boxes for p in fddb]))
            started = time.perf_counter()
            kept = sum(isinstance(crop, Crop) for crop in cropper(empty))
            rate = len(empty) / (time.perf_counter() - started)
            cells += [f"{kept} of {len(empty)}", f"{rate:.1f}"]
            print(f"| `{name}` | {size:g} | {' | '.join(cells)} |", flush=True)
    print("\n| detector | turned by | right | turned wrongly | dropped |\n|---|---|---|---|---|")
    for name, (size, *_) in MIN_FACES.items():
        cropper = _cropper(arguments.kit, name, size)
        for quarters in range(4):
            turned = [np.ascontiguousarray(np.rot90(i, quarters)) for i in lfw]
            counts: Counter[str] = Counter()
            for crop in cropper(turned):
                kept = isinstance(crop, Crop)
                right = kept and crop.turn == 90 * quarters
                counts["right" if right else "wrong" if kept else "dropped"] += 1
            cells = [str(counts[key]) for key in ("right", "wrong", "dropped")]
            print(f"| `{name}` | {90 * quarters} | {' | '.join(cells)} |", flush=True)


def _cropper(kit: Path, name: str, size: float) -> Cropper:
    file = kit / "detectors" / YUNET if name == "yunet" else None
    return Cropper(64, Detector.model_validate({"name": name, "min_face": size}), file=file)


def _outcome(crops: Sequence[Crop | str], truth: Sequence[np.ndarray]) -> str:
    counts: Counter[str] = Counter()
    for crop, boxes in zip(crops, truth, strict=True):
        if isinstance(crop, str):
            counts["dropped"] += 1
            continue
        right = not crop.turn and overlaps(boxes, crop.box.astype(np.float64)).max() > 0.5
        counts["right" if right else "wrong"] += 1
    return ", ".join(str(counts[key]) for key in ("right", "wrong", "dropped"))


def _pasted(photo: np.ndarray, empty: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture with a face of LFW of that share of its shorter side, and the face's box."""
    image = cv2.resize(empty, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    factor = share * HEIGHT / 95  # the face's side in LFW, where MIDDLE shows some more
    side = round(250 * factor)
    small = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA)
    x, y = WIDTH // 3, HEIGHT // 3
    image[y : y + side, x : x + side] = small
    return image, MIDDLE * factor + [x, y, x, y]


def _empty(kit: Path) -> list[np.ndarray]:
    """Photographs of VOC in which no person is annotated."""
    with tarfile.open(kit / "voc2007" / "VOCtrainval_06-Nov-2007.tar") as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
    chosen = []
    for name in sorted(name for name in files if name.endswith(".xml")):
        objects = [o.findtext("name") for o in ElementTree.fromstring(files[name]).iter("object")]
        if "person" not in objects:
            data = files[name.replace("Annotations", "JPEGImages").replace(".xml", ".jpg")]
            image = jpeg.plain(data)
            assert image is not None
            chosen.append(image)
    return chosen[::2]


if __name__ == "__main__":
    main()
