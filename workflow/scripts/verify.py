"""Check every artefact of the results and of the store; used by `make verify` and `make repair`.

What is whole may still be stale: `make verify` asks Snakemake too which artefacts the config, the
code and the inputs of today would change. Arguments that are not listed here go to Snakemake.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from graft.core.errors import GraftError
from graft.reporting import verify


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("--repair", action="store_true", help="remove what is damaged")
    arguments, others = parser.parse_known_args()
    store = Path(os.environ.get("SNAKEMAKE_OUTPUT_CACHE", ".store"))
    problems = list(verify.verify_results(arguments.results))
    if store.is_dir():
        problems += verify.verify_store(store)
    for problem in problems:
        print(problem.sentence)
        if arguments.repair:
            verify.remove(problem, store)
    if problems and arguments.repair:
        print(f"{len(problems)} problem(s): the files were removed. The next run makes them again.")
        return 0
    if problems:
        print(f"{len(problems)} problem(s). `make repair` removes the files; run again afterwards.")
        return 1
    print("All files match their seals.")
    return 0 if arguments.repair else _report_stale(others)


def _report_stale(arguments: list[str]) -> int:
    try:
        stale = list(_stale(arguments))
    except GraftError as error:
        print(error)
        return 1
    for file, status in stale:
        print(f"{file}: {status}.")
    if stale:
        print(f"{len(stale)} file(s) are not what a run would give now. Run again.")
    else:
        print("All are what the config, the code and the inputs give.")
    return int(bool(stale))


def _stale(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) of the files that the next run would make again."""
    command = [sys.executable, "-m", "snakemake", "--summary", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GraftError(done.stderr.strip())
    for line in done.stdout.splitlines()[1:]:
        file, _, _, _, status, plan = line.split("\t")
        if plan == "update pending":
            yield file, "its inputs are to be made again" if status == "ok" else status


if __name__ == "__main__":
    sys.exit(main())
