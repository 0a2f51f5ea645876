"""Failed runs: those that did not train, so that their figures say nothing about their mode."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from graft.core.errors import GraftError

_TOLERANCE = 1e-9
_LOWER = "lower train.lr"
_OTHER = "take another source"


class Failure(NamedTuple):
    """Why a run failed, as a phrase such as "diverged at epoch 2", and what to do about it."""

    reason: str
    advice: str


def failure(
    metrics: Mapping,
    history: pd.DataFrame,
    *,
    metric: str,
    select: str,
    best_epoch: int,
    val_rows: int,
    rebalanced: bool = False,
    probe: bool = False,
) -> Failure | None:
    """Why a run failed, or None if it did not.

    `metrics` is what `evaluate.measure` returns for the test rows, `metric` one of BASELINES.
    `history` has a row per epoch with `epoch`, `train_loss` and `val_accuracy`; epoch 0, if there
    is one, is the network before its first update. `best_epoch` is the epoch that is the model,
    `select` the validation metric it was chosen by, and `val_rows` the number of validation rows. A
    run failed if, in this order,

    - a training or validation loss is not finite;
    - on test rows of two true classes or more, all predictions are of one class, or `metric` is not
      above its `baseline`;
    - the chosen epoch is below epoch 0 in validation accuracy by more than noise (see `fall`).

    A run that was trained on `rebalanced` rows expects all classes equally often, so its accuracy
    may be below the share of the commonest test class although it tells the classes apart: it is
    judged by balanced accuracy where `metric` is accuracy. A `probe` has no rate and no epochs that
    could be changed: its features do not tell the classes apart.
    """
    if (epoch := diverged_at(history)) is not None:
        return Failure(f"diverged at epoch {epoch}", _LOWER)
    if is_judged(metrics):
        if (name := _constant(metrics)) is not None:
            return Failure(f"constant predictions, all {name!r}", _OTHER if probe else _LOWER)
        judged = judged_by(metric, rebalanced=rebalanced)
        value, base = metrics[judged], _baseline(judged, metrics)
        if value <= base + _TOLERANCE:
            reason = (
                f"test {NAMES[judged]} {_percent(value)}, not above the "
                f"{_percent(base)} of {BASELINES[judged]}"
            )
            return Failure(reason, _OTHER if probe else "change train.lr or raise train.epochs")
    fell = fall(history, select=select, best_epoch=best_epoch, val_rows=val_rows)
    if fell is not None and fell.start - fell.value > fell.noise:
        return Failure(
            f"{fell.text}, worse than the {_percent(fell.start)} before training", _LOWER
        )
    return None


BASELINES = {
    "accuracy": "the commonest class",
    "balanced_accuracy": "guessing",
    "mean_ap": "a random ranking",
    "mean_ap_11": "a random ranking",
}
"""What reaches the `baseline` of each metric that runs are judged by, in words."""


NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "mean_ap": "mAP",
    "mean_ap_11": "11-point mAP",
}
"""The same metrics in words."""


def baseline(metric: str, support: ArrayLike) -> float:
    """What `metric`, one of BASELINES of one class per picture, reaches without looking at it.

    `support` (K,) are the test rows of each class. It is the share of the commonest class for the
    accuracy, and 1 / (number of classes that occur) for the balanced accuracy.
    """
    if metric not in BASELINES:
        raise GraftError(
            f"evaluate.metric: {metric!r} has no baseline. Choose one of {', '.join(BASELINES)}."
        )
    support = np.asarray(support)
    if metric == "accuracy":
        return float(support.max() / support.sum())
    return 1 / np.count_nonzero(support)


def supports(metrics: Mapping) -> list[int]:
    """The test rows of each class, of what `evaluate.measure` returned."""
    if "per_class" in metrics:
        return [of_class["positives"] for of_class in metrics["per_class"].values()]
    return np.sum(metrics["confusion_matrix"], axis=1).tolist()


def _constant(metrics: Mapping) -> str | None:
    """The class that all predictions are of, if there is one; of several classes there is none."""
    if "per_class" in metrics:
        return None
    answered = np.flatnonzero(np.sum(metrics["confusion_matrix"], axis=0))
    return metrics["classes"][answered[0]] if len(answered) == 1 else None


def _baseline(metric: str, metrics: Mapping) -> float:
    if "per_class" in metrics:
        return float(metrics["majority_baseline"])
    return baseline(metric, supports(metrics))


def judged_by(metric: str, *, rebalanced: bool) -> str:
    """The metric that decides whether a run failed (see `failure`)."""
    return "balanced_accuracy" if rebalanced and metric == "accuracy" else metric


def failed_runs(failed: int, total: int) -> str:
    """Such as "1 of 3 runs"."""
    return f"{failed} of {total} run{'s' if total > 1 else ''}"


def is_judged(metrics: Mapping) -> bool:
    """Whether the test rows are of two classes or more: of one class, every answer may be right. Of
    several classes per picture, whether the metric is defined."""
    if "per_class" in metrics:
        return metrics["mean_ap"] is not None
    return bool(np.count_nonzero(supports(metrics)) > 1)


def diverged_at(history: pd.DataFrame) -> int | None:
    """The first epoch with a training or validation loss that is not finite, or None.

    Nothing is trained in epoch 0, so it has no training loss.
    """
    finite = np.isfinite(history["train_loss"]) | (history["epoch"] == 0)
    if "val_loss" in history:
        finite &= np.isfinite(history["val_loss"])
    epochs = history["epoch"][~finite]
    return int(epochs.iloc[0]) if len(epochs) else None


class Fall(NamedTuple):
    """A validation accuracy below that of epoch 0."""

    epoch: int
    value: float
    start: float
    noise: float
    """Two standard errors of such a difference."""

    @property
    def text(self) -> str:
        return f"validation accuracy {_percent(self.value)} at epoch {self.epoch}"


def fall(history: pd.DataFrame, *, select: str, best_epoch: int, val_rows: int) -> Fall | None:
    """How far the chosen epoch is below epoch 0, if it is; the arguments are those of `failure`.

    An epoch that was chosen as the best one is never below the start; the last epoch, which
    `select: last` keeps, may be. Two standard errors of the difference between two accuracies on
    the same n rows are 2 sqrt(p (1 - p) / n), where p is their mean and hits on a row have a
    correlation of one half; which rows were hit is not recorded.
    """
    if select != "accuracy":
        return None
    values = history.set_index("epoch")["val_accuracy"]
    if 0 not in values.index or best_epoch not in values.index:
        return None
    value, start = float(values[best_epoch]), float(values[0])
    if value >= start:
        return None
    mean = (value + start) / 2
    return Fall(best_epoch, value, start, 2 * math.sqrt(mean * (1 - mean) / val_rows))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
