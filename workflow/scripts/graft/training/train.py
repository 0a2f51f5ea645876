"""One training: a mode with a seed, from the parts of a data set to a model file.

A mode differs from another only in where its weights come from and where its frozen prefix ends
(see `config.architectures`).
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from graft.config.architectures import IMAGE, PROBES, trains_transferred
from graft.config.models import HeadStart
from graft.config.stages import TrainSettings
from graft.core.errors import GraftError
from graft.core.files import atomic
from graft.datasets.splits import covering_order, nested_order
from graft.images.packs import Packs, class_counts, open_parts
from graft.images.patch_rows import PatchRows, open_patches
from graft.models import model_file
from graft.models.model_file import ModelDescription, Tensors
from graft.models.network import Network
from graft.training import loop, probes, schedule
from graft.training.batches import Batches
from graft.training.distributed import ALONE, Group
from graft.training.targets import Rows


def train(
    train_parts: Sequence[Path],
    val_parts: Sequence[Path],
    model: Path,
    history: Path,
    *,
    source: Path | None,
    warm_up: Path | None,
    settings: TrainSettings,
    seed: int,
    name: str,
    identity: str,
    on_epoch: loop.OnEpoch = lambda epoch, row: None,
    group: Group = ALONE,
) -> dict[str, Any]:
    """Train one mode with one seed; write the model and its history; return the report.

    The parts are packs if the mode's cut is `image`, else features at that cut. `warm_up` is the
    model whose head this one starts from, or None for a random head. A checkpoint next to the
    model lets a killed run go on from its last epoch. All ranks of a `group` call it alike, and
    the first one writes.
    """
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(settings.device == "cpu")
    cut, on_patches = settings.cut, settings.patches
    rows, val_rows = open_rows(train_parts, settings), open_rows(val_parts, settings)
    if on_patches is not None and isinstance(val_rows, PatchRows):
        val_rows = val_rows.thinned(on_patches.validation)
    if settings.train_size is not None:
        rows = subset(rows, settings.train_size, seed, name)
    check_samples(rows, len(val_rows), name)
    tensors = None if source is None else model_file.load(source)[0]
    # Fine-tuning from the head of a linear probe is LP-FT (Kumar et al. 2022, arXiv:2202.10054).
    head, probe = (None, {"mode": None}) if warm_up is None else model_file.load(warm_up)
    pack = settings.preparation.pack
    side = pack.packed_size if on_patches is None else pack.patch_side
    description = ModelDescription(
        backbone=settings.backbone,
        cut=cut,
        mode=settings.mode,
        head=settings.train.head,
        classes=rows.classes,
        input_size=settings.backbone.transform.size or side,
        preparation=settings.preparation,
        multilabel=rows.labels.ndim == 2,
        on_patches=on_patches is not None,
    )
    plain = settings.backbone.transform if cut == IMAGE else None
    length = Batches(rows, plain, device=settings.device, patches=on_patches).epoch_length(
        settings.train.balance
    )
    updates = loop.updates_of(length, settings.train)
    spec = schedule.resolved(settings.train, updates)

    @functools.cache
    def statistics() -> Tensors:
        """Of the features that a new head on transferred layers sees."""
        if tensors is None or head is not None or not spec.head.standardize:
            return {}
        network = build(description, seed=seed, source=tensors, head=None)
        return loop.standardize(network.to(settings.device), batches(rows), settings.precision)

    def make_network() -> Network:
        network = build(
            description, seed=seed, source=tensors, head=head, start=settings.train.head_start
        )
        network.head.load_state_dict({**network.head.state_dict(), **statistics()})
        return network

    def batches(data: Rows) -> Batches:
        return Batches(
            data, plain, augment=spec.augment, device=settings.device, patches=on_patches
        )

    if settings.mode in PROBES:
        description = replace(description, head=probes.linear(spec.head))
        network = build(description, seed=seed, source=tensors, head=None)
        found = probes.train(
            network,
            batches(rows),
            batches(val_rows),
            settings=settings,
            description=description,
            model=model,
            history=history,
        )
        return {**found, "transfer": transfer(network, tensors, None)}

    fit = loop.fit(
        make_network,
        batches(rows),
        batches(val_rows),
        spec,
        transferred=trains_transferred(settings.mode, settings.backbone.architecture),
        seed=seed,
        precision=settings.precision,
        checkpoint=checkpoint_of(model),
        identity=identity,
        trained_head=head is not None,
        group=group,
        on_epoch=on_epoch,
        after=lambda network: check_frozen(network, tensors),
    )
    network = make_network()
    loop.restore(network, fit.state)
    selected = fit.histories[fit.selected]
    if group.writes:
        model_file.save(model, network.tensors(), description.to_json())
        write_history(history, selected)
    tuning = [describe(fit, number, spec.select) for number in range(len(fit.candidates))]
    chosen = tuning[fit.selected]
    return {
        "mode": settings.mode,
        "cut": cut,
        "classes": rows.classes,
        "samples": {"train": batches(rows).samples, "val": batches(val_rows).samples},
        "transfer": transfer(network, tensors, head),
        "rows_per_epoch": length,
        "epochs": spec.epochs,
        "updates": budget(fit, updates),
        "warm_up": probe["mode"],
        "select": spec.select,
        "best_epoch": chosen["best_epoch"],
        "best_value": chosen["val"],
        "start_value": start_value(selected, spec.select),
        "stopped_early": schedule.is_stopped_early(selected, spec),
        "chosen": {key: chosen[key] for key in ("lr", "transferred_lr_scale")},
        "tuning": tuning,
    }


def write_history(path: Path, rows: list[schedule.Row]) -> None:
    """A table with a row for each epoch."""
    columns = list(rows[-1])  # of an epoch; the start has fewer
    with atomic(path) as temporary:
        pd.DataFrame(rows, columns=columns).to_csv(temporary, index=False, lineterminator="\n")


def open_rows(parts: Sequence[Path], settings: TrainSettings) -> Rows:
    """The samples of some parts: pictures or features, or their patches."""
    if settings.patches is None:
        return open_parts(parts)
    return open_patches(parts)


def subset(rows: Rows, size: int, seed: int, name: str) -> Rows:
    """So many of the rows, the classes in proportion; those of a size are part of every larger one.

    Of rows of any number of classes each class is there, and chance decides the proportions.
    Which ones depends on `seed`, so that the spread over seeds has the choice of labels in it.
    Raises GraftError if there are fewer rows, or more classes.
    """
    if isinstance(rows, PatchRows):
        chosen = subset_rows(rows.pictures, size, seed, name)
        return rows.of_pictures(chosen)
    return rows.subset(subset_rows(rows, size, seed, name))


def subset_rows(rows: Packs, size: int, seed: int, name: str) -> np.ndarray:
    """The rows of `subset`, ascending: int64 (size,)."""
    classes = np.count_nonzero(class_counts(rows.labels, rows.classes))
    if not classes <= size <= len(rows):
        raise GraftError(
            f"{name}: train_sizes has {size}, but there are {len(rows):,} training samples of "
            f"{classes} classes. Choose sizes between these numbers."
        )
    ids = rows.sample_ids.tolist()
    if rows.labels.ndim == 2:
        order = covering_order(rows.labels == 1, ids, seed)
    else:
        order = nested_order(rows.labels.tolist(), ids, seed)
    return np.sort(order[:size])


def build(
    description: ModelDescription,
    *,
    seed: int,
    source: Tensors | None,
    head: Tensors | None,
    start: HeadStart | None = None,
) -> Network:
    """A network ready to train. The random weights depend on the seed alone.

    `source` is None when training from scratch; `head` holds the tensors of the warm-up mode's
    model, or is None to start from a random head, which `start` draws otherwise than torch does.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(
            description.backbone,
            description.cut,
            description.head,
            len(description.classes),
            description.input_size,
            skip_init=source is not None,
        )
        if start is not None:
            draw_head(network, start)
    if source is not None:
        network.backbone.load(source)
    if head is not None:
        network.load_head(head, "the warm-up model")
    return network


