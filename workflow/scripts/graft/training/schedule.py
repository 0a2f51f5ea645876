"""The schedule of one training: learning rates, which epoch is the model, and the tuning grid.

`select` is the config's: `accuracy`, `balanced_accuracy` and `loss` keep the epoch that is best by
that metric on the validation rows; `last` keeps the last epoch, as many published recipes do.
Candidates of a tuning grid, and epochs for early stopping, are then compared by accuracy. There is
no torch in here: reports need the metric as well.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

from graft.config.models import Hyperparameters

PLATEAU_LEAST = 1e-4
"""The least improvement of a loss that counts: the default of Keras' ReduceLROnPlateau."""


def learning_rate_factor(settings: Hyperparameters, epoch: int, step: int, drops: int = 0) -> float:
    """The factor on the base rates in `epoch` (from 0) at update `step` (from 0).

    `drops` is what `plateau_drops` gives for the epochs so far, for the schedule `plateau`. Its
    `min_lr` bounds the rate of the head, `lr`; transferred layers stay in proportion.
    """
    schedule = settings.schedule
    match schedule.name:
        case "step":
            return schedule.gamma ** (epoch // schedule.step_size)
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * epoch / settings.epochs))
        case "time":
            return 1 / (1 + schedule.decay * step)
        case "plateau":
            least = min(1.0, schedule.min_lr / settings.lr)
            return max(schedule.gamma**drops, least)
    return 1.0


def plateau_drops(losses: Sequence[float], patience: int) -> int:
    """The number of times that the rate was lowered after epochs with these validation losses.

    It is lowered when `patience` (>= 1) epochs in a row have not brought the loss below its lowest
    by more than PLATEAU_LEAST; the count then starts again, the lowest loss remains. This is Keras'
    ReduceLROnPlateau with its defaults (no cooldown), computed from the history alone.
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


def metric(select: str) -> str:
    """The metric on the validation rows that epochs and candidates are compared by."""
    return "accuracy" if select == "last" else select


def rank(row: Mapping[str, float], select: str) -> tuple[float, float]:
    """The rank of a row of the history (`val_loss`, `val_<metric>`): the higher, the better.

    Equal accuracy is common on small sets; the lower loss is then the better model.
    """
    value = row[f"val_{metric(select)}"]
    return -value if metric(select) == "loss" else value, -row["val_loss"]


def candidates(settings: Hyperparameters, transferred: bool) -> list[Hyperparameters]:
    """The tuning grid, as complete settings. The scale only matters to transferred layers."""
    tune = settings.tune
    scales = tune.transferred_lr_scale if transferred else None
    return [
        settings.model_copy(update={"lr": lr, "transferred_lr_scale": scale})
        for lr, scale in itertools.product(
            tune.lr or (settings.lr,), scales or (settings.transferred_lr_scale,)
        )
    ]
