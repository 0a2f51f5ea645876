"""MLflow's database in another folder: the paths in it follow, and nothing else does."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow_client import URI, client

from graft.reporting import ledger
from graft.reporting.runs import Runs

pytestmark = pytest.mark.usefixtures("home")


def places(database: Path) -> dict[str, list[str]]:
    """Table -> its paths."""
    with closing(sqlite3.connect(database)) as connection:
        return {
            table: sorted(
                value
                for column in columns
                for (value,) in connection.execute(f"select {column} from {table}")
                if value is not None
            )
            for table, columns in ledger.PLACES.items()
        }


def test_every_path_of_a_copy_is_below_it_but_those_that_a_person_chose(home):
    for name in ("graft", "graft_2"):
        runs = Runs(URI, name=name)
        run = client().create_run(runs.experiment_id()).info.run_id
        model = client().create_logged_model(runs.experiment_id(), source_run_id=run)
        client().create_registered_model(name)
        client().create_model_version(name, model.artifact_location, run_id=run)
    mine = f"{home}/elsewhere"
    client().create_run(client().create_experiment("mine", mine))
    # One that only begins alike.
    neighbour = f"{home}/results/mlflow/artifacts/graft_3"
    client().create_run(client().create_experiment("theirs", neighbour))
    original = home / URI.removeprefix(ledger.SQLITE)
    before = places(original)

    copy = home / "copy/mlflow.db"
    copy.parent.mkdir()
    shutil.copy(original, copy)
    ledger.move_places(copy)
    theirs, ours = f"{original.parent}/artifacts/", f"{copy.parent}/artifacts/"
    assert places(copy) == {
        table: sorted(p if p.startswith(neighbour) else p.replace(theirs, ours) for p in found)
        for table, found in before.items()
    }
    assert {len(found) for found in before.values()} == {5, 4, 2}
    again = copy.read_bytes()
    ledger.move_places(copy)
    assert copy.read_bytes() == again and places(original) == before


def test_a_database_that_is_not_there_or_empty_stays_so(home):
    ledger.move_places(home / "none.db")
    assert not (home / "none.db").exists()
    (home / "empty.db").touch()
    ledger.move_places(home / "empty.db")
    assert (home / "empty.db").read_bytes() == b""


def test_addresses_of_databases():
    assert ledger.path_of("sqlite:///a/b.db?x=1") == Path.cwd() / "a/b.db"
    assert ledger.path_of("sqlite:////a/b.db") == Path("/a/b.db")
    assert ledger.path_of("http://localhost:5000") is None
