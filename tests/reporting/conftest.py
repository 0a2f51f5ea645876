"""An empty working directory, and a database of MLflow that is migrated only once."""

import shutil

import pytest
from mlflow_client import URI

from graft.reporting.runs import Runs


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """A database with MLflow's tables and nothing in them: making those takes a second."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Runs(f"sqlite:///{path}")
    return path


@pytest.fixture
def new_database(tmp_path, monkeypatch):
    """An empty working directory; MLflow is contacted without proxy, and waited for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    return tmp_path


@pytest.fixture
def home(new_database, migrated):
    """The same with a database."""
    database = new_database / URI.removeprefix("sqlite:///")
    database.parent.mkdir(parents=True)
    shutil.copy(migrated, database)
    return new_database
