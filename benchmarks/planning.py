"""How long Snakemake takes to plan a run, by the numbers of parts and experiments.

    make bench-planning                       # or python benchmarks/planning.py --help

Each row is a data set in so many parts (90 % train, 5 % val, 5 % test) and so many experiments on
it, each of `--modes` and `--seeds`, planned by `snakemake --dry-run` in a new folder, where nothing
exists; nothing is computed. `again` is the same command when everything exists: stand-ins with
seals are written for all outputs. `files` are input files over all jobs, which Snakemake handles
one by one. `graft` is the share of a plan, by cProfile, that is spent in this project's own
functions and what they call; the rest is Snakemake's.
"""

import argparse
import contextlib
import cProfile
import os
import pstats
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from projects import project_in

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "workflow" / "scripts"
QUIET = ("--dry-run", "--quiet", "rules", "progress", "--cores", "1", "--configfile", "plan.yaml")
PLAN, STAND_IN, PROFILE = "--plan", "--write-stand-ins", "--profile"


def overlay(parts: int, experiments: int, modes: list[str], seeds: int) -> dict[str, Any]:
    """A config of so many parts and experiments; the data set is drawn, its source too."""
    rest = max(1, parts // 20)
    names = [f"e{number:03d}" for number in range(experiments)]
    return {
        "run": names,
        "compute": {"device": "cpu"},
        "datasets": {
            "portraits": {"shards": {"train": max(1, parts - 2 * rest), "val": rest, "test": rest}}
        },
        "experiments": {
            name: {
                "dataset": "portraits",
                "source": "portraits_identity",
                "modes": modes,
                "seeds": list(range(seeds)),
            }
            for name in names
        },
    }


def configured(folder: Path, config: dict[str, Any]) -> Path:
    """A project whose overlay `plan.yaml` is the config."""
    project_in(folder)
    (folder / "plan.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def planned(project: Path, *command: str) -> tuple[float, str]:
    """Seconds of a core that a command takes in a project, and what it printed.

    A plan has one thread: without other work on the machine its time is the same.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GRAFT_")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env={**environment, "SNAKEMAKE_OUTPUT_CACHE": str(project / ".store")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout[-4000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, done.stdout


def plan(project: Path, repeats: int) -> tuple[float, int]:
    """The shortest of some plans in seconds, and the number of jobs that are to be run."""
    found = [planned(project, here(), PLAN) for _ in range(repeats)]
    return min(seconds for seconds, _ in found), int(re.search(r"jobs (\d+)", found[0][1])[1])


def here() -> str:
    return str(Path(__file__).absolute())


def count_jobs() -> None:
    """Plan in the working directory."""
    from snakemake.cli import main
    from snakemake.dag import DAG

    postprocess = DAG.postprocess

    async def counted(dag: Any, *arguments: Any, **options: Any) -> None:
        await postprocess(dag, *arguments, **options)
        print(f"jobs {len(list(dag.needrun_jobs()))}")

    DAG.postprocess = counted
    main([*QUIET])


def write_stand_ins() -> None:
    """Plan in the working directory, and write an output and a seal for each job of the plan."""
    from snakemake.cli import main  # first, since Snakemake's modules import each other
    from snakemake.dag import DAG

    sys.path.insert(0, str(SCRIPTS))
    from graft.core import seals

    stats = DAG.stats

    def finished(dag: Any) -> Any:
        files = 0
        for level in dag.toposorted():
            for job in level:
                files += len(job.input)
                if hasattr(job.params, "recipe"):
                    write_outputs(job, seals)
        print(f"input files {files}")
        return stats(dag)

    DAG.stats = finished  # what a quiet dry run calls last
    main([*QUIET])


def write_outputs(job: Any, seals: Any) -> None:
    """The job's outputs, each with its own name as contents, and their seal."""
    outputs = {role: Path(path) for role, path in job.output.items() if role != "seal"}
    for path in outputs.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path), encoding="utf-8")
    inputs = {}
    for role, paths in job.params.recipe["inputs"].items():
        sealing = [Path(path) for path in paths if seals.is_seal(Path(path))]
        others = [path for path in paths if not seals.is_seal(Path(path))]
        inputs[role] = seals.check(others, sealing)[1]
    run = {"started": "", "seconds": 0, "peak_memory_mb": 0, "threads": 1}
    seals.write(
        job.output.seal,
        outputs,
        stage=job.params.recipe["stage"],
        recipe=job.params.recipe,
        inputs=inputs,
        results={},
        run=run,
    )


