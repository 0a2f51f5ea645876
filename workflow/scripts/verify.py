"""Check every artefact of the results and of the store; used by `make verify` and `make repair`."""

import argparse
import os
import sys
from pathlib import Path

from graft.reporting import verify


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--repair", action="store_true", help="remove what is damaged")
    arguments = parser.parse_args()
    store = Path(os.environ.get("SNAKEMAKE_OUTPUT_CACHE", ".store"))
    problems = list(verify.verify_results(arguments.results))
    if store.is_dir():
        problems += verify.verify_store(store)
    for problem in problems:
        print(problem.sentence)
        if arguments.repair:
            verify.remove(problem, store)
    if not problems:
        print("All files match their seals.")
    elif arguments.repair:
        print(f"{len(problems)} problem(s): the files were removed. The next run makes them again.")
    else:
        print(f"{len(problems)} problem(s). `make repair` removes the files; run again afterwards.")
    return int(bool(problems) and not arguments.repair)


if __name__ == "__main__":
    sys.exit(main())
