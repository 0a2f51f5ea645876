"""Names that MLflow takes, and addresses that cannot be used."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils import validation
from mlflow_client import record
from servers import free_port

from graft.core.errors import GraftError
from graft.reporting.runs import Runs, valid_name


@given(st.text(st.sampled_from("ab/.@ :-é\n"), max_size=8) | st.text(max_size=300))
def test_every_name_becomes_one_that_mlflow_takes(name):
    validation._validate_metric_name(valid_name(name))
    assert len(valid_name(name)) <= 250
    if not set(name) - set("ab"):
        assert valid_name(name) == (name or "_")


def test_databases_that_cannot_be_used_are_named_in_one_sentence_without_passwords(
    new_database, monkeypatch
):
    with pytest.raises(GraftError, match="mlflow.tracking_uri is") as caught:
        Runs("postgresql://me:secret@db/x?password=secret")
    assert "secret" not in str(caught.value) and "postgresql://db/x" in str(caught.value)
    Path("in_the_way").write_text("")
    with pytest.raises(GraftError, match="cannot be used"):
        Runs("sqlite:///in_the_way/mlflow.db")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    port = free_port()
    with pytest.raises(GraftError) as caught:
        record(uri=f"http://me:secret@127.0.0.1:{port}")
    refused = f"mlflow.tracking_uri: http://127.0.0.1:{port} cannot be used (Errno"
    sentence = str(caught.value)
    assert sentence.replace("[", "").startswith(refused) and "Connection refused" in sentence
    assert "secret" not in sentence and "\n" not in sentence
