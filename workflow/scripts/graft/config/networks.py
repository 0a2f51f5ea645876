"""What is known of a network before anything runs: its cuts, its input, its published weights.

A network has to be built and recorded for that (see `models.describe`), which takes torch and some
seconds. So another process does it, once for a network, and what it prints is kept on disk.
"""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from graft.core.errors import GraftError
from graft.core.files import atomic, digest

SCRIPTS = Path(__file__).parents[2]
MEMORY = Path(".snakemake", "graft", "networks")
"""Where descriptions are kept; they may be lost."""


class Described(NamedTuple):
    """A network.

    blocks: the names of its blocks. cuts: by the name of each module that it can be cut behind,
    the name of the cut. after_weights: the cuts behind which there are no weights. transform: the
    input that its weights were trained with, as keys of a source's `transform`.
    """

    blocks: list[str]
    cuts: dict[str, str]
    after_weights: list[str]
    transform: dict[str, int | float | str | list[float]]


@cache
def described(architecture: str, weights: str | None = None) -> Described:
    """The description of an architecture, with the input of torchvision's `weights` of that name.

    Raises GraftError if there is no such network, or if it cannot be cut.
    """
    return Described(**_asked(architecture, *([] if weights is None else [weights])))


@cache
def values(backbone: str, side: int, cut: str) -> int:
    """How many values a picture of `side` pixels has at a cut of a backbone (its settings, JSON).

    Raises GraftError if there are none.
    """
    keys = {"backbone": json.loads(backbone), "side": side, "cut": cut}
    return _asked(json.dumps(keys))


def _asked(*asked: str) -> Any:
    """What `models.describe` prints of a network, or printed before."""
    lock = SCRIPTS.parents[1] / "envs" / "graft.lock"
    read = (*sorted((SCRIPTS / "graft" / "models").glob("*.py")), lock)
    versions = [path.read_text(encoding="utf-8") for path in read]
    kept = MEMORY / f"{digest([*asked, versions])}.json"
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "graft.models.describe", *asked]
    done = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it ended without a message"]
        raise GraftError(lines[-1])
    with atomic(kept) as temporary:
        temporary.write_text(done.stdout, encoding="utf-8")
    return json.loads(done.stdout)
