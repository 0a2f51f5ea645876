from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from graft.core import hdf5
from graft.core.errors import GraftError


def write(path):
    with hdf5.create(path, {"stage": "x"}) as file:
        hdf5.write(file, "numbers", np.arange(5))
        hdf5.write_strings(file, "names", ["a", "Müller", ""])
    return path


def test_what_was_written_is_read(tmp_path):
    with hdf5.open(write(tmp_path / "x.h5"), "x") as file:
        assert hdf5.read_strings(file, "names").tolist() == ["a", "Müller", ""]
        numbers = hdf5.memmap(file["numbers"], "x")
    assert numbers.tolist() == [0, 1, 2, 3, 4] and not numbers.flags.writeable


def test_files_hold_no_times(tmp_path):
    """HDF5 would store them in seconds, so files of equal contents would differ."""
    with h5py.File(write(tmp_path / "x.h5")) as file:
        assert [h5py.h5g.get_objinfo(file[name].id).mtime for name in file] == [0, 0]


def test_errors_name_the_file_and_the_stage(tmp_path):
    path = tmp_path / "x.h5"
    for problem in ("the file is missing", "the file is damaged or not HDF5", "lacks an entry"):
        with (
            pytest.raises(GraftError, match=rf"x\.h5: .*{problem}.*Run the pack stage again"),
            hdf5.open(path, "pack") as file,
        ):
            file["else"]
        if path.exists():
            path.unlink()
            write(path)
        else:
            path.write_text("no HDF5")


def test_an_array_that_the_disk_has_no_room_for_is_refused_before_it_is_computed(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(hdf5.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_999_999))
    with hdf5.create(tmp_path / "x.h5", {}) as file:
        hdf5.contiguous(file, "fits", (999_999,), np.float16)
        with pytest.raises(GraftError, match=r"large \(1000, 1000\) takes 2 MB, and 2 MB are free"):
            hdf5.contiguous(file, "large", (1000, 1000), np.float16)
