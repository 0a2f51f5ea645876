"""What the runs on real pictures share: a store, so that what two of them need is made once."""

import pytest


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")
