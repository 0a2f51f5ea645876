"""Locks between processes."""

import multiprocessing
import os

import pytest

from graft.core import locks
from graft.core.errors import GraftError


def hold(path, holds, release):
    with locks.held(path):
        holds.set()
        release.wait(30)


def test_a_lock_is_refused_while_its_holder_lives_and_free_when_it_was_killed(tmp_path):
    path, fork = tmp_path / "logs" / ".train.lock", multiprocessing.get_context("fork")
    holds, release = fork.Event(), fork.Event()
    holder = fork.Process(target=hold, args=(path, holds, release))
    holder.start()
    assert holds.wait(30)
    with pytest.raises(GraftError, match=f"process {holder.pid} on .*Wait until it has ended"):
        locks.held(path).__enter__()
    holder.kill()
    holder.join()
    with locks.held(path):
        assert f"process {os.getpid()} on" in path.read_text()


def test_a_lock_is_free_after_its_block_even_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), locks.held(tmp_path / "lock"):
            raise ZeroDivisionError
