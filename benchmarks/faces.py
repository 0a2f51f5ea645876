"""Face detectors on FDDB and LFW: recall, false positives, landmarks and speed.

    python benchmarks/faces.py [--kit ../shared/data] [--threads 2] [--rounds 3]

prints the tables of docs/faces.md. A detection is right if its intersection over union with the box
of a face is above one half; each face has one detection at most, the best first. FDDB's pictures
with an even number in the order of names choose yunet's `min_score`; the others are reported.
"""

import argparse
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple
from xml.etree import ElementTree

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN as Package

sys.path.insert(0, str(Path(__file__).parent.parent / "workflow" / "scripts"))

from graft.config.detectors import YUNET  # noqa: E402
from graft.core import instructions  # noqa: E402
from graft.images import align  # noqa: E402
from graft.images.decode import decode  # noqa: E402
from graft.images.detect import Faces, overlaps  # noqa: E402
from graft.images.detectors import yunet  # noqa: E402
from graft.images.detectors.mtcnn import MTCNN  # noqa: E402
from graft.images.search import nearest  # noqa: E402

Detect = Callable[[Sequence[np.ndarray]], list[Faces]]
MIDDLE = np.array([68.0, 68.0, 182.0, 182.0])  # where the named person's face is, in LFW
ALLOWED = (0.1, 0.2, 0.3, 0.4)  # false positives a picture
SHIFTS = 8


class Picture(NamedTuple):
    """A picture of FDDB, and its faces' boxes float64 (k, 4)."""

    name: str
    image: np.ndarray
    boxes: np.ndarray


class Matched(NamedTuple):
    """Scores: of each face's detection (-1 without one), and of the false positives."""

    faces: np.ndarray
    false: np.ndarray
    pictures: int

    def at(self, score: float) -> tuple[float, float]:
        """(recall, false positives a picture) of the detections with at least this score."""
        return (self.faces >= score).mean(), (self.false >= score).sum() / self.pictures

    def threshold(self, allowed: float) -> float:
        """The lowest score with so many false positives a picture or fewer."""
        number = int(allowed * self.pictures)
        scores = np.sort(self.false)[::-1]
        return float(np.nextafter(scores[number], 2)) if number < len(scores) else 0.0

    def f1(self, score: float) -> float:
        """The harmonic mean of precision and recall."""
        right, wrong = (self.faces >= score).sum(), (self.false >= score).sum()
        return 2 * right / (right + wrong + len(self.faces))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kit", type=Path, default=Path("../shared/data"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    fddb, lfw = _fddb(arguments.kit), _lfw(arguments.kit)
    found = yunet.YuNet(file=arguments.kit / "detectors" / YUNET)
    package = Package(keep_all=True, min_face_size=20)
    detectors: dict[str, Detect] = {
        "mtcnn": MTCNN().detect,
        "mtcnn, `min_face` 0": MTCNN(min_face=0.0).detect,
        "facenet-pytorch's MTCNN": lambda images: _of_package(package, images),
        "yunet": found.detect,
    }
    print(f"{instructions.kind()}, {arguments.threads} thread(s)\n")
    _recall(detectors, fddb)
    _landmarks(detectors, lfw[:60], found)
    _speed(detectors, {"FDDB": [p.image for p in fddb], "LFW": lfw}, arguments.rounds)


def _recall(detectors: dict[str, Detect], fddb: list[Picture]) -> None:
    results = {name: detect([p.image for p in fddb]) for name, detect in detectors.items()}
    chooses = match(results["yunet"][::2], fddb[::2])
    grid = np.arange(0.3, 0.951, 0.05).round(2)
    best = max(grid, key=chooses.f1)
    print("yunet's min_score, on the pictures that choose it and on those that are reported")
    reported = match(results["yunet"][1::2], fddb[1::2])
    print("| score | recall | false | F1 | recall | false | F1 |\n|" + "---|" * 7)
    for score in grid:
        cells = [
            f"{m.at(score)[0]:.3f} | {m.at(score)[1]:.2f} | {m.f1(score):.3f}"
            for m in (chooses, reported)
        ]
        print(f"| {score:g}{' (chosen)' if score == best else ''} | {' | '.join(cells)} |")
    print("\nrecall at equal false positives a picture: reported half; all pictures")
    print("| detector | " + " | ".join(f"{a:g}" for a in ALLOWED * 2) + " |\n|" + "---|" * 9)
    for name, faces in results.items():
        halves = (match(faces[1::2], fddb[1::2]), match(faces, fddb))
        cells = [f"{m.at(m.threshold(a))[0]:.3f}" for m in halves for a in ALLOWED]
        print(f"| {name} | {' | '.join(cells)} |")
    _losses(results, fddb)


