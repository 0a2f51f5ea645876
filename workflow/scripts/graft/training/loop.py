"""The training loop, for every mode: it trains what comes after the cut of a network.

From top to bottom: the candidates of the tuning grid, the epochs of a candidate, the updates of
an epoch. Each candidate is trained in full; which one is the model, and at which epoch, is decided
by the validation rows (see `schedule`).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from graft.config.models import Hyperparameters, Optimizer
from graft.core.errors import GraftError
from graft.core.files import atomic
from graft.models.model_file import Tensors
from graft.models.network import Network, Standardize
from graft.training import sampling, schedule
from graft.training.batches import Batches
from graft.training.schedule import Row

EVALUATION_BATCH = 256

OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Fit:
    """The trained candidates: settings and history of each, which one is the model, its weights."""

    candidates: list[Hyperparameters]
    histories: list[list[Row]]
    selected: int
    state: Tensors


class Checkpoint(TypedDict):
    """A training after one of its epochs, with which it can go on."""

    identity: str
    histories: list[list[Row]]  # of the candidates so far; the last one is in training
    best: Tensors  # the best candidate's selected epoch, of those that are trained
    kept: Tensors  # the last candidate's selected epoch so far
    weights: Tensors
    optimizer: dict


def fit(
    make_network: Callable[[], Network],
    train: Batches,
    val: Batches,
    settings: Hyperparameters,
    *,
    transferred: bool,
    seed: int,
    precision: str,
    checkpoint: Path,
    identity: str,
    trained_head: bool = False,
    on_epoch: OnEpoch = lambda epoch, row: None,
    after: Callable[[Network], None] = lambda network: None,
) -> Fit:
    """Train every candidate of the tuning grid.

    `checkpoint` is written after each epoch, so that a killed run can go on; one of another
    `identity` (of recipe and inputs) is ignored. All randomness follows from the seed, the
    candidate and the epoch, so that a resumed run equals an undisturbed one. `on_epoch` is called
    with the epoch and what was measured, prefixed with the candidate's number; `after` with the
    network of each candidate when it has been trained.

    With a `trained_head` the start is measured as epoch 0, which is the model if no epoch is
    better, unless `select` is `last`.
    """
    candidates = schedule.candidates(settings, transferred)
    resumed = _read_checkpoint(checkpoint, identity)
    histories: list[list[Row]] = resumed["histories"] if resumed else []
    best: Tensors = resumed["best"] if resumed else {}

    for number in range(max(len(histories) - 1, 0), len(candidates)):
        candidate, kept = candidates[number], {}
        network = make_network().to(train.device)
        optimizer = make_optimizer(network, candidate, transferred)
        if resumed:
            restore(network, resumed["weights"])
            optimizer.load_state_dict(resumed["optimizer"])
            kept, resumed = resumed["kept"], None
        else:
            histories.append([])
        history = histories[number]
        if trained_head and not history and candidate.select != "last":
            start = scores(logits(network, val, precision), val.labels)
            history.append({"epoch": 0} | {f"val_{name}": value for name, value in start.items()})
            kept = _copied(network)

        done = schedule.epochs_done(history)
        with tqdm(total=candidate.epochs, initial=done, desc="epochs") as bar:
            while not schedule.is_finished(history, candidate):
                done = schedule.epochs_done(history)
                rng = np.random.default_rng([seed, number, done])
                torch.manual_seed(int(rng.integers(2**62)))  # for dropout
                rows = sampling.epoch_rows(train.labels, candidate.balance, seed=seed, rng=rng)
                loss, accuracy = _train_epoch(
                    network,
                    optimizer,
                    train,
                    settings=candidate,
                    history=history,
                    rows=rows,
                    rng=rng,
                    precision=precision,
                )
                row = {
                    "epoch": done + 1,
                    "learning_rate": optimizer.param_groups[-1]["lr"],
                    "train_loss": loss,
                    "train_accuracy": accuracy,
                }
                val_scores = scores(logits(network, val, precision), val.labels)
                row |= {f"val_{name}": value for name, value in val_scores.items()}
                history.append(row)
                if schedule.selected_epoch(history, candidate.select) == done + 1:
                    kept = _copied(network)
                bar.update()
                bar.set_postfix(val=f"{row['val_accuracy']:.3f}")
                on_epoch(done + 1, {f"candidate_{number}.{k}": v for k, v in row.items()})
                state = Checkpoint(
                    identity=identity,
                    histories=histories,
                    best=best,
                    kept=kept,
                    weights=_trained_tensors(network),
                    optimizer=optimizer.state_dict(),
                )
                # Through a file object, whose errors say that the disk is full.
                with atomic(checkpoint) as temporary, open(temporary, "wb") as file:
                    torch.save(state, file)

        after(network)
        if schedule.selected_candidate(histories, settings.select) == number:
            best = kept

    selected = schedule.selected_candidate(histories, settings.select)
    if selected is None:
        raise GraftError(
            "train.lr: the training loss is not finite at any learning rate tried "
            f"({', '.join(str(candidate.lr) for candidate in candidates)}). Lower it."
        )
    return Fit(candidates, histories, selected, best)


def _train_epoch(
    network: Network,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    *,
    settings: Hyperparameters,
    history: list[Row],
    rows: np.ndarray,
    rng: np.random.Generator,
    precision: str,
) -> tuple[float, float]:
    """The updates of an epoch after `history`; the mean loss and the accuracy of its rows."""
    network.train()
    updates, epoch = math.ceil(len(rows) / settings.batch_size), schedule.epochs_done(history)
    drops = schedule.plateau_drops(schedule.losses(history), settings.schedule.patience)
    total, right = 0.0, 0
    for number, indices in enumerate(np.array_split(rows, updates)):
        factor = schedule.learning_rate_factor(
            settings, epoch, epoch * updates + number, updates, drops
        )
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        inputs, labels = batches.read(indices, rng)
        try:
            with torch.autocast(batches.device, torch.bfloat16, enabled=precision == "bf16"):
                outputs = network(inputs)
        except ValueError as error:  # a batch norm with one value has no variance
            raise GraftError(
                f"train.batch_size: a batch of {len(inputs)} is too small for this network at this "
                f"size ({error}). Raise it, or the dataset's packed_size."
            ) from None
        loss = functional.cross_entropy(outputs.float(), labels)
        loss.backward()
        step(optimizer, settings.optimizer.clip)
        total += loss.item() * len(indices)
        right += int((outputs.argmax(1) == labels).sum())
    return total / len(rows), right / len(rows)


def step(optimizer: torch.optim.Optimizer, clip: float) -> None:
    """An update by gradients whose norm is at most `clip` (> 0; Pascanu et al. 2013)."""
    if clip:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
    optimizer.zero_grad()


@torch.inference_mode()
def logits(network: Network, batches: Batches, precision: str) -> torch.Tensor:
    """float32 (n, classes) logits of all rows, in order, without augmentation."""
    outputs = [torch.zeros((0, network.classes))]
    return torch.cat([*outputs, *_outputs(network, network, batches, precision)])


@torch.inference_mode()
def standardize(network: Network, batches: Batches, precision: str) -> Tensors:
    """The head's tensors `standardize.*`, fit to the features of all rows."""
    layer = network.head.get_submodule("standardize")
    assert isinstance(layer, Standardize)
    layer.fit(_outputs(network, network.suffix, batches, precision))
    return {f"standardize.{name}": value.cpu() for name, value in layer.state_dict().items()}


