"""A run that grows while a model is trained: `python -m graft.reporting.live`.

Reads lines of JSON from standard input, which `graft.training.live` writes: first what is trained,
then a row for each epoch, then how it ended. The run is the child run of the recipe, which
`track.record` completes. Rows that wait while the server answers are sent together. If the server
fails, one line says so and the process ends; the training does not notice.
"""

import contextlib
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any, TextIO

from graft.reporting.runs import Runs, finite, milliseconds, mlflow_module, reason, without_secrets

Rows = queue.SimpleQueue[dict[str, Any]]

RETRIES, TIMEOUT = "4", "10"
"""Of a request, unless the environment says otherwise: half a minute in all if the server is
restarted, and seconds for each try if it does not answer."""


def main(lines: Iterable[str] = sys.stdin, out: TextIO = sys.stdout) -> None:
    """Record what the lines say. Never raises; a server that fails costs one line."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", TIMEOUT)
    rows: Rows = queue.SimpleQueue()
    threading.Thread(target=_read, args=(lines, rows), daemon=True).start()
    about = rows.get()
    try:
        record(rows, **about)
    except Exception as error:  # no error of MLflow concerns the training
        print(
            f"warning: mlflow.tracking_uri: {without_secrets(about.get('tracking_uri', ''))} does "
            f"not accept live metrics ({reason(error)}). Training continues without them, and "
            "`track` records it.",
            file=out,
            flush=True,
        )


def record(
    rows: Rows,
    *,
    tracking_uri: str,
    experiment: str,
    mode: str,
    seed: int,
    recipe: str,
    name: str = "graft",
) -> str:
    """Find or make the child run of a recipe, and its parent, and add rows until one has a status.

    A run of the same recipe goes on, as after a training that was killed; steps that were logged
    before stay as they are. `name` is the MLflow experiment. Returns the run's id.
    """
    runs = Runs(tracking_uri, name=name)
    top, *variant = experiment.split("/")
    parent = runs.parent(top).info.run_id
    run = runs.child(top, "/".join([*variant, mode, str(seed)]), recipe, parent)
    run_id = run.info.run_id
    if run.info.status != "RUNNING":
        runs.client.update_run(run_id, "RUNNING")
    known = {metric: runs.steps(run, metric) for metric in run.data.metrics}
    while True:
        waiting = _waiting(rows)
        metrics = []
        for row in waiting:
            for metric, value in finite(row.get("metrics", {})).items():
                if row["step"] not in known.setdefault(metric, set()):
                    known[metric].add(row["step"])
                    entry = (metric, value, milliseconds(row["time"]), row["step"])
                    metrics.append(mlflow_module().entities.Metric(*entry))
        if metrics:
            runs.client.log_batch(run_id, metrics=metrics)
        if "status" in waiting[-1]:
            ended = milliseconds(waiting[-1]["time"])
            runs.client.set_terminated(run_id, waiting[-1]["status"], ended)
            return run_id


def _waiting(rows: Rows) -> list[dict[str, Any]]:
    """The rows that have come: at least one, and none after one with a status."""
    waiting = [rows.get()]
    with contextlib.suppress(queue.Empty):
        while "status" not in waiting[-1]:
            waiting.append(rows.get_nowait())
    return waiting


def _read(lines: Iterable[str], rows: Rows) -> None:
    """Lines that end without a status are those of a training that was killed."""
    for line in lines:
        with contextlib.suppress(ValueError):  # a line that was cut off
            rows.put(json.loads(line))
    rows.put({"status": "KILLED", "time": time.time()})


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training's end is this one's too
    os.nice(10)
    logging.disable()
    main()
