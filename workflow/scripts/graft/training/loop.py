"""Training: one loop for every mode, on what comes after the cut.

A mode differs from another only in the origin of its weights and in the end of its frozen prefix
(see `architectures`). Each candidate of the tuning grid is trained in full; the best one by the
selected metric on the validation rows, at its best or last epoch, is the model (see `schedule`).
A mode that starts from the head of `feature_extraction` is LP-FT: linear probing, then fine-tuning
(Kumar et al. 2022, arXiv:2202.10054).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from graft.config.models import Hyperparameters
from graft.config.stages import TrainSettings
from graft.core.errors import GraftError
from graft.core.files import atomic
from graft.models.network import Network, experts_of, frozen_blocks
from graft.training import sampling, schedule
from graft.training.batches import Batches

EVALUATION_BATCH = 256


@dataclass
class Fit:
    """The result of training: the `state` of the selected epoch, and how it was selected."""

    state: dict[str, torch.Tensor]
    history: pd.DataFrame
    settings: Hyperparameters
    best_epoch: int
    best_value: float
    stopped_early: bool
    candidates: list[dict] = field(default_factory=list)


def build(
    settings: TrainSettings,
    *,
    classes: int,
    input_size: int,
    seed: int,
    source: dict[str, torch.Tensor] | None,
    head: dict[str, torch.Tensor] | None,
) -> tuple[Network, dict]:
    """A network ready to train, and the report of what was transferred into it.

    The random weights depend on the seed alone. `source` is None when training from scratch;
    `head` holds the warm-up mode's tensors, or is None to start from a random head.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(
            settings.backbone.architecture,
            settings.cut,
            settings.train.head,
            classes,
            input_size,
            experts=experts_of(settings.backbone),
            skip_init=source is not None,
        )
    own = network.backbone.tensors()
    imported: list[str] = [] if source is None else network.backbone.load(source)
    if head is not None:
        network.load_head(head, "the warm-up model")
    report = {
        "imported": len(imported),
        "of": len(own),
        "not_imported": sorted(set(own) - set(imported)),
        "frozen_blocks": frozen_blocks(network.backbone, settings.cut),
        "head": "random" if head is None else "warm-up",
    }
    return network, report


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
    on_epoch: Callable[[int, dict], None] = lambda epoch, row: None,
    after: Callable[[Network], None] = lambda network: None,
) -> Fit:
    """Train every candidate of the tuning grid; return the best.

    `checkpoint` is written after each epoch, so that a killed run goes on from there; one of
    another `identity` (of recipe and inputs) is ignored. All randomness follows from the seed,
    the candidate and the epoch, so that a resumed run equals an undisturbed one. `on_epoch` is
    called with the epoch and what was measured, prefixed with the candidate's number, `after`
    with the network of each candidate when it has been trained.
    """
    candidates = schedule.candidates(settings, transferred)
    state = _resume(checkpoint, identity)
    reports, best = state["reports"], state["best"]
    for index in range(len(reports), len(candidates)):
        run = _Candidate(
            make_network(),
            (train, val),
            candidates[index],
            transferred=transferred,
            seed=(seed, index),
            precision=precision,
        )
        if state["run"] is not None:
            run.load_state_dict(state["run"])
            state["run"] = None

        def save(run: _Candidate = run, best: dict | None = best) -> None:
            _save_checkpoint(checkpoint, identity, reports, best, run.state_dict())

        def log(row: dict, index: int = index) -> None:
            on_epoch(row["epoch"], {f"candidate_{index}.{name}": row[name] for name in row})

        run.train(log, save)
        after(run.network)
        reports.append(run.report())
        if run.kept is not None and (best is None or run.kept["rank"] > best["rank"]):
            best = {**run.kept, "candidate": index, "history": run.history}
            best["stopped_early"] = run.stopped_early
    if best is None:
        raise GraftError(
            "the training loss is not finite at any learning rate tried "
            f"({', '.join(str(c.lr) for c in candidates)}); lower train.lr."
        )
    return Fit(
        state=best["state"],
        history=pd.DataFrame(best["history"]),
        settings=candidates[best["candidate"]],
        best_epoch=best["epoch"],
        best_value=best["value"],
        stopped_early=best["stopped_early"],
        candidates=reports,
    )