def _losses(results: dict[str, list[Faces]], fddb: list[Picture]) -> None:
    """The faces that one implementation of MTCNN finds and the other does not, by their size."""
    sides = np.array(
        [(b[2:] - b[:2]).min() / min(p.image.shape[:2]) for p in fddb for b in p.boxes]
    )
    theirs = match(results["facenet-pytorch's MTCNN"], fddb)
    print("\nagainst facenet-pytorch's MTCNN at equal false positives, all pictures")
    print("| detector | false | finds besides | loses | their sides, as shares of the picture's |")
    print("|---|---|---|---|---|")
    for name in ("mtcnn", "mtcnn, `min_face` 0"):
        ours = match(results[name], fddb)
        for allowed in ALLOWED:
            mine = ours.faces >= ours.threshold(allowed)
            other = theirs.faces >= theirs.threshold(allowed)
            lost = sorted(sides[other & ~mine])
            shares = ", ".join(f"{side:.2f}" for side in lost)
            print(f"| {name} | {allowed} | {(mine & ~other).sum()} | {len(lost)} | {shares} |")


def match(found: Sequence[Faces], pictures: Sequence[Picture]) -> Matched:
    """Each face's detection: of those that overlap it most, the one with the highest score."""
    scores, false = [], []
    for faces, picture in zip(found, pictures, strict=True):
        mine = np.full(len(picture.boxes), -1.0)
        for box, score in zip(faces.boxes.astype(np.float64), faces.scores, strict=True):
            overlap = np.where(mine < 0, overlaps(picture.boxes, box), 0)
            if overlap.max(initial=0) > 0.5:
                mine[overlap.argmax()] = score
            else:
                false.append(score)
        scores.append(mine)
    return Matched(np.concatenate(scores), np.array(false), len(pictures))


def _landmarks(detectors: dict[str, Detect], lfw: list[np.ndarray], found: yunet.YuNet) -> None:
    """How far detectors are from each other, and from themselves on moved pictures."""
    points = {n: _points(d(lfw), np.zeros(2)) for n, d in detectors.items() if "min_face" not in n}
    names = list(points)
    print("\ndistance of landmarks, as a share of the distance of the eyes: mean, 95 %")
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            eyes = np.linalg.norm(points[one][:, 1] - points[one][:, 0], axis=1)
            distance = np.linalg.norm(points[one] - points[other], axis=2) / eyes[:, None]
            print(f"| {one}, {other} | {distance.mean():.3f} | {np.quantile(distance, 0.95):.3f} |")
    print(
        "\nspread if the picture is moved by up to 31 pixels: landmarks, as a share of the distance"
    )
    print("of the eyes; the crop's centre, in % of its side; its size in %; its angle in degrees")
    averaged = yunet.AVERAGED
    for name in names:
        _print_spread(name, detectors[name], lfw)
    yunet.AVERAGED = 0.9999
    _print_spread("yunet, the best cell alone", found.detect, lfw)
    yunet.AVERAGED = averaged


