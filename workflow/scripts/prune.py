"""Free disk space: remove what the present config does not refer to (`make prune`).

    prune.py [--yes] [-- SNAKEMAKE ARGUMENTS]     e.g. -- --configfile config/my_photos.yaml

Results of experiments, sizes, sources and data sets that the config does not name, and what of the
store no other result links to: results of other settings, such as those before a changed rate,
stay there until then. Logs, predictions, MLflow's records and `downloads/` are left alone. What the
runs beside this one (`runs/NAME`) link to stays. Other folders that share the store make their
results again when they are next asked for.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from graft.core import store

RESULTS = Path("results")
FOLDERS = ("data", "sources", "features", "experiments", "overviews")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    arguments, others = parser.parse_known_args()
    folder = Path(os.environ.get("SNAKEMAKE_OUTPUT_CACHE", ".store"))
    listed = current([argument for argument in others if argument != "--"])
    if listed is None:
        return 1
    left = leftovers(listed)
    used = [RESULTS, *neighbours(folder)]
    entries = list(store.unreferenced(used, folder, without=left)) if folder.is_dir() else []
    if not left and not entries:
        print("Everything is in use. Nothing to remove.")
        return 0
    for place in sorted({path.parent for path in left}):
        print(f"  {place}: not in the config")
    size = sum(path.lstat().st_size for entry in [*entries, *left] for path in _files(entry))
    print(
        f"{len(left)} results that the config does not name, and {len(entries)} entries of "
        f"{folder} that no other result links to: {size / 1e6:.1f} MB."
    )
    if entries and folder.resolve().parent != Path.cwd():
        print("Other folders may use this store: they would make these results again.")
    if not arguments.yes and input("Remove them? [y/N] ").strip().lower() not in ("y", "yes"):
        print("Nothing was removed.")
        return 1
    for path in [*entries, *left]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    _remove_empty(left)
    print("Removed.")
    return 0


def neighbours(folder: Path) -> list[Path]:
    """The results beside the store and in `runs/` there, but for those of this folder."""
    home = folder.resolve().parent
    return [
        results
        for results in (home / "results", *sorted(home.glob("runs/*/results")))
        if results.is_dir() and results.resolve() != RESULTS.resolve()
    ]


def current(arguments: list[str]) -> set[Path] | None:
    """The files that the present config makes; None, after a message, if it cannot be read."""
    command = [sys.executable, "-m", "snakemake", "--summary", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
        return None
    return {Path(line.split("\t")[0]) for line in done.stdout.splitlines()[1:]}


def leftovers(listed: set[Path]) -> set[Path]:
    """Results that are not among the files `listed`; an exported model belongs to its run."""
    runs = {path.parent for path in listed if path.name == "model.safetensors"}
    return {
        path
        for folder in FOLDERS
        for path in (RESULTS / folder).rglob("*")
        if (path.is_symlink() or path.is_file())
        and path not in listed
        and not (path.parent in runs and path.name.startswith("model.onnx"))
        and ".part" not in path.name
    }


def _remove_empty(removed: Iterable[Path]) -> None:
    """Remove the folders that are empty now."""
    for path in removed:
        for folder in path.parents:
            if folder in (RESULTS, *(RESULTS / name for name in FOLDERS)) or not folder.is_dir():
                break
            if any(folder.iterdir()):
                break
            folder.rmdir()


def _files(entry: Path) -> list[Path]:
    return [entry, *entry.rglob("*")] if entry.is_dir() and not entry.is_symlink() else [entry]


if __name__ == "__main__":
    sys.exit(main())
