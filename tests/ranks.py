"""What the processes of a training run in tests; they find it by name."""

import os
import signal
import time

from graft.models import model_file
from graft.training import loop, train


def _refused(path):
    raise AssertionError(f"{path} is written by another rank than the first")


def several(tasks, *, on_epoch, group):
    """The reports of trainings, one after another, in which only the first rank may write."""
    if group.rank:
        loop.atomic = train.atomic = model_file.atomic = _refused
    return {"reports": [task(on_epoch=on_epoch, group=group) for task in tasks]}


def one_dies(task, after, *, on_epoch, group):
    """A training of which the last rank is killed after some epochs."""

    def count(epoch, row):
        on_epoch(epoch, row)
        if group.rank == group.size - 1 and epoch == after:
            os.kill(os.getpid(), signal.SIGKILL)

    return task(on_epoch=count, group=group)


def endless(folder, *, on_epoch, group):
    """Each rank says which process it is, and goes on for ever."""
    (folder / f"pid-{group.rank}").write_text(str(os.getpid()))
    while True:
        time.sleep(1)
