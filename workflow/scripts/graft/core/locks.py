"""Locks between processes: a job may survive its workflow, and two must not write one output."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from graft.core.errors import GraftError


@contextlib.contextmanager
def held(path: str | os.PathLike) -> Iterator[None]:
    """Hold the lock of a file for the block; the operating system frees it when the process ends.

    The file remains; it names the process that last held the lock. Raises GraftError if another
    process holds it. On a file system without locks the block runs without one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise GraftError(
                f"{path}: {holder} is still running this job. Wait until it has ended or end it, "
                "then run again."
            ) from None
        except OSError:
            pass
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
