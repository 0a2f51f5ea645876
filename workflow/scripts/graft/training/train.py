"""One training: a mode with a seed, from the parts of a data set to a model file."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from graft.config.architectures import IMAGE, POOLS, is_transferred
from graft.config.stages import TrainSettings
from graft.core.errors import GraftError
from graft.core.files import JsonValue, atomic
from graft.images.packs import open_parts
from graft.models import model_file
from graft.models.network import Network, experts_of, frozen_blocks
from graft.models.transforms import Transform
from graft.training import loop, sampling
from graft.training.batches import Batches


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
    on_epoch: Callable[[int, dict], None] = lambda epoch, row: None,
) -> dict:
    """Train one mode with one seed; write the model and its history; return how it was found.

    The parts are packs if the mode's cut is `image`, else features at that cut. `warm_up` is the
    model whose head this one starts from, or None for a random head. A checkpoint beside the
    model lets a killed run go on from its last epoch.
    """
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(settings.device == "cpu")
    spec, cut = settings.train, settings.cut
    transform = Transform.from_dict(settings.backbone.transform.model_dump(mode="json"))
    rows, val_rows = open_parts(train_parts), open_parts(val_parts)
    if not len(val_rows):
        raise GraftError(f"{name}: no validation sample is left. Raise the data set's split.val.")
    loop.check_classes(rows.labels, rows.classes, name)
    tensors = None if source is None else model_file.load(source)[0]
    head, first = (None, {"mode": None}) if warm_up is None else model_file.load(warm_up)
    input_size = transform.size or settings.preparation.pack.packed_size
    reports: list[dict] = []

    def make_network() -> Network:
        network, report = loop.build(
            settings,
            classes=len(rows.classes),
            input_size=input_size,
            seed=seed,
            source=tensors,
            head=head,
        )
        reports.append(report)
        return network

    def batches(data) -> Batches:
        return Batches(
            data,
            transform if cut == IMAGE else None,
            flip=spec.augment.flip,
            shift=spec.augment.shift if cut == IMAGE else 0.0,
            device=settings.device,
        )

    checkpoint = checkpoint_of(model)
    found = loop.fit(
        make_network,
        batches(rows),
        batches(val_rows),
        spec,
        transferred=is_transferred(settings.mode) and cut not in POOLS,
        seed=seed,
        precision=settings.precision,
        checkpoint=checkpoint,
        identity=identity,
        on_epoch=on_epoch,
        after=lambda network: check_frozen(network, tensors),
    )
    network = loop.restore(make_network(), found)
    description = describe(settings, rows.classes, input_size)
    model_file.save(model, network.tensors(), description)
    with atomic(history) as temporary:
        found.history.to_csv(temporary, index=False, lineterminator="\n")
    return {
        "mode": settings.mode,
        "cut": cut,
        "classes": rows.classes,
        "samples": {"train": len(rows), "val": len(val_rows)},
        "transfer": reports[-1],
        "rows_per_epoch": sampling.epoch_length(rows.labels, spec.balance),
        "warm_up": first["mode"],
        "select": spec.select,
        "best_epoch": found.best_epoch,
        "best_value": found.best_value,
        "stopped_early": found.stopped_early,
        "chosen": {
            "lr": found.settings.lr,
            "transferred_lr_scale": found.settings.transferred_lr_scale,
        },
        "tuning": found.candidates,
    }


def describe(
    settings: TrainSettings, classes: Sequence[str], input_size: int
) -> dict[str, JsonValue]:
    """The header of a model file: what it takes to build the network and to prepare its input.

    Its keys are those of the file format: `image_size` is the side that the network receives, and
    `preparation.image_size` that of packed pictures.
    """
    crop, pack = settings.preparation.crop, settings.preparation.pack
    preparation = crop.model_dump(mode="json", exclude_none=True, exclude={"crop_size"})
    preparation |= pack.model_dump(mode="json", exclude={"packed_size"})
    experts = experts_of(settings.backbone)
    return {
        "architecture": settings.backbone.architecture,
        **({} if experts is None else {"experts": experts}),
        "cut": settings.cut,
        "mode": settings.mode,
        "head": settings.train.head.model_dump(mode="json"),
        "classes": list(classes),
        "image_size": input_size,
        "transform": settings.backbone.transform.model_dump(mode="json"),
        "preparation": {**preparation, "size": crop.crop_size, "image_size": pack.packed_size},
    }


def checkpoint_of(model: Path) -> Path:
    """Where training keeps its place; to be removed when the model has been sealed."""
    return model.with_name(".checkpoint.pt")


def check_frozen(network: Network, source: dict[str, torch.Tensor] | None) -> None:
    """After training, the frozen prefix equals the source, buffers included; else GraftError."""
    frozen = frozen_blocks(network.backbone, network.cut)
    for name, tensor in network.backbone.tensors(frozen).items():
        given = None if source is None else source.get(name)
        if given is None or not torch.equal(tensor.cpu(), given):
            raise GraftError(
                f"the frozen layer {name} differs from its source after training; this is a "
                "defect of Graft, please report it."
            )
