"""Time and peak memory of every stage by the number of samples, read from the seals of real runs.

    make bench-scale                                   # or python benchmarks/scale.py --help
    python benchmarks/scale.py --sizes 1000 --record scale.json     # one size at a time

For each size the whole workflow runs in a new folder with an empty store on drawn pictures: JPEG
files of 64 pixels, in a tar with a folder for each of ten classes, packed at 32 pixels, in parts of
`--part` pictures at the most. `vgg_mini` trains on them for one epoch, and its features are the
source of a second experiment with one epoch of a new head. `seconds` are those of the jobs, summed,
without their starts; `rise` is what 1000 samples more take, from the last two sizes; memory is the
largest peak of a stage's jobs, and its rise is in bytes a sample.

`--faces` runs the stage crop on so many drawn people with the default detector instead.
"""

import argparse
import io
import json
import math
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

import machine  # noqa: E402
from projects import project_in  # noqa: E402

from graft.core import seals  # noqa: E402
from graft.core.files import sha256  # noqa: E402

SIDE, CLASSES = 64, 10
SPLIT = {"train": 0.8, "val": 0.1, "test": 0.1}
Stages = dict[str, dict[str, float]]
"""Stage -> jobs, seconds, memory (MB, the largest) and disk (bytes)."""


def draw(path: Path, count: int) -> None:
    """A tar of `count` pictures: coarse noise, of which no two are alike, tinted by class."""
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            rng = np.random.default_rng(number)
            coarse = rng.integers(0, 200, (8, 8, 3), dtype=np.uint8)
            coarse[..., number % 3] += np.uint8(5 * (number % CLASSES))
            picture = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
            data = cv2.imencode(".jpg", picture)[1].tobytes()
            info = tarfile.TarInfo(f"drawn/class{number % CLASSES}/{number:09d}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def overlay(archive: Path, count: int, part: int) -> dict[str, Any]:
    """A config of two experiments on the drawn pictures."""
    train = {"epochs": 1, "patience": None, "lr": 0.001, "tune": {}, "augment": {"flip": False}}
    common = {"dataset": "drawn", "seeds": [0], "train_sizes": ["all"], "train": train}
    shards = {split: math.ceil(share * count / part) for split, share in SPLIT.items()}
    return {
        "run": ["scratch", "transfer"],
        "compute": {"device": "cpu", "reproducible": "fast"},
        "datasets": {
            "drawn": {
                "layout": "folder",
                "label": "class",
                "files": {"drawn.tar": {"url": [str(archive)], "sha256": sha256(archive)}},
                "crop": "whole",
                "crop_size": SIDE,
                "packed_size": 32,
                "split": SPLIT,
                "shards": shards,
            }
        },
        "sources": {
            "drawn": {
                "architecture": "vgg_mini",
                "weights": {"experiment": "scratch", "mode": "from_scratch", "seed": 0},
                "transform": {"mean": [0.5] * 3, "std": [0.25] * 3},
            }
        },
        "experiments": {
            "scratch": {**common, "source": "vgg_mini", "modes": ["from_scratch"]},
            "transfer": {**common, "source": "drawn", "modes": ["feature_extraction"]},
        },
    }


def faces(people: int) -> dict[str, Any]:
    render = {"kind": "wiki", "people": people, "seed": 1}
    return {"datasets": {"portraits": {"files": {"wiki_crop.tar": {"render": render}}}}}


def run(project: Path, config: dict[str, Any], *targets: str) -> Stages:
    """Run the workflow and read what its jobs took."""
    (project / "scale.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *targets, "--cores", str(os.cpu_count())]
        + ["--configfile", "scale.yaml"],
        cwd=project,
        env={**os.environ, "SNAKEMAKE_OUTPUT_CACHE": str(project / ".store")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout[-6000:])
    stages = measured(project / "results")
    stages["all"] = {"seconds": time.perf_counter() - started}
    return stages


def measured(results: Path) -> Stages:
    stages: Stages = defaultdict(lambda: dict.fromkeys(("jobs", "seconds", "memory", "disk"), 0))
    for path in filter(seals.is_seal, results.rglob("*.json")):
        record = seals.read(path)["seal"]
        stage = stages[record["stage"]]
        stage["jobs"] += 1
        stage["seconds"] += record["run"]["seconds"]
        stage["memory"] = max(stage["memory"], record["run"]["peak_memory_mb"])
        stage["disk"] += sum(output["size"] for output in record["outputs"].values())
    return dict(stages)


def table(found: dict[int, Stages]) -> list[str]:
    """Of each stage its jobs, seconds and memory at every size, and how the last two differ."""
    sizes = sorted(found)
    shown = " | ".join(f"{size:,}" for size in sizes)
    lines = [
        f"| stage | jobs | seconds at {shown} | rise, s per 1000 "
        f"| MB at {shown} | rise, bytes | disk, bytes |",
        "|" + "---|" * (4 + 2 * len(sizes) + 1),
    ]
    for stage in [name for name in found[sizes[-1]] if name != "all"]:
        rows = [found[size].get(stage) for size in sizes]
        last, before, span = rows[-1], rows[-2] if rows[1:] else None, 0
        cells = [stage, f"{last['jobs']:.0f}"]
        cells += [f"{row['seconds']:.1f}" if row else "" for row in rows]
        if before:
            span = sizes[-1] - sizes[-2]
            cells.append(f"{1000 * (last['seconds'] - before['seconds']) / span:.3g}")
        else:
            cells.append("")
        cells += [f"{row['memory']:.0f}" if row else "" for row in rows]
        cells.append(f"{2**20 * (last['memory'] - before['memory']) / span:,.0f}" if before else "")
        cells.append(f"{last['disk'] / sizes[-1]:,.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    whole = ", ".join(f"{found[size]['all']['seconds']:.0f} s of {size:,}" for size in sizes)
    return [*lines, f"The whole runs: {whole}."]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--part", type=int, default=10_000)
    parser.add_argument("--faces", type=int, metavar="PEOPLE")
    parser.add_argument("--record", type=Path, help="a JSON file that keeps what was measured")
    parser.add_argument("--targets", nargs="*", default=[], help="of snakemake; all by default")
    arguments = parser.parse_args()
    print(machine.heading(f"parts of at most {arguments.part:,} pictures"), flush=True)
    with tempfile.TemporaryDirectory(prefix="graft-scale-") as folder:
        if arguments.faces:
            project = project_in(Path(folder) / "faces")
            stages = run(project, faces(arguments.faces), "results/data/portraits/crops/test-00.h5")
            rows = json.loads(Path(project / CROPS).read_text(encoding="utf-8"))["rows"]
            crop = stages["crop"]
            each = 1000 * crop["seconds"] / rows
            print(f"{rows} pictures: {each:.1f} ms each, peak {crop['memory']} MB")
            return
        record = arguments.record
        known = json.loads(record.read_text()) if record and record.exists() else {}
        found: dict[int, Stages] = {int(size): stages for size, stages in known.items()}
        for size in arguments.sizes:
            project = project_in(Path(folder) / str(size))
            draw(project / "drawn.tar", size)
            config = overlay(project / "drawn.tar", size, arguments.part)
            found[size] = run(project, config, *arguments.targets)
            shutil.rmtree(project)
            if record:
                record.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print("\n".join([*table(found), machine.load()]))


CROPS = "results/data/portraits/crops/test-00.seal.json"

if __name__ == "__main__":
    main()
