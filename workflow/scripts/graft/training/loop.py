"""The training loop, for every mode: it trains what comes after the cut of a network.

From top to bottom: the candidates of the tuning grid, the epochs of a candidate, the updates of
an epoch. Short trials choose among the candidates; which one of those trained in full is the model,
and at which epoch, is decided by the validation rows (see `schedule`).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from graft.config.models import Hyperparameters
from graft.core.errors import GraftError
from graft.core.files import atomic
from graft.models.model_file import Tensors
from graft.models.network import Network, Standardize
from graft.training import schedule
from graft.training.augmentation import ALL
from graft.training.batches import Batches
from graft.training.distributed import ALONE, Group
from graft.training.optimizers import Average, make_optimizer, step
from graft.training.schedule import Row, Trial

EVALUATION_BATCH = 256

OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Fit:
    """A tuned training: the candidates, the trials that left some out, the histories of those that
    were trained in full (by candidate, in order), which one is the model, and its weights."""

    candidates: list[Hyperparameters]
    trials: list[Trial]
    histories: dict[int, list[Row]]
    selected: int
    state: Tensors


class Checkpoint(TypedDict):
    """A training after one of its trials or epochs, with which it can go on."""

    identity: str
    trials: list[Trial]
    histories: dict[int, list[Row]]  # of the candidates so far; the last one is in training
    best: Tensors  # the best candidate's selected epoch, of those that are trained
    kept: Tensors  # the last candidate's selected epoch so far
    weights: Tensors
    average: list[torch.Tensor]
    optimizer: dict


class Learner:
    """A network in training, with its optimizer, its loss and the average of its weights."""

    def __init__(
        self,
        network: Network,
        settings: Hyperparameters,
        train: Batches,
        *,
        transferred: bool,
        precision: str,
        group: Group = ALONE,
    ):
        self.network, self.group = network.to(train.device), group
        self.settings, self.data, self.precision = settings, train, precision
        thawed = transferred and settings.transferred_lr_scale > 0
        self.gradual = settings.unfreeze.every if thawed else None
        if transferred and settings.batch_norm == "frozen":
            self.network.freeze_statistics()
        self.optimizer = make_optimizer(self.network, settings, transferred)
        self.average = Average(self.network, settings.ema)
        self.loss = train.target.loss(settings, train.data, train.device)

    def updates(
        self, pieces: Iterable[tuple[np.ndarray, int, float]], rng: np.random.Generator
    ) -> tuple[float, float]:
        """An update for each of `pieces`: (rows, epoch of the schedule from 0, factor of the base
        rates). The mean loss and the accuracy of these rows.

        The rows are those of all ranks, each of which computes its part of them.
        """
        total, right, seen, current = 0.0, 0.0, 0, -1
        for rows, epoch, factor in pieces:
            if epoch != current:
                self._start(epoch)
                current = epoch
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            inputs, own = self.data.read(rows, rng, self.group.batch(len(rows)))
            outputs = self.group.joined(self._outputs(inputs).float(), len(rows))
            labels = self.group.joined(own, len(rows))
            loss = self.loss(outputs, labels)
            self.group.backward(loss)
            step(self.optimizer, self.settings.optimizer.clip)
            self.average.update()
            total += loss.item() * len(rows)
            right += self.data.target.right(outputs, labels)
            seen += len(rows)
        return total / seen, right / seen

    def _start(self, epoch: int) -> None:
        if self.gradual is not None:
            blocks = len(self.network.trained_blocks)
            self.network.freeze_blocks(max(0, blocks - epoch // self.gradual))
        self.network.train()
        # Made anew in each epoch, also because a resumed training has a new one: with three ranks
        # and more the order of sums follows from what it has seen.
        self.parallel = self.group.parallel(self.network)

    def _outputs(self, inputs: torch.Tensor) -> torch.Tensor:
        enabled = self.precision == "bf16"
        try:
            with (
                torch.autocast(self.data.device, torch.bfloat16, enabled=enabled),
                self.group.whole_batches(),
            ):
                return self.parallel(inputs)
        except ValueError as error:  # a batch norm with one value has no variance
            raise GraftError(
                f"train.batch_size: a batch of {len(inputs)} is too small for this network at this "
                f"size ({error}). Raise it, or the dataset's packed_size."
            ) from None

    def scores(self, val: Batches) -> Row:
        """What the validation rows give, prefixed with `val_`."""
        part = self.group.part(len(val), EVALUATION_BATCH)
        with self.average.applied():
            own = logits(self.network, val, self.precision, part)
        found = val.target.scores(self.group.joined(own, len(val), EVALUATION_BATCH), val.data)
        return {f"val_{name}": value for name, value in found.items()}

    def copied(self) -> Tensors:
        """A copy of the tensors after the cut."""
        with self.average.applied():
            return _copied(self.network)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on as the checkpoint was left."""
        restore(self.network, checkpoint["weights"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.average = Average(self.network, self.settings.ema, checkpoint["average"])


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
    group: Group = ALONE,
    on_epoch: OnEpoch = lambda epoch, row: None,
    after: Callable[[Network], None] = lambda network: None,
) -> Fit:
    """Try the candidates of the tuning grid, and train those that the trials leave in full.

    `checkpoint` is written after each trial and each epoch, so that a killed run can go on; one of
    another `identity` (of recipe and inputs) is ignored. All randomness follows from the seed, the
    candidate and the epoch, so that a resumed run equals an undisturbed one. `on_epoch` is called
    with the epoch and what was measured, prefixed with the candidate's number; `after` with the
    network of each candidate when it has been trained.

    With a `trained_head` the start is measured as epoch 0. It is the model if no epoch is better,
    unless `select` is `last`.

    All ranks of a `group` call it alike and return the same. The first one writes the checkpoint,
    and what it measures is what all decide by.
    """
    candidates = schedule.candidates(settings, transferred)
    state = _read_checkpoint(checkpoint, identity) or Checkpoint(
        identity=identity,
        trials=[],
        histories={},
        best={},
        kept={},
        weights={},
        average=[],
        optimizer={},
    )
    trials, histories = state["trials"], state["histories"]

    def learner(number: int) -> Learner:
        return Learner(
            make_network(),
            candidates[number],
            train,
            transferred=transferred,
            precision=precision,
            group=group,
        )

    while chosen := schedule.next_trial(trials, candidates, val.samples):
        trials.append(group.agreed(_trial(learner(chosen[1]), *chosen, val, seed=seed)))
        _write_checkpoint(checkpoint, state, group)

    survivors = schedule.survivors(trials, candidates, val.samples)
    for number in schedule.order(trials, candidates, val.samples):
        found = schedule.selected_candidate(histories, settings.select) is not None
        if number not in survivors and found:
            break
        candidate, resumed = candidates[number], number in histories
        if resumed and number != list(histories)[-1]:
            continue
        trained = learner(number)
        if resumed:
            trained.restore(state)
        else:
            histories[number], state["kept"] = [], {}
        history = histories[number]
        if trained_head and not history:
            history.append(group.agreed({"epoch": 0, **trained.scores(val)}))
            state["kept"] = trained.copied()

        epochs, done = schedule.epochs_of(candidate), schedule.epochs_done(history)
        with tqdm(total=epochs, initial=done, desc="epochs", disable=not group.writes) as bar:
            while not schedule.is_finished(history, candidate):
                done = schedule.epochs_done(history)
                rng = np.random.default_rng([seed, number, done])
                group.seed_torch(rng)
                loss, accuracy = trained.updates(_epoch(train, candidate, history, seed, rng), rng)
                row = {
                    "epoch": done + 1,
                    "learning_rate": trained.optimizer.param_groups[-1]["lr"],
                    "train_loss": loss,
                    "train_accuracy": accuracy,
                    **trained.scores(val),
                }
                history.append(row := group.agreed(row))
                if schedule.selected_epoch(history, candidate.select) == done + 1:
                    state["kept"] = trained.copied()
                bar.update()
                bar.set_postfix(val=f"{row['val_accuracy']:.3f}")
                on_epoch(done + 1, {f"candidate_{number}.{k}": v for k, v in row.items()})
                state["weights"] = _trained_tensors(trained.network)
                state["average"] = trained.average.values
                state["optimizer"] = trained.optimizer.state_dict()
                _write_checkpoint(checkpoint, state, group)

        after(trained.network)
        if schedule.selected_candidate(histories, settings.select) == number:
            state["best"] = state["kept"]

    selected = schedule.selected_candidate(histories, settings.select)
    if selected is None:
        raise GraftError(
            "train.lr: the training loss is not finite at any learning rate trained in full "
            f"({', '.join(str(candidates[number].lr) for number in histories)}). Lower it."
        )
    return Fit(candidates, trials, histories, selected, state["best"])


def _epoch(
    train: Batches,
    settings: Hyperparameters,
    history: list[Row],
    seed: int,
    rng: np.random.Generator,
) -> Iterator[tuple[np.ndarray, int, float]]:
    """The updates of the epoch after `history`, as `Learner.updates` takes them."""
    rows = train.epoch_rows(settings.balance, seed=seed, rng=rng)
    count, epoch = updates_of(len(rows), settings), schedule.epochs_done(history)
    drops = schedule.plateau_drops(schedule.losses(history), settings.schedule.patience)
    for number, piece in enumerate(np.array_split(rows, count)):
        at = epoch * count + number
        yield piece, epoch, schedule.learning_rate_factor(settings, epoch, at, count, drops)


def updates_of(rows: int, settings: Hyperparameters) -> int:
    """How many updates an epoch of so many rows has."""
    return math.ceil(rows / settings.batch_size)


def _trial(learner: Learner, number: int, candidate: int, val: Batches, *, seed: int) -> Trial:
    """A trial of a round. All candidates see the same rows in the same order."""
    settings, data = learner.settings, learner.data
    count = updates_of(data.epoch_length(settings.balance), settings)
    length = schedule.trial_updates(settings, number, count)
    stream = np.random.SeedSequence(seed, spawn_key=(1, number))
    rng = np.random.default_rng(stream)
    learner.group.seed_torch(rng)

    def pieces() -> Iterator[np.ndarray]:
        while True:
            rows = data.epoch_rows(settings.balance, seed=seed, rng=rng)
            yield from np.array_split(rows, count)

    factors = schedule.trial_factors(settings, length, count)
    # The average spans the same share of a trial as of a training in full.
    learner.average.decay **= schedule.epochs_of(settings) * count / length
    loss, _ = learner.updates(
        ((piece, *at) for at, piece in zip(factors, pieces(), strict=False)), rng
    )
    row = {"train_loss": loss, **learner.scores(val)}
    return Trial(round=number, candidate=candidate, updates=length, row=row)


@torch.inference_mode()
def logits(network: Network, batches: Batches, precision: str, part: slice = ALL) -> torch.Tensor:
    """float32 (n, classes) logits of all rows, or a part, in order, without augmentation."""
    none = torch.zeros((0, network.classes))
    first = part.start or 0
    found = outputs(network, network, batches, precision, first=first, last=part.stop)
    return torch.cat([none, *found])


@torch.inference_mode()
def standardize(network: Network, batches: Batches, precision: str) -> Tensors:
    """The head's tensors `standardize.*`, fit to the features of all rows."""
    layer = network.head.get_submodule("standardize")
    assert isinstance(layer, Standardize)
    layer.fit(outputs(network, network.suffix, batches, precision))
    return {f"standardize.{name}": value.cpu() for name, value in layer.state_dict().items()}


def outputs(
    network: Network,
    part: nn.Module,
    batches: Batches,
    precision: str,
    *,
    first: int = 0,
    last: int | None = None,
) -> Iterator[torch.Tensor]:
    """float32 outputs of a part of a network in evaluation mode, of the rows from `first` to before
    `last`, in order, not augmented."""
    network.eval()
    end = len(batches) if last is None else last
    for start in range(first, end, EVALUATION_BATCH):
        inputs, _ = batches.read(np.arange(start, min(start + EVALUATION_BATCH, end)))
        with torch.autocast(batches.device, torch.bfloat16, enabled=precision == "bf16"):
            found = part(inputs)
        yield found.float().cpu()


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


def _write_checkpoint(path: Path, state: Checkpoint, group: Group) -> None:
    if not group.writes:
        return
    # Through a file object, whose errors say that the disk is full.
    with atomic(path) as temporary, open(temporary, "wb") as file:
        torch.save(state, file)


def _read_checkpoint(path: Path, identity: str) -> Checkpoint | None:
    if not path.exists():
        return None
    try:
        state: Checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return state if state["identity"] == identity else None
    except Exception:  # a damaged checkpoint costs time, never correctness
        return None
