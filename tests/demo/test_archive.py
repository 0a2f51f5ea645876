"""Archives of drawn portraits: fixed bytes, and the numbers that they refuse."""

import os
import subprocess
import sys
import tarfile

import pytest
from conftest import ROOT

from graft.core.errors import GraftError
from graft.demo.lfw import render_lfw
from graft.demo.wiki import render_wiki


def test_tar_is_plain_with_fixed_headers(wiki):
    with tarfile.open(wiki.path, "r:") as archive:
        for entry in archive:
            assert (entry.mtime, entry.uid, entry.gid, entry.uname) == (0, 0, 0, "")
        names = archive.getnames()
    assert names[-2:] == ["wiki_crop/wiki.mat", "wiki_crop/landmarks.csv"]
    assert len(set(names)) == len(names)


OTHERWISE = [
    {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    {
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,AVX,FP16",
        "OPENCV_IPP": "sse42",
        "OPENBLAS_CORETYPE": "Nehalem",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX",
    },
]
"""Environments: other numbers of threads, and a CPU that has nothing newer than SSE4.2."""


@pytest.mark.parametrize("variables", OTHERWISE, ids=["threads", "an old CPU"])
def test_archives_are_the_same_bytes_everywhere(wiki, lfw, tmp_path, variables):
    code = (
        "import sys; from pathlib import Path; from graft.demo import lfw, wiki;"
        "wiki.render_wiki(Path(sys.argv[1]), people=40, seed=11, size=96);"
        "lfw.render_lfw(Path(sys.argv[2]), people=3, pictures=2, seed=12, size=64)"
    )
    again = [tmp_path / "again.tar", tmp_path / "again.tgz"]
    library = ROOT / "workflow/scripts"
    environment = {**os.environ, **variables, "PYTHONPATH": str(library)}
    subprocess.run(
        [sys.executable, "-c", code, *map(str, again)],
        check=True,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    assert again[0].read_bytes() == wiki.path.read_bytes()
    assert again[1].read_bytes() == lfw.path.read_bytes()
    assert lfw.path.read_bytes()[4:8] == bytes(4)  # RFC 1952: MTIME


@pytest.mark.parametrize("wrong", [{"people": 0}, {"pictures": 0}, {"size": 63}, {"seed": -1}])
def test_bad_numbers_are_refused_by_name(tmp_path, wrong):
    path = tmp_path / "x.tgz"
    numbers = {"people": 1, "pictures": 1, "size": 64, "seed": 1} | wrong
    with pytest.raises(GraftError, match=next(iter(wrong))):
        render_lfw(path, **numbers)
    if "pictures" not in wrong:
        numbers.pop("pictures")
        with pytest.raises(GraftError, match=next(iter(wrong))):
            render_wiki(path, **numbers)
    assert not list(tmp_path.iterdir())
