"""A copy of the workflow in a folder of its own, where a benchmark runs it."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent
COPIED = ("Snakefile", "workflow", "config", "profiles", "envs")


def project_in(folder: Path) -> Path:
    """Make the folder and copy the workflow's files into it; the folder."""
    folder.mkdir()
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    return folder
