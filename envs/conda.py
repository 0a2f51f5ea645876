"""Write the conda environment that `snakemake --software-deployment-method conda` uses.

It holds the same pins as the lock, one for one, so both ways of deployment run the same code.
"""

import re
import sys
from pathlib import Path

HEAD = """\
# Made from graft.lock by `make lock`; do not edit.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python >=3.11,<3.13
  - pip
  - pip:
"""


def environment(lock: str) -> str:
    """The YAML text for a lock's text; hashes and comments are left out."""
    pins = re.findall(r"^([A-Za-z0-9][^\s;\\]*==[^\s;\\]+)((?: ;[^\\\n]+)?)", lock, re.MULTILINE)
    lines = [f'      - "{pin}{marker.rstrip()}"' for pin, marker in pins]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    source, destination = map(Path, sys.argv[1:])
    destination.write_text(environment(source.read_text(encoding="utf-8")), encoding="utf-8")