def draw_head(network: Network, start: HeadStart) -> None:
    """Draw the weights of a head's linear layers from a Gaussian; their biases are constants."""
    linear = [layer for layer in network.head if isinstance(layer, nn.Linear)]
    for layer in linear:
        nn.init.normal_(layer.weight, std=start.std)
        nn.init.constant_(layer.bias, 0.0 if layer is linear[-1] else start.bias)


def transfer(network: Network, source: Tensors | None, head: Tensors | None) -> dict[str, Any]:
    """The report of what `build` transferred into a network: all of the backbone, or nothing."""
    own = network.backbone.tensors()
    return {
        "imported": 0 if source is None else len(own),
        "of": len(own),
        "not_imported": sorted(own) if source is None else [],
        "frozen_blocks": network.backbone.frozen(network.cut),
        "head": "random" if head is None else "warm-up",
    }


def describe(fit: loop.Fit, number: int, select: str) -> dict[str, Any]:
    """The report of a candidate of the tuning grid: its trials, and how it was trained in full.

    What is not finite is None, which JSON cannot hold, and so is `val` of a trial without a loss.
    """
    candidate, history = fit.candidates[number], fit.histories.get(number, [])
    epoch, metric = schedule.selected_epoch(history, select), f"val_{schedule.metric(select)}"
    return {
        "lr": candidate.lr,
        "transferred_lr_scale": candidate.transferred_lr_scale,
        "trials": [
            {"updates": trial["updates"], **_measured(trial["row"], metric)}
            for trial in fit.trials
            if trial["candidate"] == number
        ],
        "epochs": schedule.epochs_done(history),
        "best_epoch": epoch,
        "val": None if epoch is None else schedule.row_of(history, epoch)[metric],
        "diverged": schedule.diverged(history),
    }


