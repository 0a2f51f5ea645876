"""Kill a run at random points, resume it each time, and compare the end with an undisturbed run.

    python benchmarks/kills.py --kills 20 --seed 0

runs the default configuration (or that of --configfile) twice in new folders with empty stores:
once undisturbed, once killed with SIGKILL. Half of the kills hit the workflow and its jobs, the
other half the workflow alone, whose jobs live on. Exits with 1 if any result differs.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from projects import project_in

ROOT = Path(__file__).parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--configfile", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="graft-kills-") as folder:
        whole, killed = (project_in(Path(folder) / name) for name in ("whole", "killed"))
        started = time.monotonic()
        assert _run(whole, arguments.configfile).wait() == 0
        seconds = time.monotonic() - started
        print(f"undisturbed: {seconds:.0f} s", flush=True)
        draw = random.Random(arguments.seed)
        for number in range(1, arguments.kills + 1):
            # Together less than an undisturbed run, so that the run does not end before.
            after = draw.uniform(1, 1.3 * seconds / arguments.kills)
            alone = draw.random() < 0.5
            print(f"kill {number:>2} after {after:5.1f} s: ", end="")
            print("the workflow alone" if alone else "the workflow and its jobs", flush=True)
            _kill(killed, arguments.configfile, after, alone=alone)
        _finish(killed, arguments.configfile)
        same = [sys.executable, ROOT / "workflow/scripts/same.py"]
        folders = ["whole/results", "killed/results"]
        return subprocess.run([*same, *folders], cwd=folder, check=False).returncode


def _run(folder: Path, configfile: Path | None, *arguments: str) -> subprocess.Popen:
    """Start the workflow, in a process group of its own."""
    overlay = ["--configfile", str(configfile.absolute())] if configfile else []
    snakemake = str(Path(sys.executable).parent / "snakemake")
    with open(folder / "output.txt", "a", encoding="utf-8") as output:
        return subprocess.Popen(
            [snakemake, *arguments, "--cores", "2", *overlay],
            cwd=folder,
            env={**os.environ, "SNAKEMAKE_OUTPUT_CACHE": str(folder / ".store")},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _kill(folder: Path, configfile: Path | None, after: float, *, alone: bool) -> None:
    """Run for some seconds, then kill, and unlock."""
    running = _run(folder, configfile)
    try:
        status = running.wait(after)
    except subprocess.TimeoutExpired:
        (os.kill if alone else os.killpg)(running.pid, signal.SIGKILL)
        running.wait()
        _run(folder, configfile, "--unlock").wait()
        return
    assert status, "the run ended before it could be killed: ask for fewer kills"
    _wait_for_survivors(folder)
    _kill(folder, configfile, after, alone=alone)


def _finish(folder: Path, configfile: Path | None) -> None:
    while _run(folder, configfile).wait():
        _wait_for_survivors(folder)


def _wait_for_survivors(folder: Path) -> None:
    """A run has failed: because jobs of a killed one live on, or the benchmark fails."""
    output = (folder / "output.txt").read_text(encoding="utf-8")
    reason = "is still running this job" in output[output.rindex("Building DAG of jobs") :]
    assert reason, output[-4000:]
    print("         a job of the killed workflow is still running: waiting for it", flush=True)
    time.sleep(5)


if __name__ == "__main__":
    sys.exit(main())
