"""MLflow's sqlite database as a file: its lock, and where it says that the runs' files are.

The files are in the folder `artifacts` beside the database. MLflow keeps absolute paths to them, by
which a database that was copied or moved would read from and write into the original's folder.
"""

import contextlib
import fcntl
import sqlite3
from collections.abc import Iterator
from pathlib import Path

SQLITE = "sqlite:///"
UNUSED = "/mlruns/0"
"""Where MLflow would put the files of its own experiment, `Default`: in the working directory."""

PLACES = {
    "experiments": ["artifact_location"],
    "runs": ["artifact_uri"],
    "logged_models": ["artifact_location"],
    "model_versions": ["source", "storage_location"],
}
"""The columns of MLflow's tables that hold a place of files."""


def path_of(tracking_uri: str) -> Path | None:
    """The file of a `sqlite:///` address (relative to the working directory); None of others."""
    if not tracking_uri.startswith(SQLITE):
        return None
    return Path(tracking_uri.removeprefix(SQLITE).partition("?")[0]).absolute()


def files_of(database: Path, experiment: str) -> str:
    """The folder of an experiment's files."""
    return f"{database.parent}/artifacts/{experiment}"


@contextlib.contextmanager
def lock(database: Path) -> Iterator[None]:
    """One process at a time makes tables and runs, or moves places."""
    database.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{database}.lock", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def mend(tracking_uri: str) -> None:
    """Move the places of a database that is there; what hinders that is left to later writers."""
    database = path_of(tracking_uri)
    if database is not None and database.exists():
        with contextlib.suppress(OSError, sqlite3.Error), lock(database):
            move_places(database)


def move_places(database: Path) -> None:
    """Name the folder beside the database in every path below another `artifacts` folder.

    Places that a person has chosen stay. Hold the lock. Nothing is written, or made, where
    nothing has moved.
    """
    if not database.exists():
        return
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        try:
            found = connection.execute("select name, artifact_location from experiments").fetchall()
        except sqlite3.OperationalError:  # a database without tables yet
            return
        for name, theirs in found:
            ours = files_of(database, name)
            if theirs == ours or not theirs.endswith((f"/artifacts/{name}", UNUSED)):
                continue
            for table, columns in PLACES.items():
                for column in columns:
                    connection.execute(
                        f"update {table} set {column} = :ours || substr({column}, :length + 1) "
                        f"where {column} = :theirs or "
                        f"substr({column}, 1, :length + 1) = :theirs || '/'",
                        {"ours": ours, "theirs": theirs, "length": len(theirs)},
                    )
