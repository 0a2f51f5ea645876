"""Services that the tests of clusters start, each once, and stop."""

import pytest
import slurm


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> slurm.Cluster:
    """A Slurm cluster of two nodes."""
    if reason := slurm.missing():
        pytest.skip(reason)
    with slurm.Cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running
