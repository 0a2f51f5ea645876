"""Free disk space: remove from the store what no result of this folder links to (`make prune`).

Results of other settings, such as those before a changed rate, stay in the store until then. In a
store that other folders share their results are made again when they are next asked for.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

from graft.core import store


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    arguments = parser.parse_args()
    folder = Path(os.environ.get("SNAKEMAKE_OUTPUT_CACHE", ".store"))
    if not folder.is_dir():
        print(f"{folder}: there is no store. Nothing to remove.")
        return 0
    entries = list(store.unreferenced(Path("results"), folder))
    if not entries:
        print(f"{folder}: every entry is in use. Nothing to remove.")
        return 0
    size = sum(path.lstat().st_size for entry in entries for path in _files(entry))
    print(f"{folder}: no result links to {len(entries)} entries, {size / 1e6:.1f} MB.")
    if folder.resolve().parent != Path.cwd():
        print("Other folders may use this store: they would make these results again.")
    if not arguments.yes and input("Remove them? [y/N] ").strip().lower() not in ("y", "yes"):
        print("Nothing was removed.")
        return 1
    for entry in entries:
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    print("Removed.")
    return 0


def _files(entry: Path) -> list[Path]:
    return [entry, *entry.rglob("*")] if entry.is_dir() else [entry]


if __name__ == "__main__":
    sys.exit(main())
