"""Recipes are sound: whatever code of ours a stage executes is in what the stage reaches.

The tiny workflow is run by the real command with every job watched (see conftest), and then with
more beside it. A job is held to the entries of registries that its own settings choose.
"""

import ast
import copy
import functools
import hashlib
import json
from collections import defaultdict
from pathlib import Path

import pytest
from builders import make_tar, voc_xml
from conftest import ROOT

from graft.config import reports, stages
from graft.config.entries import entries
from graft.core.code import IMPORTED, Code

pytestmark = pytest.mark.workflow

FILES = {
    "digits-images-idx3-ubyte.gz": {"render": {"kind": "digits"}},
    "digits-labels-idx1-ubyte.gz": {"render": {"kind": "digits"}},
}
MORE = {
    "datasets": {
        "digits": {
            "layout": "mnist",
            "files": FILES,
            "label": "digit",
            "crop": "whole",
            "packed_size": 32,
            "limit": {"train": 40, "val": 20, "test": 20},
        },
        "objects": {
            "layout": "voc2007",
            "files": {"voc.tar": {"url": ["voc.tar"]}},
            "label": "objects",
            "crop": "patches",
            "packed_size": 32,
            "patches": {"scales": [1, 2]},
        },
    },
    "experiments": {
        "few": {
            "dataset": "digits",
            "source": "portraits_identity",
            "modes": ["freeze_conv2_1"],
            "train": {"epochs": 1, "warm_up": False},
        },
        "seen": {
            "dataset": "objects",
            "source": "portraits_identity",
            "modes": ["feature_extraction"],
            "patches": {"per_picture": 8, "features": "dense"},
            "train": {"epochs": 1, "lr": 0.01},
        },
    },
    "run": ["few", "seen"],
    "predict": {"pictures": "photos", "experiment": "few", "mode": "freeze_conv2_1"},
}
"""Beside the tiny default: other layouts, patches, a cut within a block, predictions, an export."""
FEW = "results/experiments/few/freeze_conv2_1/0"
SEEN = "results/experiments/seen/feature_extraction/0"


def write_kit(path):
    """Pictures of cats and dogs as Pascal VOC is published; returns the file's digest."""
    files = {}
    for split, numbers in {"train": range(6), "val": range(6, 8), "test": range(8, 10)}.items():
        files[f"ImageSets/Main/{split}.txt"] = "".join(f"{n}\n" for n in numbers).encode()
        for n in numbers:
            pixels = bytes((n * k) % 256 for k in range(256))
            files[f"Annotations/{n}.xml"] = voc_xml((("cat", "dog")[n % 2], (1, 1, 9 + n, 9)))
            files[f"JPEGImages/{n}.pgm"] = b"P5 16 16 255\n" + pixels
    return hashlib.sha256(make_tar(path, files).read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def jobs(done, tmp_path_factory) -> dict[str, list[dict]]:
    """stage -> its jobs: `settings`, and (module's file, line, name) of what they `called`."""
    project = done.copy(tmp_path_factory.mktemp("soundness") / "project")
    overlay = project.folder / "more.yaml"
    digest = write_kit(project.folder / "voc.tar")
    more = copy.deepcopy(MORE)
    more["datasets"]["objects"]["files"]["voc.tar"]["sha256"] = digest
    overlay.write_text(json.dumps(more))
    project.overlays.append(overlay)
    (project.folder / "photos").mkdir()
    (project.folder / "photos/grey.pgm").write_bytes(b"P5 16 16 255\n" + bytes(range(256)))
    targets = (f"{FEW}/metrics.json", f"{FEW}/model.onnx", "predict", f"{SEEN}/heat_maps.svg")
    project.snakemake(*targets, environment=done.watch)
    jobs: dict[str, list[dict]] = defaultdict(list)
    for path in Path(done.watch["GRAFT_WATCH"]).glob("*.json"):
        jobs[path.name.split(".")[0]].append(json.loads(path.read_text()))
    return jobs


@functools.cache
def statements(path: Path) -> list[ast.stmt]:
    return ast.parse(path.read_text(encoding="utf-8")).body


@functools.cache
def definition_at(path: Path, line: int) -> str:
    """The name of the module-level definition that a line belongs to."""
    for node in statements(path):
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        if first <= line <= (node.end_lineno or first):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                return node.name
            targets = (
                node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            )
            names = [t.id for t in targets if isinstance(t, ast.Name)]
            return names[0] if names else IMPORTED
    return IMPORTED


STAGES = {
    "download": stages.DownloadSettings,
    "structure": stages.StructureSettings,
    "regions": stages.RegionsSettings,
    "crop": stages.CropSettings,
    "pack": stages.PackSettings,
    "weights": stages.WeightsSettings,
    "features": stages.FeaturesSettings,
    "train": stages.TrainSettings,
    "evaluate": stages.EvaluateSettings,
    "heat_maps": reports.HeatMapsSettings,
    "compare": stages.CompareSettings,
    "plots": reports.PlotsSettings,
    "overview": reports.OverviewSettings,
    "report": reports.ReportSettings,
    "track": reports.TrackSettings,
    "predict": stages.PredictSettings,
    "export": stages.ExportSettings,
}


@pytest.fixture(scope="module")
def code() -> Code:
    return Code.read(ROOT / "workflow" / "scripts")


@pytest.mark.parametrize("stage", STAGES)
def test_every_function_that_a_job_executes_is_in_what_its_stage_reaches(jobs, code, stage):
    scripts = ROOT / "workflow" / "scripts"
    missing = set()
    for job in jobs[stage]:
        chosen = frozenset(entries(STAGES[stage].model_validate(job["settings"])))
        reach = code.reach(stage, chosen)
        library = 0
        for file, line, _ in job["called"]:
            name = definition_at(scripts / file, line)
            module = ".".join(Path(file).with_suffix("").parts)
            library += module.startswith("graft.")
            if (module, name) not in reach.parents:
                missing.add(f"{module}.{name}")
        assert library > 5, "nothing was recorded"
    assert jobs[stage] and missing == set()