def _print_spread(name: str, detect: Detect, lfw: list[np.ndarray]) -> None:
    rng, target = np.random.default_rng(0), align.template(160)
    rows = []
    for image in lfw:
        moves = rng.integers(0, 32, (SHIFTS, 2))
        moved = [np.pad(image, ((y, 31 - y), (x, 31 - x), (0, 0)), mode="edge") for x, y in moves]
        points = _points(detect(moved), moves)
        eyes = np.linalg.norm(points[:, 1] - points[:, 0], axis=1).mean()
        matrices = align.similarity(points, target)
        centre = matrices[:, :, :2] @ points.mean(axis=(0, 1)) + matrices[:, :, 2]
        sizes = np.sqrt(np.linalg.det(matrices[:, :, :2]))
        angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
        rows.append(
            (
                np.sqrt(points.var(axis=0).sum(axis=1).mean()) / eyes,
                100 * np.sqrt(centre.var(axis=0).sum()) / 160,
                100 * sizes.std() / sizes.mean(),
                angles.std(),
            )
        )
    share, centre, size, angle = np.mean(rows, axis=0)
    print(f"| {name} | {share:.3f} | {centre:.2f} | {size:.2f} | {angle:.2f} |")


def _points(found: Sequence[Faces], moves: np.ndarray) -> np.ndarray:
    """The landmarks (n, 5, 2) of the faces in the middle, in the pixels of pictures not moved."""
    moves = np.broadcast_to(moves, (len(found), 2))
    rows = [
        faces.landmarks[nearest(faces, MIDDLE + np.tile(move, 2))] - move
        for faces, move in zip(found, moves, strict=True)
    ]
    return np.stack(rows)


def _speed(detectors: dict[str, Detect], sets: dict[str, list[np.ndarray]], rounds: int) -> None:
    """Pictures a second, medians of rounds in which all detectors take turns."""
    print(
        "\n| detector | " + " | ".join(sets) + " | share of yunet |\n|" + "---|" * (len(sets) + 2)
    )
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for kind, images in sets.items():
            for name, detect in detectors.items():
                time.sleep(0.5)  # until the threads of the one before have stopped spinning
                started = time.perf_counter()
                detect(images)
                rate = len(images) / (time.perf_counter() - started)
                rates.setdefault((name, kind), []).append(rate)
    for name in detectors:
        cells = [f"{median(rates[name, kind]):.1f}" for kind in sets]
        ratios = [
            median(r / y for r, y in zip(rates[name, k], rates["yunet", k], strict=True))
            for k in sets
        ]
        print(f"| {name} | {' | '.join(cells)} | {', '.join(f'{r:.3f}' for r in ratios)} |")


def _of_package(package: Package, images: Sequence[np.ndarray]) -> list[Faces]:
    """The package takes pictures of one size at a time; its coordinates count from 1."""
    found = []
    for image in images:
        boxes, scores, points = package.detect(image, landmarks=True)
        none = boxes is None
        found.append(
            Faces(
                np.zeros((0, 4)) if none else np.asarray(boxes, np.float64) - 1,
                np.zeros(0) if none else np.asarray(scores, np.float64),
                np.zeros((0, 5, 2)) if none else np.asarray(points, np.float64) - 1,
            )
        )
    return found


def _fddb(kit: Path) -> list[Picture]:
    """The photographs by name, with their boxes, which are in the format of Pascal VOC."""
    with tarfile.open(kit / "fddb" / "fddb.tar") as tar:
        files = {Path(m.name).name: tar.extractfile(m).read() for m in tar if m.isfile()}
    pictures = []
    for name in sorted(name for name in files if name.endswith(".xml")):
        boxes = [
            [
                float(each.findtext(f"bndbox/{edge}", "nan"))
                for edge in ("xmin", "ymin", "xmax", "ymax")
            ]
            for each in ElementTree.fromstring(files[name]).iter("object")
        ]
        image = decode(files[name.replace(".xml", ".jpg")])
        assert not isinstance(image, str)
        pictures.append(Picture(name, image, np.array(boxes).reshape(-1, 4)))
    return pictures


def _lfw(kit: Path) -> list[np.ndarray]:
    with tarfile.open(kit / "lfw" / "lfw-deepfunneled.tgz") as tar:
        some = [member for member in tar if member.isfile()][::30]
        images = [decode(tar.extractfile(member).read()) for member in some]
    return [image for image in images if not isinstance(image, str)]


if __name__ == "__main__":
    main()