def _measured(row: schedule.Row, metric: str) -> dict[str, float | None]:
    losses = {name: row[name] for name in ("train_loss", "val_loss")}
    value = row[metric] if math.isfinite(row["val_loss"]) else None
    return {"val": value} | {k: v if math.isfinite(v) else None for k, v in losses.items()}


def budget(fit: loop.Fit, updates: int) -> dict[str, int]:
    """How many updates the trials took, and the trainings in full; `updates` are an epoch's."""
    return {
        "trials": sum(trial["updates"] for trial in fit.trials),
        "full": updates * sum(map(schedule.epochs_done, fit.histories.values())),
    }


def start_value(history: list[schedule.Row], select: str) -> float | None:
    """The metric of a start from a trained head; None for other trainings."""
    start = history[0]
    return start[f"val_{schedule.metric(select)}"] if start["epoch"] == 0 else None


def checkpoint_of(model: Path) -> Path:
    """The checkpoint of a training; to be removed when the model has been sealed."""
    return model.with_name(".checkpoint.pt")


def check_samples(rows: Rows, val: int, name: str) -> None:
    """Every class needs a training sample, and validation any; GraftError without."""
    if not val:
        raise GraftError(f"{name}: no validation sample is left. Raise the dataset's split.val.")
    counts = class_counts(rows.labels, rows.classes)
    missing = [name for name, count in zip(rows.classes, counts, strict=True) if not count]
    if missing:
        raise GraftError(
            f"{name}: no training sample is left of {', '.join(missing[:5])}. Give that class more "
            "pictures, or drop it from the data set."
        )


def check_frozen(network: Network, source: Tensors | None) -> None:
    """After training, the frozen prefix equals the source, buffers included; else GraftError."""
    for name, tensor in network.backbone.tensors(network.cut).items():
        given = None if source is None else source.get(name)
        if given is None or not torch.equal(tensor.cpu(), given):
            raise GraftError(
                f"train: the frozen layer {name} differs from its source after training. This is "
                "a defect of Graft: please report it."
            )