def check_classes(labels: np.ndarray, classes: list[str], key: str) -> None:
    """Every class needs a training sample; GraftError names those that have none."""
    counts = np.bincount(labels, minlength=len(classes))
    missing = [name for name, count in zip(classes, counts, strict=True) if not count]
    if missing:
        raise GraftError(
            f"{key}: no training sample is left of {', '.join(missing[:5])}. Add pictures of that "
            "class, or drop it from the data set."
        )


@torch.inference_mode()
def logits(network: Network, batches: Batches, precision: str) -> torch.Tensor:
    """float32 (n, classes) logits of all rows, in order, without augmentation."""
    network.eval()
    found = []
    for start in range(0, len(batches), EVALUATION_BATCH):
        inputs, _ = batches.read(np.arange(start, min(start + EVALUATION_BATCH, len(batches))))
        with torch.autocast(batches.device, torch.bfloat16, enabled=precision == "bf16"):
            found.append(network(inputs).float().cpu())
    return torch.cat(found) if found else torch.zeros((0, network.head[-1].out_features))


def scores(found: torch.Tensor, labels: np.ndarray) -> dict[str, float]:
    """Mean cross entropy, accuracy and balanced accuracy of logits (n, classes)."""
    truth = torch.from_numpy(labels)
    right = (found.argmax(1) == truth).numpy()
    per_class = [right[labels == label].mean() for label in np.unique(labels)]
    return {
        "loss": float(functional.cross_entropy(found, truth)),
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean(per_class)),
    }