def _outputs(
    network: Network, part: nn.Module, batches: Batches, precision: str
) -> Iterator[torch.Tensor]:
    """float32 outputs of a part of a network in evaluation mode, in order, not augmented."""
    network.eval()
    for start in range(0, len(batches), EVALUATION_BATCH):
        inputs, _ = batches.read(np.arange(start, min(start + EVALUATION_BATCH, len(batches))))
        with torch.autocast(batches.device, torch.bfloat16, enabled=precision == "bf16"):
            outputs = part(inputs)
        yield outputs.float().cpu()


def scores(outputs: torch.Tensor, labels: np.ndarray) -> dict[str, float]:
    """Mean cross entropy, accuracy and balanced accuracy of logits (n, classes)."""
    truth = torch.from_numpy(labels)
    right = (outputs.argmax(1) == truth).numpy()
    per_class = [right[labels == label].mean() for label in np.unique(labels)]
    return {
        "loss": float(functional.cross_entropy(outputs, truth)),
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean(per_class)),
    }


def make_optimizer(
    network: Network, settings: Hyperparameters, transferred: bool
) -> torch.optim.Optimizer:
    """The optimizer of the transferred layers, at their scaled rate, and of the head.

    A scale of 0 freezes the transferred layers. Fused optimizers read each weight once: a fourth
    of the time of an update on a CPU.
    """
    scale = settings.transferred_lr_scale if transferred else 1.0
    spec = settings.optimizer
    if scale == 0:
        network.freeze_suffix()
    groups = []
    for part, rate in ((network.suffix, settings.lr * scale), (network.head, settings.lr)):
        for parameters, decay in _by_decay(part, spec):
            group = {"params": parameters, "lr": rate, "initial_lr": rate, "weight_decay": decay}
            if parameters and rate > 0:
                groups.append(group)
    match spec.name:
        case "adamw":
            return torch.optim.AdamW(groups, fused=True)
        case "adam":
            return torch.optim.Adam(groups, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(groups, alpha=spec.alpha, momentum=spec.momentum)
    return torch.optim.SGD(groups, momentum=spec.momentum, nesterov=spec.nesterov, fused=True)


def _by_decay(part: nn.Module, spec: Optimizer) -> list[tuple[list[nn.Parameter], float]]:
    """Parameters with their weight decay: with AdamW that of biases and normalisation is 0."""
    parameters = list(part.parameters())
    if spec.name != "adamw":
        return [(parameters, spec.weight_decay)]
    return [
        ([p for p in parameters if p.ndim <= 1], 0.0),
        ([p for p in parameters if p.ndim > 1], spec.weight_decay),
    ]


def _trained_tensors(network: Network) -> Tensors:
    """Tensors after the cut, not copied: the suffix with its buffers, and the head."""
    parts: dict[str, nn.Module] = {"suffix": network.suffix, "head": network.head}
    return {
        f"{part}.{name}": tensor
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }


def _copied(network: Network) -> Tensors:
    return {name: tensor.cpu().clone() for name, tensor in _trained_tensors(network).items()}


def restore(network: Network, state: Tensors) -> None:
    """Copy the tensors after the cut back into a network, such as those of a `Fit`."""
    with torch.no_grad():
        for name, tensor in _trained_tensors(network).items():
            tensor.copy_(state[name])


def _read_checkpoint(path: Path, identity: str) -> Checkpoint | None:
    if not path.exists():
        return None
    try:
        state: Checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return state if state["identity"] == identity else None
    except Exception:  # a damaged checkpoint costs time, never correctness
        return None
