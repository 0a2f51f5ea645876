"""Results of small experiments, for the tests of figures, plots and results."""

import numpy as np
import pandas as pd
from probabilities import logs

from graft.core import hdf5
from graft.evaluation import metrics
from graft.evaluation.predictions import predictions_frame, write_predictions
from graft.images import packs
from graft.reporting.results import Results

RIGHT = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])


def result(
    path,
    confidences,
    *,
    true=(0, 1, 0, 1),
    cut="image",
    augment=None,
    mode="fine_tuning",
    loss=0.5,
    warm_up=None,
):
    """The results of one mode on four test rows."""
    frame = predictions_frame(list("abcd"), list("wxyz"), true, logs(confidences), ["n", "p"])
    write_predictions(path, frame)
    history = pd.DataFrame({"epoch": [1, 2], "val_accuracy": [0.9, 0.8], "val_loss": [1, 1]})
    history = history.assign(learning_rate=0.01, train_accuracy=0.5, train_loss=loss)
    train = {"epochs": 2, "augment": augment or {}, "balance": "none"}
    settings = {"train": train}
    fit = {
        "cut": cut,
        "select": "accuracy",
        "best_epoch": 1,
        "stopped_early": True,
        "epochs": 2,
        "chosen": {"lr": 0.01, "transferred_lr_scale": 1.0},
        "tuning": [{"trials": []}],
        "samples": {"train": 20, "val": 100},
        "warm_up": warm_up,
        "seal": {"recipe": {"settings": settings}},
    }
    measured = metrics.classification_metrics(true, logs(confidences), ["n", "p"])
    run = (mode, 0)
    return Results({run: fit}, {run: history}, {run: measured}, {run: path}, {})


def pack_of_test_rows(path):
    """A pack of the same four test rows."""
    with hdf5.create(path, {}) as file:
        hdf5.write(file, "images", np.zeros((4, 8, 8, 3), np.uint8))
        packs.write_labels(file, [0, 1, 0, 1], list("abcd"), list("wxyz"), ["n", "p"])
    return path
