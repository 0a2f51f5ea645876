"""A copy of the project in a folder of its own, run through the real `snakemake` command."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
from conftest import ROOT

COPIED = ("Snakefile", "workflow", "config", "profiles", "envs")
TINY = ROOT / "tests" / "tiny.yaml"


class Project:
    """The workflow's files, a working directory and a store, all below one folder.

    overlays: config files; relative paths start from the folder.
    """

    def __init__(self, folder: Path, *, store: Path | None = None, overlays=(TINY,)):
        self.folder = folder
        self.store = store or folder / ".store"
        self.overlays = list(overlays)
        if not folder.exists():
            for name in COPIED:
                source, target = ROOT / name, folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                copy = shutil.copytree if source.is_dir() else shutil.copy2
                copy(source, target)

    def copy(self, folder: Path) -> "Project":
        """A copy with a store of its own."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder, overlays=self.overlays)

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def command(self, *arguments: str, profile: str = "default", cores: bool = True) -> list[str]:
        overlays = ["--configfile", *map(str, self.overlays)] if self.overlays else []
        return [
            str(Path(sys.executable).parent / "snakemake"),
            *arguments,
            *overlays,
            *(["--cores", "2"] if cores else []),
            *("--workflow-profile", f"profiles/{profile}"),
        ]

    def environment(self) -> dict[str, str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GRAFT_")}
        # Two jobs at once with a thread each; a spinning third would slow all down.
        return {**environment, "SNAKEMAKE_OUTPUT_CACHE": str(self.store), "OMP_NUM_THREADS": "1"}

    def snakemake(
        self,
        *arguments: str,
        check: bool = True,
        environment: dict[str, str] | None = None,
        **options,
    ) -> str:
        """Run, with more environment variables, and return what was printed."""
        done = subprocess.run(
            self.command(*arguments, **options),
            cwd=self.folder,
            env={**self.environment(), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(done.stdout[-6000:])
        if not check:
            assert done.returncode, "this run was expected to fail"
        return done.stdout

    def forked(
        self,
        *arguments: str,
        check: bool = True,
        environment: dict[str, str] | None = None,
        **options,
    ) -> str:
        """As `snakemake`, in a process that has made the command's imports already."""
        output = self.folder / ".output"
        command = self.command(*arguments, **options)[1:]
        variables = {**self.environment(), **(environment or {})}
        ended = forked.snakemake(command, self.folder, variables, output)
        printed = output.read_text()
        assert check is (ended == 0), printed[-6000:]
        return printed

    def dry_run(self, *arguments: str, **options) -> str:
        return self.forked("--dry-run", *arguments, **options)

    def kill_at(self, pattern: str, *arguments: str, limit: float = 120) -> None:
        """Start a run and kill it, jobs and all, as soon as a file of the results matches."""
        running = subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            give_up = time.monotonic() + limit
            while not list(self.results.glob(pattern)):
                assert running.poll() is None, "the run ended before it could be killed"
                assert time.monotonic() < give_up, "the run never got to where it is to be killed"
                time.sleep(0.02)
        finally:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        self.snakemake("--unlock")


def planned(dry_run: str) -> dict[str, int]:
    """Job counts by rule from a dry run's closing table."""
    table = dry_run[dry_run.rindex("Job stats:") :] if "Job stats:" in dry_run else ""
    return {
        rule: int(count)
        for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)
        if rule not in ("total", "all")
    }


def because(dry_run: str, words: str) -> set[str]:
    """The rules of which a job is to be run for a reason that contains these words."""
    jobs = re.findall(r"^(?:local)?rule (\w+):\n(.*?)(?=^\[|\Z)", dry_run, re.MULTILINE | re.DOTALL)
    return {rule for rule, text in jobs if words in text.split("reason:", 1)[-1].split("\n")[0]}


def executed(log: str) -> list[str]:
    """The rules that were really run, not taken from the store."""
    return re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", log)


def files(folder: Path, *patterns: str) -> dict[str, bytes]:
    """Relative path -> bytes of the files that match."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for pattern in patterns
        for path in sorted(folder.glob(pattern))
    }
