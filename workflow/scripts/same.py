"""Compare two results folders: which artefacts are byte-equal, but for recipes in HDF5 files.

    python workflow/scripts/same.py results ../elsewhere/results

Compared are raw tars, data_file.csv, crops, packs, features, sources, models, histories and
predictions that both folders hold. Exits with 1 if one differs, or if there is nothing to compare.
"""

import argparse
import sys
from pathlib import Path

from graft.core.files import by_number
from graft.reporting.artefacts import PATTERNS, digest


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    arguments = parser.parse_args()
    compared = differing = 0
    for pattern in PATTERNS:
        equal, different, alone = 0, [], 0
        for path in sorted(arguments.first.glob(pattern), key=by_number):
            relative = path.relative_to(arguments.first)
            other = arguments.second / relative
            if not other.exists():
                alone += 1
            elif digest(path) == digest(other):
                equal += 1
            else:
                different.append(str(relative))
        print(f"{pattern:<40} {equal:>4} equal {len(different):>4} different {alone:>4} alone")
        for name in different:
            print(f"    differs: {name}")
        compared, differing = compared + equal + len(different), differing + len(different)
    return int(differing > 0 or compared == 0)


if __name__ == "__main__":
    sys.exit(main())
