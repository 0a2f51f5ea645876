"""What every script of the workflow does around the library call that is its purpose.

Reads the `snakemake` object, checks the seals of the inputs, sends what is printed to the
rule's log, turns a GraftError into one sentence, and seals the outputs.
"""

import contextlib
import json
import re
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from traceback import print_exception
from types import SimpleNamespace
from typing import Generic, TypeVar

from graft.config.stages import Stage
from graft.core import devices, files, instructions, locks, seals
from graft.core.errors import GraftError
from graft.download import digest_lock

S = TypeVar("S", bound=Stage)


class Job(Generic[S]):
    """One job. Use as `with Job(snakemake) as job:`.

    Attributes: `inputs` (role -> list of verified files), `records` (role -> list of the seals'
    contents), `files` (role -> path to write; `outputs` has them as attributes), `settings` (of the
    class `stage`, from the recipe), `wildcards`, `recipe`, `threads`, and `results`, the JSON
    object that the script leaves for the seal.
    """

    def __init__(self, snakemake, stage: type[S], *, seal: str = "seal"):
        self.recipe = snakemake.params.recipe
        self.settings = stage.model_validate(self.recipe["settings"])
        self.wildcards = self.recipe["wildcards"]
        self.threads = snakemake.threads
        self.resources = snakemake.resources
        self.results: dict = {}
        self._stage = self.recipe["stage"]
        self._seal = seal
        self._log = Path(snakemake.log[0])
        # Not `snakemake.input`, which may have the seals alone.
        self._roles = {
            role: [Path(path) for path in paths] for role, paths in self.recipe["inputs"].items()
        }
        self.files = {role: Path(path) for role, path in snakemake.output.items()}
        self.outputs = SimpleNamespace(**self.files)
        self.inputs: dict[str, list[Path]] = {}
        self.records: dict[str, list[dict]] = {}
        self._digests: dict[str, list[str]] = {}

    def __enter__(self) -> "Job[S]":
        self._began, self._started = datetime.now(UTC), time.perf_counter()
        self._stack = contextlib.ExitStack()
        log = self._stack.enter_context(open(self._log, "w", encoding="utf-8", buffering=1))
        self._stderr = sys.stderr
        self._stack.enter_context(contextlib.redirect_stdout(log))
        self._stack.enter_context(contextlib.redirect_stderr(log))
        try:
            self._stack.enter_context(locks.held(self._log.with_name(f".{self._log.stem}.lock")))
            self._check_device()
            for role, paths in self._roles.items():
                sealed = [path for path in paths if not seals.is_seal(path)]
                self.records[role], self._digests[role] = seals.check(
                    sealed, [path for path in paths if seals.is_seal(path)]
                )
                self.inputs[role] = sealed
        except GraftError as error:
            self._fail(error)
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if error is None:
            try:
                self._write_seal()
            except OSError as unsealed:
                error = unsealed
        if error is not None and files.is_disk_full(error):
            error = GraftError(
                f"{self.files[self._seal].parent}: the disk is full or a quota is reached. Make "
                "room, then run again: what is finished stays, and a training resumes."
            )
        elif error is not None and not isinstance(error, GraftError):
            print_exception(error)  # the log keeps where it happened
        if isinstance(error, OSError):
            error = GraftError(f"{error}; see to the disk and the file, then run again.")
        if isinstance(error, GraftError):
            self._fail(error)
        self._stack.close()

    def input(self, role: str) -> Path:
        """The one file that plays a role."""
        (path,) = self.inputs[role]
        return path

    def record(self, role: str) -> dict:
        """The one seal of a role."""
        (record,) = self.records[role]
        return record

    @property
    def identity(self) -> str:
        """Digest of the recipe and of the inputs' bytes."""
        return seals.identity(self.recipe, self._digests)

    def digests(self, role: str) -> list[str]:
        """The sha256 of the files that play a role, in their order."""
        return self._digests[role]

    def parameter(self, name: str) -> dict:
        """A value handed over outside the recipe, because results do not depend on it."""
        return json.loads(self.resources.get(name))

    def trust(self) -> dict[str, bool]:
        """Whether the settings' sha256 is that of the first download (`locked`), and whether a file
        without one is trusted."""
        digests = self.parameter("digests")
        locked = self.recipe["settings"]["key"] in digests["locked"]
        return {"locked": locked, "trust": digests["trust"]}

    def first_use(self, file: str, sha256: str) -> None:
        """Record the digest of a downloaded file for which the config gives none.

        On first use the outputs are sealed as if the settings had it, which is what the recipe of
        every later run says: the identity is the same, and a later run finds nothing to redo.
        """
        settings = self.recipe["settings"]
        if settings["sha256"] is None:
            entry = digest_lock.Entry(file, sha256)
            digest_lock.record(Path(digest_lock.NAME), settings["key"], entry)
            self.recipe = {**self.recipe, "settings": {**settings, "sha256": sha256}}
        elif not self.trust()["locked"]:
            return
        self.results["first_use"] = {"key": settings["key"], "file": file, "sha256": sha256}

    def _check_device(self) -> None:
        if self.recipe["settings"].get("device") == "cuda" and not devices.cuda_devices():
            raise GraftError(
                "compute.device is cuda, but this machine shows no CUDA GPU; set it to auto or "
                "cpu, or send the job where there is one."
            )

    def _write_seal(self) -> None:
        outputs = {role: path for role, path in self.files.items() if role != self._seal}
        seals.write(
            self.files[self._seal],
            outputs,
            stage=self._stage,
            recipe=self.recipe,
            inputs=self._digests,
            results=self.results,
            run={
                "started": self._began.isoformat(timespec="milliseconds"),
                "seconds": round(time.perf_counter() - self._started, 3),
                "peak_memory_mb": _peak_memory(),
                "threads": self.threads,
                "reproducible": self.recipe["settings"].get("reproducible"),
                "cpu": instructions.cpu()._asdict(),
            },
        )

    def _fail(self, error: GraftError) -> None:
        sentence = f"graft {self._stage}: {error}"
        with contextlib.suppress(OSError):  # of a log on a full disk
            print(sentence, file=sys.stderr)
            self._stack.close()
        print(sentence, file=self._stderr)
        sys.exit(1)


def _peak_memory() -> int:
    """Peak memory in MB, of several processes that of the largest.

    Linux counts in `ru_maxrss` what Snakemake had when it forked the job, and in `VmHWM` (proc(5))
    what the job's own program has had.
    """
    status = Path("/proc/self/status")
    if status.exists():
        own = int(re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)[1])
    else:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024
