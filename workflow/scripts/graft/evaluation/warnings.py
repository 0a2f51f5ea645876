"""Warnings on single runs (not converged, or with a saturated loss), and on heads that are not
trained as well as they could be."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from graft.core.errors import GraftError
from graft.evaluation import failure
from graft.evaluation.compare import in_points

_WINDOW_SHARE = 0.2  # of the epochs: the two stretches compared for "still improving"
_WINDOW_LEAST = 3
_STANDARD_ERRORS = 2.0
_WORTHWHILE = 0.005  # half a point: smaller gains are not worth a warning
_AT_WORK = 0.01  # of the highest rate: below it, a loss that stands still is no news
_UNMOVED = 1e-6  # of the loss: ten times what float32 can tell
_CERTAIN = 1e-7  # a probability that float32 cannot tell from 0 beside 1


def convergence_warning(
    history: pd.DataFrame, *, stopped_early: bool, metric: str = "accuracy"
) -> str | None:
    """A sentence if a run was cut off before it had converged, else None.

    `history` has one row per epoch with `epoch`, `train_loss` and `val_<metric>`; a metric called
    `loss` is better when lower, any other when higher. A run that stopped early of its own accord
    has converged, and one that diverged would not converge with more epochs. One that used up its
    epochs has not if its best epoch is the last one, or if its last fifth is better than the fifth
    before by more than half a point (1 % of the loss) and two standard errors.
    """
    column = metric if metric.startswith("val_") else f"val_{metric}"
    if column not in history.columns:
        raise GraftError(f"history: lacks the column {column}; choose a metric that was recorded.")
    if stopped_early or failure.diverged_at(history) is not None:
        return None
    values = history[column][history["epoch"] > 0].to_numpy(dtype=np.float64)
    lower_is_better = column.endswith("loss")
    gains = -values if lower_is_better else values
    epochs, best = len(gains), int(np.argmax(gains))
    shown = f"{values[best]:.3g}" if lower_is_better else f"{100 * values[best]:.1f} %"
    if best == epochs - 1:
        return (
            f"had not converged: its best {column} ({shown}) came in the last of its {epochs} "
            "epochs; give it more epochs before believing that it is worse"
        )
    window = max(_WINDOW_LEAST, round(_WINDOW_SHARE * epochs))
    late, before = gains[-window:], gains[-2 * window : -window]
    if len(before) < window:
        return None
    gain = late.mean() - before.mean()
    error = np.sqrt((late.var(ddof=1) + before.var(ddof=1)) / window)
    worthwhile = 2 * _WORTHWHILE * abs(before.mean()) if lower_is_better else _WORTHWHILE
    if gain > worthwhile and gain > _STANDARD_ERRORS * error:
        return (
            f"was still improving in {column} when its {epochs} epochs were over; give it more "
            "epochs before believing that it is worse"
        )
    return None


def start_warning(
    history: pd.DataFrame, *, select: str, best_epoch: int, val_rows: int
) -> str | None:
    """A sentence if a run ended below its start, but not so far that it failed; else None.

    The arguments are those of `failure.failure`.
    """
    fell = failure.fall(history, select=select, best_epoch=best_epoch, val_rows=val_rows)
    if fell is None or fell.start - fell.value > fell.noise:
        return None
    return (
        f"ended a little below its start: {fell.text}, {100 * fell.start:.1f} % before training; "
        f"with {val_rows:,} validation rows this may be chance"
    )


def collapse_warning(metrics: Mapping, history: pd.DataFrame, *, metric: str) -> str | None:
    """A sentence if a run's loss is saturated, and what to try; else None.

    `metrics` is what `metrics.classification_metrics` returns for its test rows, `history` has one
    row per epoch with `epoch`, `train_loss` (nats), `train_accuracy` and `learning_rate`. A run of
    K classes is warned of if `metric` on the test rows is less than half of the way from its
    baseline (see `failure.baseline`) to 1 while

    - each mistake adds more than -ln 1e-7 = 16 nats on average to the test log loss, and that is
      above ln K: to float32 such confidences are 0 and 1, the softmax is saturated;
    - or, the last training accuracies being less than half of the way from 1 / K to 1, the training
      loss was at or above ln K in all of the last epochs (a fifth of them, at least 3): the last
      layer's bias alone does as well;
    - or, likewise, the training loss stayed the same to a millionth in the last such epochs in
      which the rate was at work, at least a hundredth of its highest: no gradient comes through.

    The conditions on `metric` and accuracy leave out runs that are merely overconfident or
    overfitted. Training accuracy may be of rebalanced rows, so no share of the test rows is its
    baseline. Test rows of one class give no sentence, nor do several classes per picture, whose
    sigmoids saturate one by one.
    """
    if "per_class" in metrics or not failure.is_judged(metrics):
        return None
    support = failure.supports(metrics)
    if metrics[metric] >= _half_way(failure.baseline(metric, support)):
        return None
    trained = history[history["epoch"] > 0]
    if not (signs := [*_overconfidence(metrics), *_stuck(trained, len(metrics["classes"]))]):
        return None
    advice = "change train.lr (most often down), start from other weights or normalise the input"
    return f"has collapsed: {', and '.join(signs)}; {advice}"


def head_warning(pairs: Sequence[Mapping], metric: str) -> str | None:
    """A sentence if feature_extraction is worse than a logistic regression on the same features.

    `pairs` are those of `compare.compare` by `metric`. Its head could be that regression, so an
    interval above 0 is of the training, not of the features.
    """
    for pair in pairs:
        beaten = pair["low"] is not None and pair["low"] > 0
        if beaten and (pair["a"], pair["b"]) == ("logistic_probe", "feature_extraction"):
            amount = in_points(pair["difference"], (pair["low"], pair["high"]), metric)
            return (
                f"feature_extraction is below logistic_probe by {amount}: its head is not trained "
                "as well as it could be; give it more epochs or another lr."
            )
    return None


def _half_way(baseline: float) -> float:
    return (1 + baseline) / 2


def _overconfidence(metrics: Mapping) -> list[str]:
    guess, loss = np.log(len(metrics["classes"])), metrics["log_loss"]
    if loss <= max(guess, -np.log(_CERTAIN) * (1 - metrics["accuracy"])):
        return []
    return [
        "its confidences are 0 or 1 even where it is wrong "
        f"(log loss {loss:.3g}, where guessing gives {guess:.3g})"
    ]


def _stuck(history: pd.DataFrame, classes: int) -> list[str]:
    guess, rates = np.log(classes), history["learning_rate"]
    window = max(_WINDOW_LEAST, round(_WINDOW_SHARE * len(history)))
    last = history.tail(window)
    if len(last) < window or last["train_accuracy"].max() >= _half_way(1 / classes):
        return []
    least = last["train_loss"].min(skipna=False)
    at_work = history["train_loss"][rates >= _AT_WORK * rates.max()].tail(window)
    if least >= guess:
        return [
            f"its training loss was {least:.3g} or more in its last {window} epochs, where "
            f"guessing gives {guess:.3g}"
        ]
    if len(at_work) == window and np.ptp(at_work) <= _UNMOVED * at_work.min(skipna=False):
        return [f"its training loss stood still at {at_work.iloc[-1]:.6g} for {window} epochs"]
    return []
