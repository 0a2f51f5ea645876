"""Run in the modes `portable` and `fast`, and compare the bytes.

    python benchmarks/portable.py --configfile tests/tiny.yaml

runs the default configuration (or that of --configfile) three times, in new folders with empty
stores:

- `portable`: as this machine is;
- `other`: `portable` on one core, while the C library is kept from AVX-512, to emulate another CPU
  as far as one machine can (the other libraries ask the CPU itself);
- `fast`: with all instructions of this CPU.

The last two are compared with the first, raw tars included. Exits with 1 if `other` differs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from projects import ROOT, project_in  # noqa: E402

NARROW = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512CD,-AVX512DQ"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configfile", type=Path)
    arguments = parser.parse_args()
    overlays = [arguments.configfile.absolute()] if arguments.configfile else []
    with tempfile.TemporaryDirectory(prefix="graft-portable-") as name:
        folder = Path(name)
        _run(folder / "portable", overlays, "portable")
        one_core = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))]
        _run(folder / "other", overlays, "portable", one_core, {"GLIBC_TUNABLES": NARROW})
        _run(folder / "fast", overlays, "fast")
        differs = {}
        for other in ("other", "fast"):
            print(f"\nportable and {other}:", flush=True)
            same = [sys.executable, str(ROOT / "workflow/scripts/same.py")]
            folders = ["portable/results", f"{other}/results"]
            differs[other] = subprocess.run([*same, *folders], cwd=folder, check=False).returncode
    return differs["other"]


def _run(
    folder: Path,
    overlays: list[Path],
    mode: str,
    prefix: Sequence[str] = (),
    variables: Mapping[str, str] = {},
) -> None:
    """Run the workflow to its end in a new folder, behind a command and with variables."""
    project_in(folder)
    overlay = folder / "mode.yaml"
    overlay.write_text(f"compute: {{reproducible: {mode}, device: cpu}}\n", encoding="utf-8")
    snakemake = str(Path(sys.executable).parent / "snakemake")
    command = [*prefix, snakemake, "--cores", "2", "--configfile"]
    started = time.monotonic()
    with open(folder / "output.txt", "w", encoding="utf-8") as output:
        done = subprocess.run(
            [*command, *map(str, overlays), str(overlay)],
            cwd=folder,
            env={**os.environ, **variables, "SNAKEMAKE_OUTPUT_CACHE": str(folder / ".store")},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        sys.exit((folder / "output.txt").read_text(encoding="utf-8")[-4000:])
    print(f"{folder.name}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