def profile() -> None:
    """Plan in the working directory, and print the seconds of the whole and of our functions."""
    from snakemake.cli import main

    profiler = cProfile.Profile()
    sys.argv[1:] = QUIET
    with contextlib.suppress(SystemExit):
        profiler.runcall(main, [*QUIET])
    stats = pstats.Stats(profiler)
    ours = 0.0
    for (file, _, name), (_, _, _, _, callers) in stats.stats.items():  # type: ignore[attr-defined]
        if is_ours(file, name):
            for (caller, _, above), (_, _, _, cumulative) in callers.items():
                if not is_ours(caller, above):
                    ours += cumulative
    print(f"profiled {stats.total_tt:.2f} {ours:.2f}")  # type: ignore[attr-defined]
    stats.sort_stats("tottime").print_stats(45)
    stats.sort_stats("cumulative").print_stats(r"workflow/(rules|scripts)", 45)


def is_ours(file: str, name: str) -> bool:
    """Whether a function is this project's; a module's own statements are read once."""
    return f"{os.sep}workflow{os.sep}" in file and name != "<module>"


def row(folder: Path, arguments: argparse.Namespace, parts: int, experiments: int) -> str:
    """A row of the table."""
    config = overlay(parts, experiments, arguments.modes, arguments.seeds)
    project = configured(folder / f"{parts}-{experiments}", config)
    planned(project, "-m", "snakemake", *QUIET)  # fills the memory of the code's digests
    seconds, jobs = plan(project, arguments.repeats)
    _, printed = planned(project, here(), PROFILE)
    whole, ours = map(float, re.search(r"profiled ([\d.]+) ([\d.]+)", printed).groups())
    if arguments.details:
        print(printed)
    cells = [parts, experiments, jobs, "", f"{seconds:.1f} s", f"{100 * ours / whole:.0f} %", ""]
    if arguments.again:
        _, printed = planned(project, here(), STAND_IN)
        cells[3] = re.search(r"input files (\d+)", printed)[1]
        again, left = plan(project, arguments.repeats)
        cells[6] = f"{again:.1f} s" if not left else f"{again:.1f} s ({left} jobs)"
        if arguments.details:
            print(planned(project, here(), PROFILE)[1])
    shutil.rmtree(project)
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=int, nargs="+", default=[1, 250, 500, 1000])
    parser.add_argument("--experiments", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--modes", nargs="+", default=["feature_extraction"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--no-again", dest="again", action="store_false")
    parser.add_argument("--details", action="store_true", help="print the profiles")
    arguments = parser.parse_args()
    sys.path.insert(0, str(SCRIPTS))
    import machine

    print(machine.heading(f"modes {' '.join(arguments.modes)}, {arguments.seeds} seeds"))
    print("| parts | experiments | jobs | files | plan | graft | again |\n" + "|---" * 7 + "|")
    with tempfile.TemporaryDirectory(prefix="graft-planning-") as folder:
        for experiments in arguments.experiments:
            for parts in arguments.parts:
                print(row(Path(folder), arguments, parts, experiments), flush=True)
    print(machine.load())


if __name__ == "__main__":
    if sys.argv[1:] == [PLAN]:
        count_jobs()
    elif sys.argv[1:] == [STAND_IN]:
        write_stand_ins()
    elif sys.argv[1:] == [PROFILE]:
        profile()
    else:
        main()
