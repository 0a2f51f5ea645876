"""Write the conda environment that `snakemake --software-deployment-method conda` uses.

It holds the same pins as the lock, one for one, so both ways of deployment run the same code. pip,
which installs them there, has no overrides: it would refuse what asks for other versions than the
pinned ones. Snakemake runs the script beside the environment afterwards, which installs that alone.
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
OVERRIDDEN = ("facenet-pytorch",)
"""Packages for whose sake pyproject.toml has `override-dependencies`."""
DEPLOY = """\
#!/bin/sh
# Made from graft.lock by `make lock`; do not edit.
# What asks for other versions than the pinned ones (`override-dependencies` in pyproject.toml).
set -e
python -m pip install --no-input --no-deps --require-hashes --requirement /dev/stdin <<'END'
{requirements}END
"""


def environment(lock: str) -> str:
    """The YAML text for a lock's text; hashes and comments are left out."""
    pins = re.findall(r"^([A-Za-z0-9][^\s;\\]*==[^\s;\\]+)((?: ;[^\\\n]+)?)", lock, re.MULTILINE)
    lines = [
        f'      - "{pin}{marker.rstrip()}"'
        for pin, marker in pins
        if pin.split("==")[0] not in OVERRIDDEN
    ]
    return HEAD + "\n".join(lines) + "\n"


def post_deploy(lock: str) -> str:
    """The script that Snakemake runs in the new environment."""
    found = [
        re.search(rf"^{name}==.*\n(?: +--hash=.*\n)+", lock, re.MULTILINE) for name in OVERRIDDEN
    ]
    return DEPLOY.format(requirements="".join(match.group() for match in found if match))


if __name__ == "__main__":
    source, destination = map(Path, sys.argv[1:])
    text = source.read_text(encoding="utf-8")
    destination.write_text(environment(text), encoding="utf-8")
    destination.with_suffix(".post-deploy.sh").write_text(post_deploy(text), encoding="utf-8")
