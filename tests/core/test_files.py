"""Files: what a full disk looks like in the libraries that write."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from graft.core import files

WRITERS = {
    "python": "open(path, 'w', buffering=1).write('x' * 99999)",
    "torch": "import torch; torch.save(torch.zeros(99999), open(path, 'wb'))",
    "safetensors": "import torch; from safetensors.torch import save_file;"
    " save_file({'a': torch.zeros(99999)}, path)",
    "hdf5": "import h5py; h5py.File(path, 'w')['a'] = [0] * 99999",
    "pandas": "import pandas; pandas.DataFrame({'a': range(99999)}).to_csv(path)",
}
PROGRAM = """import os, sys
from graft.core import files
path = sys.argv[1]
try:
    {writer}
except BaseException as error:
    print(files.is_disk_full(error), repr(error), flush=True)
    os._exit(0)
"""


def limited():
    """No file may grow beyond this: a full disk, as far as the writer can see."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


@pytest.mark.parametrize("library", WRITERS)
def test_a_full_disk_is_recognised_whatever_library_writes(tmp_path, library):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(writer=WRITERS[library]), tmp_path / "out"],
        preexec_fn=limited,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(files.__file__).removesuffix("/graft/core/files.py")},
        check=False,  # HDF5 may crash once it has failed
    )
    assert done.stdout.startswith("True"), done.stdout + done.stderr


def test_a_full_disk_is_recognised_in_the_words_of_sqlite():
    assert files.is_disk_full(RuntimeError("database or disk is full"))


def test_parts_are_in_the_order_of_their_numbers():
    names = ["d/train-2", "d/train-10", "d/train-99.h5", "d/train-100.h5", "d/val-00.h5", "e/1"]
    assert sorted(map(Path, reversed(names)), key=files.by_number) == [*map(Path, names)]


@pytest.mark.parametrize("text", ["error 270", "errno = 2", "the full disk was read", "28"])
def test_other_errors_are_not_a_full_disk(text):
    assert not files.is_disk_full(RuntimeError(text))
