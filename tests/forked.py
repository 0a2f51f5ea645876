"""The `snakemake` command in a process that has made its imports already: a second less each."""

import multiprocessing
import os
import sys
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["snakemake.cli"])


def snakemake(
    arguments: list[str], folder: Path, environment: dict[str, str], output: Path
) -> int | None:
    """Run in `folder` with exactly this environment; its exit status, all it prints in `output`."""
    process = SERVER.Process(target=_main, args=(arguments, folder, environment, output))
    process.start()
    process.join()
    return process.exitcode


def _main(arguments: list[str], folder: Path, environment: dict[str, str], output: Path) -> None:
    with open(output, "wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv[1:] = arguments
    from snakemake.cli import main  # noqa: PLC0415

    main(arguments)
