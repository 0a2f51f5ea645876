"""Compare two results folders: which artefacts are byte-equal, but for recipes in HDF5 files.

    python workflow/scripts/same.py results ../elsewhere/results

Compared are raw tars, data_file.csv, crops, packs, features, sources, models, histories and
predictions that both folders hold. Exits with 1 if one differs, or if there is nothing to compare.
"""

import argparse
import filecmp
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py

PATTERNS = (
    "data/*/raw/*.tar",
    "data/*/data_file.csv",
    "data/*/crops/*.h5",
    "data/*/packs/*.h5",
    "sources/*.safetensors",
    "features/**/*.h5",
    "experiments/*/*/*/model.safetensors",
    "experiments/*/*/*/history.csv",
    "experiments/*/*/*/predictions.csv",
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--renamed", default="", help="OLD=NEW: a folder's name in the second one")
    arguments = parser.parse_args()
    old, _, new = arguments.renamed.partition("=")
    compared = differing = 0
    for pattern in PATTERNS:
        equal, different, alone = 0, [], 0
        for path in sorted(arguments.first.glob(pattern)):
            relative = path.relative_to(arguments.first)
            parts = [new if old and part == old else part for part in relative.parts]
            other = arguments.second.joinpath(*parts)
            if not other.exists():
                alone += 1
            elif same(path, other):
                equal += 1
            else:
                different.append(str(relative))
        print(f"{pattern:<40} {equal:>4} equal {len(different):>4} different {alone:>4} alone")
        for name in different:
            print(f"    differs: {name}")
        compared, differing = compared + equal + len(different), differing + len(different)
    return int(differing > 0 or compared == 0)


def same(first: Path, second: Path) -> bool:
    """Whether two files have the same bytes; of HDF5 files the attribute `recipe` may differ."""
    if first.suffix != ".h5":
        return filecmp.cmp(first, second, shallow=False)
    with h5py.File(first, "r") as one, h5py.File(second, "r") as other:
        return list(contents(one)) == list(contents(other))


def contents(file: h5py.File) -> Iterator[tuple[str, str, bytes]]:
    """(name, type and shape, bytes) of every attribute and array of a file."""
    for name, value in sorted(file.attrs.items()):
        if name != "recipe":
            yield name, str(type(value)), str(value).encode()
    for name, dataset in sorted(file.items()):
        yield name, f"{dataset.dtype} {dataset.shape}", dataset[...].tobytes()


if __name__ == "__main__":
    sys.exit(main())
