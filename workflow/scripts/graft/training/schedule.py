"""The schedule: learning rates, candidates, and which epoch of which candidate is the model.

All of it follows from the settings and the history, a list with a row for each epoch (see
`loop.fit`). No torch in here: the report uses it too.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

from graft.config.models import Hyperparameters
from graft.config.plan import SGD_FACTOR

Row = Mapping[str, float]
"""An epoch's `epoch` (from 1), `learning_rate`, `train_loss`, `train_accuracy`, and of the
validation rows `val_loss`, `val_accuracy` and `val_balanced_accuracy`. A training that starts
from a trained head has a row with epoch 0: what the validation rows give at its start."""

PLATEAU_LEAST = 1e-4
"""By how much a loss must fall to count as improved: the default of Keras' ReduceLROnPlateau."""


def learning_rate_factor(
    settings: Hyperparameters, epoch: int, update: int, updates: int, drops: int = 0
) -> float:
    """The factor of the base rates at `update` (from 0, over all epochs) in `epoch` (from 0).

    `updates` are those of an epoch. `drops` are the `plateau_drops` of the epochs so far. The
    `min_lr` of the schedule `plateau` bounds the head's rate, `lr`; transferred layers stay in
    proportion. The warm-up is that of Goyal et al. (2017, arXiv:1706.02677): linear from the first
    update on.
    """
    warm_up = settings.schedule.warm_up * updates
    rise = min(1.0, (update + 1) / warm_up) if warm_up else 1.0
    return rise * _fall(settings, epoch, update, drops)


def _fall(settings: Hyperparameters, epoch: int, update: int, drops: int) -> float:
    schedule = settings.schedule
    match schedule.name:
        case "step":
            passed = sum(epoch >= step for step in schedule.steps)
            return schedule.gamma ** (passed if schedule.steps else epoch // schedule.step_size)
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * epoch / epochs_of(settings)))
        case "time":
            return 1 / (1 + schedule.decay * update)
        case "plateau":
            return max(schedule.gamma**drops, min(1.0, schedule.min_lr / settings.lr))
    return 1.0


def plateau_drops(losses: Sequence[float], patience: int) -> int:
    """How often the rate has been lowered after epochs with these validation losses.

    It is lowered when `patience` (>= 1) epochs in a row have not brought the loss below its lowest
    by more than PLATEAU_LEAST; the count then starts again, the lowest loss is kept. This is Keras'
    ReduceLROnPlateau with its defaults (no cooldown).
    """
    lowest, waited, drops = math.inf, 0, 0
    for loss in losses:
        if loss < lowest - PLATEAU_LEAST:
            lowest, waited = loss, 0
        else:
            waited += 1
        if waited >= patience:
            drops, waited = drops + 1, 0
    return drops


AUTO_UPDATES = 2000
AUTO_EPOCHS = (10, 100)
"""What `epochs: auto` means: a number of updates, as in BiT's rule (Kolesnikov et al. 2020, section
3.3), within bounds of epochs, so that small sets are not repeated without end and large ones are
seen more than a few times."""

AUTO_PATIENCE = 10
"""The least epochs that `patience: auto` waits."""

_LEAST_SCALE = 1e-9  # stands for a scale of 0 among powers of ten


