"""Running a training by several processes, which torch's distributed launcher starts.

The launcher (that of `torchrun`) starts the ranks on this machine, ends all when one fails, and
names it. The process that calls `run` waits for them: it computes nothing itself.
"""

import contextlib
import ctypes
import json
import os
import pickle
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from graft.core.errors import GraftError
from graft.training import distributed
from graft.training.distributed import ALONE

Task = Callable[..., dict[str, Any]]
"""Called with `on_epoch` and `group`. Processes receive it pickled, its functions by name."""

OnEpoch = Callable[[int, dict[str, float]], None]

_LIBRARY = Path(__file__).parents[2]
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl(2)
_END = "\n"


def run(task: Task, processes: int, device: str, on_epoch: OnEpoch) -> dict[str, Any]:
    """What the task returns, done by this process, or by so many others on this machine.

    `on_epoch` is called in this process and must not raise. What the others print appears here,
    each line with its rank. Raises what the first rank to fail has raised, or GraftError where
    something ended it; the others are ended then.
    """
    if processes == 1:
        return task(on_epoch=on_epoch, group=ALONE)
    # These come with log handlers, which are to write where this process writes now.
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Without it the launcher serves a store to the network. Here ranks meet over a file.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    entry = f"from {rank.__module__} import {rank.__name__} as rank; rank()"
    code = f"import sys; sys.path.insert(0, {str(_LIBRARY)!r}); {entry}"
    with tempfile.TemporaryDirectory(prefix="graft-") as name:
        folder = Path(name)
        (folder / "task").write_bytes(pickle.dumps((task, device, os.getpid())))
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id="graft",
            rdzv_backend="c10d",
            rdzv_endpoint=str(folder / "rendezvous"),
            rdzv_configs={"store_type": "file"},
            local_addr="127.0.0.1",
            max_restarts=0,  # the checkpoint is for the next job
            logs_specs=DefaultLogsSpecs(log_dir=str(folder / "logs"), tee=Std.ALL),
            log_line_prefix_template="rank ${rank}: ",
        )
        with _listening(folder / "epochs", on_epoch):
            try:
                elastic_launch(config, sys.executable)("-u", "-P", "-c", code, name)
            except ChildFailedError as error:
                ended = {number: failure.exitcode for number, failure in error.failures.items()}
                raise _cause(folder, ended, processes) from None
        return pickle.loads((folder / "result").read_bytes())


def rank() -> None:
    """What each process runs: the task, in the folder that its argument names."""
    folder, number = Path(sys.argv[1]), int(os.environ["RANK"])
    try:
        task, device, parent = pickle.loads((folder / "task").read_bytes())
        _end_with(parent)
        group = distributed.join(folder / "store", device)
        if group.writes:
            with open(folder / "epochs", "w", encoding="utf-8", buffering=1) as pipe:
                found = task(
                    on_epoch=lambda *epoch: print(json.dumps(epoch), file=pipe), group=group
                )
            (folder / "result").write_bytes(pickle.dumps(found))
        else:
            task(on_epoch=lambda *epoch: None, group=group)
        distributed.leave()
    except Exception as error:
        traceback.print_exc()
        if not isinstance(error, GraftError | OSError):  # others may not survive pickling
            error = RuntimeError(f"rank {number}: {type(error).__name__}: {error}")
        (folder / f"error-{number}").write_bytes(pickle.dumps(error))
        sys.exit(1)


def _end_with(parent: int) -> None:
    """Be ended when the launcher is, so that no rank goes on beside those of the next job."""
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        sys.exit(1)


@contextlib.contextmanager
def _listening(pipe: Path, on_epoch: OnEpoch) -> Iterator[None]:
    """Call `on_epoch` with what the first rank writes to a named pipe."""
    os.mkfifo(pipe)
    # Both ends are open here: no one waits for a rank that has died.
    with open(os.open(pipe, os.O_RDWR), encoding="utf-8") as lines:

        def listen() -> None:
            for line in iter(lines.readline, _END):
                on_epoch(*json.loads(line))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield
        finally:
            os.write(lines.fileno(), _END.encode())
            thread.join()


def _cause(folder: Path, ended: Mapping[int, int], processes: int) -> Exception:
    """What led to the end of the ranks, by the exit codes of those that failed.

    When one fails the others lose their connection to it, or are ended by the launcher.
    """
    files = sorted(folder.glob("error-*"), key=lambda path: path.stat().st_mtime_ns)
    errors = [pickle.loads(path.read_bytes()) for path in files]
    known = [error for error in errors if isinstance(error, GraftError | OSError)]
    killed = {r: -code for r, code in ended.items() if code < 0 and code != -signal.SIGTERM}
    if known or (errors and not killed):
        return (known or errors)[0]
    number, code = min((killed or ended).items())
    how = signal.Signals(abs(code)).name if killed or code < 0 else f"exit code {code}"
    return GraftError(
        f"train: process {number} of {processes} (ranks from 0) was ended by {how}, so the others "
        "were ended too. SIGKILL mostly means too little memory. Run again: training goes on from "
        "its last epoch."
    )
