"""Warnings on single runs: not converged, diverged, or collapsed."""

import numpy as np
import pandas as pd

from graft.core.errors import GraftError

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
    """A sentence if a run was cut off before it had converged, or had diverged; else None.

    `history` has one row per epoch with `epoch` and `val_<metric>`; a metric called `loss` is
    better when lower, any other when higher. A run that stopped early of its own accord has
    converged. One that used up its epochs has not if its best epoch is the last one, or if its last
    fifth is better than the fifth before by more than half a point (1 % of the loss) and
    two standard errors.
    """
    column = metric if metric.startswith("val_") else f"val_{metric}"
    if column not in history.columns:
        raise GraftError(f"history: lacks the column {column}; choose a metric that was recorded.")
    values = history[column].to_numpy(dtype=np.float64)
    if not np.isfinite(values).any():
        return f"diverged: {column} was never a number; lower the learning rate"
    if stopped_early:
        return None
    lower_is_better = column.endswith("loss")
    gains = np.where(np.isfinite(values), -values if lower_is_better else values, -np.inf)
    epochs, best = len(gains), int(np.argmax(gains))
    shown = f"{values[best]:.3g}" if lower_is_better else f"{100 * values[best]:.1f} %"
    if best == epochs - 1:
        return (
            f"had not converged: its best {column} ({shown}) came in the last of its {epochs} "
            "epochs; give it more epochs before believing that it is worse"
        )
    window = max(_WINDOW_LEAST, round(_WINDOW_SHARE * epochs))
    late, before = gains[-window:], gains[-2 * window : -window]
    if len(before) < window or not np.isfinite([late, before]).all():
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


def collapse_warning(metrics: dict, history: pd.DataFrame) -> str | None:
    """A sentence if a run has learnt nothing or its loss is saturated, and what to try; else None.

    `metrics` is what `metrics.classification_metrics` returns for its test rows, `history` has one
    row per epoch with `train_loss` (nats), `train_accuracy` and `learning_rate`. A run of K classes
    is warned of if its test accuracy is not above the majority rate; or if that accuracy is less
    than half of the way from that rate to 1 while

    - each mistake adds more than -ln 1e-7 = 16 nats on average to the test log loss, and that is
      above ln K: to float32 such confidences are 0 and 1, the softmax is saturated;
    - or, the last training accuracy being as low, the training loss was at or above ln K in all of
      the last epochs (a fifth of them, at least 3): the last layer's bias alone does as well;
    - or, likewise, the training loss stayed the same to a millionth in the last such epochs in
      which the rate was at work, at least a hundredth of its highest: no gradient comes through.

    The conditions on accuracy leave out runs that are merely overconfident or overfitted.
    """
    accuracy, majority = metrics["accuracy"], metrics["majority_baseline"]
    signs = _saturation(metrics, history)
    if accuracy > majority and not signs:
        return None
    seen = ""
    if accuracy <= majority:
        answered = np.flatnonzero(np.sum(metrics["confusion_matrix"], axis=0))
        only = f", it answers {metrics['classes'][answered[0]]!r} every time"
        seen = (
            f"its accuracy ({100 * accuracy:.1f} %) is not above that of always answering the "
            f"commonest class ({100 * majority:.1f} %){only if len(answered) == 1 else ''}"
        )
    if not signs:
        advice = "try another train.lr, or train.balance if the classes are unequal"
        return f"learned nothing that shows: {seen}; {advice}"
    advice = "change train.lr (most often down), start from other weights or normalise the input"
    return f"has collapsed: {', and '.join([seen, *signs] if seen else signs)}; {advice}"


def _saturation(metrics: dict, history: pd.DataFrame) -> list[str]:
    """The signs of a saturated loss (see `collapse_warning`), each in words."""
    accuracy, poor = metrics["accuracy"], (1 + metrics["majority_baseline"]) / 2
    if accuracy >= poor:
        return []
    guess = np.log(len(metrics["classes"]))
    guessing = f"where guessing gives {guess:.3g}"
    signs = []
    if metrics["log_loss"] > max(guess, -np.log(_CERTAIN) * (1 - accuracy)):
        signs.append(
            "its confidences are 0 or 1 even where it is wrong "
            f"(log loss {metrics['log_loss']:.3g}, {guessing})"
        )
    window = max(_WINDOW_LEAST, round(_WINDOW_SHARE * len(history)))
    last, rates = history.tail(window), history["learning_rate"]
    if len(last) < window or last["train_accuracy"].max() >= poor:
        return signs
    least = last["train_loss"].min(skipna=False)
    at_work = history["train_loss"][rates >= _AT_WORK * rates.max()].tail(window)
    if least >= guess:
        signs.append(
            f"its training loss was {least:.3g} or more in its last {window} epochs, {guessing}"
        )
    elif len(at_work) == window and np.ptp(at_work) <= _UNMOVED * at_work.min(skipna=False):
        signs.append(f"its training loss stood still at {at_work.iloc[-1]:.6g} for {window} epochs")
    return signs
