"""The disk space that features take, stated before a run starts: no other results are as large."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

import caching
from graft.config import networks, plan, stages
from graft.config.models import Config
from graft.core import seals, store
from graft.core.errors import GraftError
from graft.core.files import bytes_text

STATED = 10**9
"""Bytes from which on features are worth a line, and a look at the network, which takes seconds."""

PER_PIXEL = 64
"""Values at a cut per pixel of the input, at the most: VGG's first convolutions."""

HALF = 2
"""Bytes of a value: features are float16."""


def check_features(workflow: Any, config: Config, folder: Path) -> None:
    """State what the features take that are to be computed, and what is free where the store is.

    Numbers of pictures are those of `structure`, or else the data set's limits; of a data set that
    has neither they are not known yet, and the stage itself checks before it computes.
    Raises WorkflowError if they do not fit. A store that has entries may have these, so then it is
    a warning.
    """
    lines, total = [], 0
    for (dataset, source, cut), views in _views(workflow, config).items():
        at, patches = plan.read_cut(cut)
        backbone, side = stages.backbone(config, source), config.datasets[dataset].packed_size
        most = views * PER_PIXEL * (backbone.transform.size or side) ** 2 * HALF
        if patches is not None or most < STATED:
            continue
        try:
            values = networks.values(backbone.model_dump_json(), side, at)
        except GraftError:
            continue  # the stage that needs the network says why
        total += (taken := int(views * values * HALF))
        lines.append(f"{dataset} behind {at} of {source}: {bytes_text(taken)}")
    free = shutil.disk_usage(folder if folder.is_dir() else Path("results")).free
    if total < min(STATED, free):
        return
    needed = f"features: {bytes_text(total)} are needed, and {bytes_text(free)} are free"
    listed = "; ".join(sorted(lines))
    if total < free:
        logger.info(f"{needed} ({listed}).")
        return
    sentence = (
        f"{needed} ({listed}). Make room, cut later (`make cuts` has the size of a picture at each "
        "cut), or turn `train.augment.flip` off, which halves them."
    )
    if folder.is_dir() and any(store.entries(folder)):
        logger.warning(f"{sentence} What the store has already takes no room again.")
    else:
        raise WorkflowError(sentence)


def _views(workflow: Any, config: Config) -> Counter[tuple[str, str, str]]:
    """(data set, source, cut) -> how many views of pictures are to be computed, as far as known."""
    found: Counter[tuple[str, str, str]] = Counter()
    parts: Counter[tuple[str, str, str, str]] = Counter()
    for job in workflow.dag.needrun_jobs():
        if caching.stage(job) == "features":
            wild = job.wildcards
            split = wild.part.partition("-")[0]
            parts[wild.dataset, wild.source, wild.cut, split] += 1
    for (dataset, source, cut, split), number in parts.items():
        views = 2 if stages.features(config, dataset, source, cut, split).flip else 1
        found[dataset, source, cut] += number * _rows(config, dataset, split) * views
    return found


def _rows(config: Config, dataset: str, split: str) -> int:
    """How many pictures a part of a split has, about; 0 if that is not known."""
    number = len(plan.parts(config, dataset, split))
    limits = config.datasets[dataset].limit.model_dump()
    try:
        record = seals.read(Path(f"results/data/{dataset}/data_file.seal.json"))
    except GraftError:
        record = {}
    return (record.get("rows", limits).get(split) or 0) // number