def resolved(settings: Hyperparameters, updates: int) -> Hyperparameters:
    """The settings with `epochs` and `patience` in numbers; `updates` (>= 1) are an epoch's."""
    least, most = AUTO_EPOCHS
    automatic = min(max(math.ceil(AUTO_UPDATES / updates), least), most)
    epochs = automatic if settings.epochs == "auto" else settings.epochs
    waited = max(AUTO_PATIENCE, epochs // 2)
    patience = waited if settings.patience == "auto" else settings.patience
    return settings.model_copy(update={"epochs": epochs, "patience": patience})


def epochs_of(settings: Hyperparameters) -> int:
    """The number of epochs of settings that are `resolved`."""
    assert settings.epochs != "auto", "the number of epochs is not resolved"
    return settings.epochs


def trial_factors(settings: Hyperparameters, length: int, updates: int) -> list[tuple[int, float]]:
    """(epoch of the schedule, factor of the base rates) at each of the `length` updates of a trial.

    A trial runs the whole schedule of epochs of `updates` each, compressed.
    """
    total = epochs_of(settings) * updates
    positions = [number * total // length for number in range(length)]
    return [
        (at // updates, learning_rate_factor(settings, at // updates, at, updates))
        for at in positions
    ]


def candidates(settings: Hyperparameters, transferred: bool) -> list[Hyperparameters]:
    """The tuning grid, as complete settings. The scale matters to transferred layers only."""
    tune = settings.tune
    scales = tune.transferred_lr_scale if transferred else None
    return [
        settings.model_copy(update={"lr": lr, "transferred_lr_scale": scale})
        for lr, scale in itertools.product(
            tune.lr or (settings.lr,), scales or (settings.transferred_lr_scale,)
        )
    ]


class Trial(TypedDict):
    """A short training of a candidate (from 0) in a round (from 0) of successive halving."""

    round: int
    candidate: int
    updates: int
    row: Row  # what the validation rows give at its end


def trial_updates(settings: Hyperparameters, round: int, updates: int) -> int:
    """How long a trial of a round is; `updates` are those of an epoch."""
    tune = settings.tune
    return max(1, math.ceil(tune.trials[round] * epochs_of(settings) * updates))


def survivors(
    trials: Sequence[Trial], candidates: Sequence[Hyperparameters], val_rows: int
) -> list[int]:
    """The candidates that the trials so far leave in, as positions in order.

    Successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943): of each finished round the
    better half goes on, rounded down, and of the last round the best one. Trials are short and
    validation rows few, so the best is only taken for better where it is so by more than a standard
    error: within one of it, the candidate nearest to the usual rates comes first (the
    one-standard-error rule, Breiman et al. 1984). A trial whose loss is not finite comes last; of
    equal ones the earlier comes first.
    """
    alive = list(range(len(candidates)))
    rounds = len(candidates[0].tune.trials)
    for number in range(rounds):
        rows = {trial["candidate"]: trial["row"] for trial in trials if trial["round"] == number}
        if len(alive) == 1 or len(rows) < len(alive):
            break
        ranked = _in_order({one: rows[one] for one in alive}, candidates, val_rows)
        alive = sorted(ranked[: 1 if number == rounds - 1 else max(1, len(alive) // 2)])
    return alive


def order(
    trials: Sequence[Trial], candidates: Sequence[Hyperparameters], val_rows: int
) -> list[int]:
    """The candidates to train in full: first the survivors of all trials, then, for the case that
    those diverge, the others whose trials did not, the best of the longest trials first."""
    listed = survivors(trials, candidates, val_rows)
    for number in reversed(range(len(candidates[0].tune.trials))):
        rows = {trial["candidate"]: trial["row"] for trial in trials if trial["round"] == number}
        ranked = _in_order(rows, candidates, val_rows) if rows else []
        listed += [
            one for one in ranked if one not in listed and math.isfinite(rows[one]["val_loss"])
        ]
    return listed


def next_trial(
    trials: Sequence[Trial], candidates: Sequence[Hyperparameters], val_rows: int
) -> tuple[int, int] | None:
    """(round, candidate) of the next trial, or None when all have been run."""
    alive = survivors(trials, candidates, val_rows)
    run = {(trial["round"], trial["candidate"]) for trial in trials}
    for number in range(len(candidates[0].tune.trials)):
        if len(alive) == 1:
            return None
        waiting = [one for one in alive if (number, one) not in run]
        if waiting:
            return number, waiting[0]
    return None


def _in_order(
    rows: Mapping[int, Row], candidates: Sequence[Hyperparameters], val_rows: int
) -> list[int]:
    """The candidates of a finished round, the best first (see `survivors`)."""
    select = candidates[0].select
    ranks = {
        one: rank(row, select) if math.isfinite(row["val_loss"]) else (-math.inf, -math.inf)
        for one, row in rows.items()
    }
    best = max(ranks.values())[0]
    share = 0.0 if metric(select) == "loss" else max(best, 0.0)
    least = best - math.sqrt(share * (1 - share) / val_rows)

    def key(one: int) -> tuple:
        within = math.isfinite(ranks[one][0]) and ranks[one][0] >= least
        return (0, _distance(candidates[one])) if within else (1, *(-value for value in ranks[one]))

    return sorted(rows, key=key)


def _distance(candidate: Hyperparameters) -> float:
    """How far its rates are from the usual ones, in powers of ten."""
    usual = Hyperparameters()
    lr = usual.lr * (SGD_FACTOR if candidate.optimizer.name == "sgd" else 1)
    scale = max(candidate.transferred_lr_scale, _LEAST_SCALE) / usual.transferred_lr_scale
    return abs(math.log10(candidate.lr / lr)) + abs(math.log10(scale))


def metric(select: str) -> str:
    """The metric on the validation rows that epochs and candidates are compared by."""
    return "accuracy" if select == "last" else select


def rank(row: Row, select: str) -> tuple[float, float]:
    """What epochs are compared by: the higher is the better.

    Equal accuracy is common on small sets; the lower loss is then the better model.
    """
    value = row[f"val_{metric(select)}"]
    return -value if select == "loss" else value, -row["val_loss"]


def epochs_done(history: Sequence[Row]) -> int:
    return int(history[-1]["epoch"]) if history else 0


def losses(history: Sequence[Row]) -> list[float]:
    """The validation losses after each epoch of training."""
    return [row["val_loss"] for row in history if row["epoch"] > 0]


def row_of(history: Sequence[Row], epoch: int) -> Row:
    return next(row for row in history if row["epoch"] == epoch)


def diverged(history: Sequence[Row]) -> bool:
    """Whether the last epoch's losses are not finite, which ends a training."""
    if not history:
        return False
    last = history[-1]
    return not all(math.isfinite(last.get(loss, 0.0)) for loss in ("train_loss", "val_loss"))


def best_epoch(history: Sequence[Row], select: str) -> int | None:
    """The first epoch of the highest rank; None if there is none with finite losses.

    It is 0 if no epoch is better than the start.
    """
    rows = history[:-1] if diverged(history) else history
    best = max(rows, key=lambda row: rank(row, select), default=None)
    return None if best is None else int(best["epoch"])


def selected_epoch(history: Sequence[Row], select: str) -> int | None:
    """The epoch that is the candidate's model: the best, or with `last` the last.

    Many published recipes keep the last epoch. Early stopping then goes by accuracy, and
    candidates are compared by the accuracy of their last epochs.
    """
    if select != "last":
        return best_epoch(history, select)
    return None if diverged(history) else epochs_done(history) or None


def selected_candidate(histories: Mapping[int, Sequence[Row]], select: str) -> int | None:
    """The first candidate whose selected epoch has the highest rank."""
    epochs = {one: selected_epoch(history, select) for one, history in histories.items()}
    ranks = {
        one: rank(row_of(histories[one], epoch), select)
        for one, epoch in epochs.items()
        if epoch is not None
    }
    return max(ranks, key=lambda candidate: ranks[candidate], default=None)


def is_finished(history: Sequence[Row], settings: Hyperparameters) -> bool:
    """Whether a training has had all its epochs, has diverged, or is stopped early."""
    return (
        epochs_done(history) >= epochs_of(settings)
        or diverged(history)
        or is_stopped_early(history, settings)
    )


def is_stopped_early(history: Sequence[Row], settings: Hyperparameters) -> bool:
    """Whether `patience` epochs have passed without a better one.

    With `last` the start (epoch 0) is no candidate for the model, so no epoch has to be better.
    """
    rows = [row for row in history if row["epoch"] > 0 or settings.select != "last"]
    best = best_epoch(rows, settings.select)
    patience = settings.patience
    assert patience != "auto", "the patience is not resolved"
    done = epochs_done(history)
    ended = done >= epochs_of(settings)
    return patience is not None and best is not None and not ended and done - best >= patience