class _Candidate:
    """One point of the tuning grid, trained from its first epoch to its last."""

    def __init__(
        self,
        network: Network,
        data: tuple[Batches, Batches],
        settings: Hyperparameters,
        *,
        transferred: bool,
        seed: tuple[int, int],
        precision: str,
    ):
        self.train_batches, self.val_batches = data
        self.network = network.to(self.train_batches.device)
        self.settings, self.seed, self.precision = settings, seed, precision
        self.optimizer = _optimizer(network, settings, transferred)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.epoch = 0
        self.history: list[dict] = []
        self.best: dict | None = None  # rank and epoch
        self.kept: dict | None = None  # the epoch that would be the model: with value and state
        self.diverged = False

    @property
    def stopped_early(self) -> bool:
        patience = self.settings.patience
        return (
            patience is not None
            and self.best is not None
            and self.epoch - self.best["epoch"] >= patience
        )

    def train(self, log: Callable[[dict], None], save: Callable[[], None]) -> None:
        epochs = self.settings.epochs
        with tqdm(total=epochs, initial=self.epoch, desc="epochs") as bar:
            while self.epoch < epochs and not self.stopped_early and not self.diverged:
                row = self._epoch()
                bar.update()
                bar.set_postfix(val=f"{row['val_accuracy']:.3f}")
                log(row)
                save()

    def report(self) -> dict:
        return {
            "lr": self.settings.lr,
            "transferred_lr_scale": self.settings.transferred_lr_scale,
            "epochs": self.epoch,
            "best_epoch": self.kept["epoch"] if self.kept else None,
            "val": self.kept["value"] if self.kept else None,
            "diverged": self.diverged,
        }

    def state_dict(self) -> dict:
        return {
            "network": _trainable_state(self.network),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "history": self.history,
            "best": self.best,
            "kept": self.kept,
            "diverged": self.diverged,
        }

    def load_state_dict(self, state: dict) -> None:
        _load_trainable(self.network, state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.history = state["epoch"], state["history"]
        self.best, self.kept = state["best"], state["kept"]
        self.diverged = state["diverged"]

    def _epoch(self) -> dict:
        rng = np.random.default_rng([*self.seed, self.epoch])
        torch.manual_seed(int(rng.integers(2**62)))  # for dropout
        loss, right = self._pass(rng)
        row = {
            "epoch": self.epoch + 1,
            "learning_rate": self.optimizer.param_groups[-1]["lr"],
            "train_loss": loss,
            "train_accuracy": right,
        }
        found = logits(self.network, self.val_batches, self.precision)
        row |= {f"val_{k}": v for k, v in scores(found, self.val_batches.labels).items()}
        self.epoch += 1
        self.diverged = not math.isfinite(loss) or not math.isfinite(row["val_loss"])
        self.history.append(row)
        self._keep(row)
        return row

    def _pass(self, rng: np.random.Generator) -> tuple[float, float]:
        """One epoch's training rows; returns their mean loss and accuracy."""
        self.network.train()
        rows = sampling.epoch_rows(
            self.train_batches.labels, self.settings.balance, seed=self.seed[0], rng=rng
        )
        steps = math.ceil(len(rows) / self.settings.batch_size)
        losses = [row["val_loss"] for row in self.history]
        drops = schedule.plateau_drops(losses, self.settings.schedule.patience)
        total, right = 0.0, 0
        for step, indices in enumerate(np.array_split(rows, steps)):
            done = self.epoch * steps + step
            factor = schedule.learning_rate_factor(self.settings, self.epoch, done, drops)
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * factor
            inputs, labels = self.train_batches.read(indices, rng)
            with torch.autocast(
                self.train_batches.device, torch.bfloat16, enabled=self.precision == "bf16"
            ):
                found = self._forward(inputs)
            loss = functional.cross_entropy(found.float(), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(indices)
            right += int((found.argmax(1) == labels).sum())
        return total / len(rows), right / len(rows)

    def _forward(self, inputs: torch.Tensor) -> torch.Tensor:
        try:
            return self.network(inputs)
        except ValueError as error:  # a batch norm with one value has no variance
            raise GraftError(
                f"train.batch_size: a batch of {len(inputs)} is too small for this network at this "
                f"size ({error}). Raise train.batch_size or the data set's packed_size."
            ) from None

    def _keep(self, row: dict) -> None:
        """Remember the best epoch, and the weights of the one that would be the model."""
        select = self.settings.select
        if self.diverged:
            if select == "last":
                self.kept = None
            return
        rank = schedule.rank(row, select)
        better = self.best is None or rank > self.best["rank"]
        if better:
            self.best = {"rank": rank, "epoch": row["epoch"]}
        if better or select == "last":
            self.kept = {
                "rank": rank,
                "epoch": row["epoch"],
                "value": row[f"val_{schedule.metric(select)}"],
                "state": {
                    k: v.detach().cpu().clone() for k, v in _trainable_state(self.network).items()
                },
            }


def _optimizer(
    network: Network, settings: Hyperparameters, transferred: bool
) -> torch.optim.Optimizer:
    """Two parameter groups: the transferred layers at their scaled rate, and the head.

    Fused optimizers read each weight once: a fourth of the time of an update on a CPU.
    """
    scale = settings.transferred_lr_scale if transferred else 1.0
    layers = network.transferred_parameters()
    groups = [{"params": list(network.head.parameters()), "lr": settings.lr}]
    if layers and scale > 0:
        groups.insert(0, {"params": layers, "lr": settings.lr * scale})
    elif layers:
        network.freeze_suffix()
    spec = settings.optimizer
    decay, momentum = spec.weight_decay, spec.momentum
    match spec.name:
        case "adam":
            return torch.optim.Adam(groups, weight_decay=decay, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(
                groups, alpha=spec.alpha, weight_decay=decay, momentum=momentum
            )
    return torch.optim.SGD(
        groups, momentum=momentum, weight_decay=decay, nesterov=spec.nesterov, fused=True
    )


def _trainable_state(network: Network) -> dict[str, torch.Tensor]:
    """Tensors behind the cut: the suffix with its buffers, and the head."""
    parts: dict[str, nn.Module] = {"suffix": network.suffix, "head": network.head}
    return {
        f"{part}.{name}": tensor
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }


def _load_trainable(network: Network, state: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in _trainable_state(network).items():
            tensor.copy_(state[name])


def restore(network: Network, found: Fit) -> Network:
    """Put the tensors of the epoch that is the model into a network."""
    _load_trainable(network, found.state)
    return network.to("cpu").eval()


def _resume(checkpoint: Path, identity: str) -> dict:
    fresh = {"reports": [], "best": None, "run": None}
    if not checkpoint.exists():
        return fresh
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if state.pop("identity") != identity:
            return fresh
    except Exception:  # a damaged checkpoint costs time, never correctness
        return fresh
    return state


def _save_checkpoint(path: Path, identity: str, reports, best, run) -> None:
    with atomic(path) as temporary:
        torch.save({"identity": identity, "reports": reports, "best": best, "run": run}, temporary)
