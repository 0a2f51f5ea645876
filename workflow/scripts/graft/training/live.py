"""Metrics of each epoch, handed to a process that records them on a tracking server.

That process (`graft.reporting.live`) imports MLflow and waits for the server, so neither can slow a
training or change what it computes, and the recipe of a training names no code of the tracking.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

SCRIPTS = Path(__file__).parents[2]
PATIENCE = 5.0
"""Seconds that the end of a training waits for rows that are still on their way."""


class Live:
    """The way to the process that records.

    Nothing here raises, and nothing waits except the end, for `PATIENCE`. As a context manager it
    closes itself. What the other process has to say goes to standard error.

    server: `tracking_uri` and `name`, the MLflow experiment; None: nothing is recorded.
    experiment, mode, seed, recipe: what is trained, and the digest of the recipe.
    """

    def __init__(
        self,
        server: Mapping[str, str] | None,
        *,
        experiment: str,
        mode: str,
        seed: int,
        recipe: str,
    ):
        self._process: subprocess.Popen | None = None
        if server is None:
            return
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "graft.reporting.live"],
                cwd=SCRIPTS,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=sys.stderr,
                stderr=subprocess.DEVNULL,
            )
            if self._process.stdin is not None:
                os.set_blocking(self._process.stdin.fileno(), False)
        about = {"experiment": experiment, "mode": mode, "seed": seed, "recipe": recipe}
        self._send({**server, **about})

    def log_epoch(self, step: int, metrics: Mapping) -> None:
        """Hand over the numbers of one epoch. What is no number is not recorded."""
        self._send({"step": step, "time": time.time(), "metrics": dict(metrics)})

    def close(self, status: str = "FINISHED") -> None:
        """Have the run marked as `FINISHED` or `FAILED`, and hand over nothing more."""
        self._send({"status": status, "time": time.time()})
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            print(
                "warning: mlflow.tracking_uri: the server did not take all live metrics in time. "
                "`track` records the training.",
                file=sys.stderr,
            )

    def _send(self, row: Mapping) -> None:
        """A line of JSON; it is lost where the process has ended or is stopped."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, TypeError, ValueError):
                self._process.stdin.write(json.dumps(row, default=float).encode() + b"\n")

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.close("FINISHED" if kind is None else "FAILED")
