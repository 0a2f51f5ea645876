"""A Slurm cluster of two nodes on this machine's loopback, without systemd, for tests.

It needs root, and Debian's packages slurm-wlm and munge. Everything it writes is below one folder.
The nodes are `vn1` and `vn2`, each with one processor and 32 GB as far as Slurm is concerned;
`vn1` is also the partition `gpu`, with a stand-in for a GPU. There is no accounting, as on many
small clusters; finished jobs are listed in `jobs()`.
"""

import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
NODES, PROCESSORS, MEMORY = 2, 1, 32000

CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobs.txt
MinJobAge=3600
KillWait=2
InactiveLimit=0
ReturnToService=2
GresTypes=gpu
NodeName=vn[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] \
CPUs={processors} RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=1440 State=UP OverSubscribe=NO
PartitionName=gpu Nodes=vn1 Default=NO MaxTime=1440 State=UP
"""


def missing() -> str | None:
    """Why no cluster can be started here, if so."""
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)} (Debian: slurm-wlm munge)" if absent else None


class Cluster:
    """A running cluster. `environment` has what its commands need."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("etc", "log", "run", "state", "munge", "bin"):
            (folder / name).mkdir(parents=True)
        for part in (folder, *folder.iterdir()):
            part.chmod(0o755)
        (folder / "munge/munge.key").write_bytes(secrets.token_bytes(128))
        (folder / "munge/munge.key").chmod(0o600)
        ports = _free_ports(NODES + 1)
        text = CONFIGURATION.format(
            folder=folder,
            host=socket.gethostname().partition(".")[0],
            nodes=NODES,
            processors=PROCESSORS,
            memory=MEMORY,
            port=ports[0],
            first=ports[1],
            last=ports[-1],
        )
        self.configuration = folder / "etc/slurm.conf"
        self.configuration.write_text(text)
        (folder / "etc/gres.conf").write_text("Name=gpu File=/dev/zero\n")
        (folder / "etc/cgroup.conf").write_text("CgroupAutomount=no\n")
        # Snakemake's executor takes SLURM_CONF out of a job's environment.
        srun = folder / "bin/srun"
        srun.write_text(f'#!/bin/sh\nexec env SLURM_CONF={self.configuration} /usr/bin/srun "$@"\n')
        srun.chmod(0o755)
        self.environment = {
            "SLURM_CONF": str(self.configuration),
            "PATH": f"{srun.parent}:{os.environ['PATH']}",
        }

    def __enter__(self) -> "Cluster":
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._stop()

    def _start(self) -> None:
        munge = {"key-file": "munge/munge.key", "seed-file": "munge/seed"} | {
            "socket": "run/munge.sock",
            "pid-file": "run/munged.pid",
            "log-file": "log/munged.log",
        }
        options = [f"--{name}={self.folder / path}" for name, path in munge.items()]
        self.run("munged", "--force", "--num-threads=2", *options)
        self.run("slurmctld", "-c", "-f", str(self.configuration))
        for node in range(1, NODES + 1):
            (self.folder / f"spool.vn{node}").mkdir()
            self.run("slurmd", "-f", str(self.configuration), "-N", f"vn{node}")
        give_up = time.monotonic() + 30
        while len(set(self.run("sinfo", "-hN", "-t", "idle", "-o", "%N").split())) < NODES:
            assert time.monotonic() < give_up, (self.folder / "log/slurmctld.log").read_text()
            time.sleep(0.1)

    def _stop(self) -> None:
        self.run("scancel", "--user=root", check=False)
        for file in (*self.folder.glob("run/slurmd.*.pid"), *self.folder.glob("run/slurmctld.pid")):
            self._end(file)
        self._end(self.folder / "run/munged.pid")

    def _end(self, file: Path) -> None:
        if not file.exists() or not file.read_text().strip():
            return
        process = int(file.read_text())
        with_it = Path(f"/proc/{process}")
        if with_it.exists():
            os.kill(process, 15)
        give_up = time.monotonic() + 10
        while with_it.exists() and time.monotonic() < give_up:
            time.sleep(0.05)

    def run(self, *command: str, check: bool = True) -> str:
        """The output of one of Slurm's commands."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """The jobs that have ended, in that order, with the fields of Slurm's own list."""
        file = self.folder / "log/jobs.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines]

    def queued(self) -> list[str]:
        """The numbers of the jobs that wait or run."""
        return self.run("squeue", "-h", "-o", "%A").split()


def _free_ports(number: int) -> list[int]:
    """Ports in a row, free on loopback."""
    for first in range(26817, 60000, 50):
        sockets = []
        try:
            for port in range(first, first + number):
                sockets.append(socket.create_server(("127.0.0.1", port)))
            return list(range(first, first + number))
        except OSError:
            continue
        finally:
            for each in sockets:
                each.close()
    raise AssertionError("no free ports")
