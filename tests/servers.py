"""A tracking server as `make mlflow-server` starts it, and a PostgreSQL cluster of its own."""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from conftest import ROOT

PROGRAMS = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))[-1:]
"""Debian's `initdb`, beside which the other programs are, or nothing."""
PASSWORD = "hunter2"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A tracking server with its files in `folder`; sqlite unless a backend is given."""

    def __init__(self, folder: Path, backend: str | None = None):
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        bin_folder = Path(sys.executable).parent
        variables = [f"BIN={bin_folder}", f"PORT={self.port}", f"SERVED={folder}"]
        ready = ".venv/.ready"  # as if it were old, for there may be another environment
        self._command = ["make", "-o", ready, *variables, "mlflow-server"]
        self._environment = {**os.environ, "MLFLOW_WORKERS": "2", "PGPASSWORD": PASSWORD}
        if backend:
            self._environment["BACKEND"] = backend
        self._process: subprocess.Popen | None = None

    @property
    def pid(self) -> int:
        """Of `make`, whose children are the server's processes."""
        assert self._process is not None
        return self._process.pid

    def start(self, limit: float = 60) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "server.log"
        with open(log, "ab") as file:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        give_up = time.monotonic() + limit
        while True:
            text = log.read_text
            assert self._process.poll() is None and time.monotonic() < give_up, text()
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
                return
            time.sleep(0.1)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and its workers, with SIGKILL if asked to or if it takes longer than 10 s."""
        process, self._process = self._process, None
        if process is None:
            return
        for sent in (number, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sent)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        process.wait()

    def kill(self) -> None:
        self.stop(signal.SIGKILL)


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL cluster with one empty database; its address without the password.

    It lies in a temporary folder and belongs to another user where the tests are root's, since
    PostgreSQL does not run as root.
    """
    folder = Path(tempfile.mkdtemp(prefix="graft-postgresql-", dir="/tmp"))
    user = None
    if os.getuid() == 0:
        user = next((e.pw_name for e in pwd.getpwall() if e.pw_name == "postgres"), "nobody")
        shutil.chown(folder, user)
    programs, data, port = Path(PROGRAMS[0]).parent, folder / "data", free_port()
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)

    def run(program: str, *arguments: str) -> None:
        with open(folder / "log", "ab") as log:  # the server keeps it open
            subprocess.run(
                [programs / program, *arguments],
                cwd=folder,
                user=user,
                group=pwd.getpwnam(user).pw_gid if user else None,
                extra_groups=[] if user else None,
                stdout=log,
                stderr=log,
                check=True,
            )

    try:
        authority = ["--username=me", "--auth=scram-sha-256", f"--pwfile={secret}"]
        run("initdb", "--no-sync", "--encoding=UTF8", "--locale=C", *authority, f"-D{data}")
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c fsync=off"
        options += " -c unix_socket_directories="
        run("pg_ctl", "start", "-w", "-D", str(data), "-o", options)
        try:
            yield f"postgresql://me@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "stop", "-w", "-m", "fast", "-D", str(data))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
