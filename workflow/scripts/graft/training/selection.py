"""Selection: which epoch of a training, and which candidate, is the model.

`select` is the config's: `accuracy`, `balanced_accuracy` and `loss` keep the epoch that is best by
that metric on the validation rows; `last` keeps the last epoch, whatever its value, as many
published recipes do. What has to be compared all the same (candidates of a tuning grid, epochs
for early stopping) then goes by accuracy.
"""


def metric(select: str) -> str:
    """The metric on the validation rows that epochs and candidates are compared by."""
    return "accuracy" if select == "last" else select


def rank(row: dict, select: str) -> tuple[float, float]:
    """What a row of the history (`val_loss`, `val_<metric>`) is worth; the higher is the better.

    Equal accuracy is common on small sets; the lower loss is then the better model.
    """
    value = row[f"val_{metric(select)}"]
    return -value if metric(select) == "loss" else value, -row["val_loss"]
