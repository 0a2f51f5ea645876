"""Check every artefact of the results and of the store; used by `make verify` and `make repair`."""

import argparse
import itertools
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
    found = verify.verify_results(arguments.results)
    if store.is_dir():
        found = itertools.chain(found, verify.verify_store(store))
    problems = list(found)
    for problem in problems:
        print(problem.sentence)
        if arguments.repair:
            verify.remove(problem, store)
    verb = "found; `make repair` removes them, and the next run makes them anew"
    if arguments.repair:
        verb = "removed; run again to make them anew"
    print(f"{len(problems)} problem(s) {verb}" if problems else "everything is as it was sealed")
    return int(bool(problems) and not arguments.repair)


if __name__ == "__main__":
    sys.exit(main())
