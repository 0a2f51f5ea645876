"""Instruction sets: what the libraries use with the variables that the workflow sets."""

import os
import platform
import subprocess
import sys

import pytest
from conftest import ROOT

from graft.core import devices, instructions
from graft.core.instructions import Cpu

CPUINFO = """processor\t: 0
model name\t: Imaginary 9000
flags\t\t: fpu sse2 avx2 fma avx512f amx_bf16

processor\t: 1
model name\t: Another
flags\t\t: fpu
"""
WIDE = Cpu("Imaginary 9000", ("avx2", "fma", "avx512f", "amx_bf16"))

USED = """
import cv2
import numpy
import torch
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

print([name for name in __cpu_dispatch__ if __cpu_features__[name] and name != "X86_V3"])
print("*AVX512-SKX" in cv2.getCPUFeaturesLine().split())
print(cv2.ipp.getIppVersion().split()[1])
print(torch.backends.cpu.get_cpu_capability())
print(__import__("threadpoolctl").threadpool_info())
"""

portable = pytest.mark.skipif(
    not instructions.variables("portable", instructions.cpu()), reason="this CPU lacks AVX2"
)


def test_the_first_core_describes_the_cpu(tmp_path):
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    assert instructions.cpu(tmp_path / "cpuinfo") == WIDE
    assert instructions.cpu(tmp_path / "absent") == Cpu("", ())


def test_a_mode_sets_the_same_variables_on_all_cpus_with_avx2():
    narrow = Cpu("Other", ("avx2", "fma"))
    for mode in ("portable", "fast"):
        assert instructions.variables(mode, WIDE) == instructions.variables(mode, narrow)
        assert instructions.variables(mode, Cpu("Old", ("avx2",))) == {}
    fast = instructions.variables("fast", WIDE)
    assert fast.items() < instructions.variables("portable", WIDE).items()
    assert "NPY_DISABLE_CPU_FEATURES" in fast and "ATEN_CPU_CAPABILITY" not in fast


@portable
def test_the_libraries_follow_the_variables():
    """A new version of a library with other names for its instructions fails here."""
    environment = {**os.environ, **instructions.variables("portable", instructions.cpu())}
    done = subprocess.run(
        [sys.executable, "-c", USED],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    features, *rest, pools = done.stdout.splitlines()
    assert features == "[]", "NumPy uses more than AVX2"
    assert rest == ["False", "AVX2", "AVX2"]
    openblas = [pool for pool in eval(pools) if pool["internal_api"] == "openblas"]
    assert openblas and {pool["architecture"] for pool in openblas} == {"Haswell"}
    assert not done.stderr, "a library complains about a variable"


@pytest.mark.parametrize(
    ("device", "precision", "mode", "wanted"),
    [
        ("cpu", "auto", "portable", "fp32"),
        ("cpu", "auto", "fast", "bf16"),
        ("cpu", "fp32", "fast", "fp32"),
        ("cpu", "bf16", "portable", "bf16"),
        ("cuda", "auto", "portable", "bf16"),
    ],
)
def test_portable_is_fp32_on_a_cpu(monkeypatch, device, precision, mode, wanted):
    monkeypatch.setattr(instructions, "cpu", lambda: WIDE)
    chosen = devices.resolve(device, precision, mode)
    assert chosen == {"device": device, "precision": wanted}


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (2, "cuda")])
def test_auto_is_a_gpu_where_there_is_one_and_bf16_only_where_it_is_multiplied(
    monkeypatch, gpus, device
):
    monkeypatch.setattr(devices, "cuda_devices", lambda: gpus)
    monkeypatch.setattr(instructions, "cpu", lambda: Cpu("Old", ("avx2", "fma")))
    precision = "bf16" if gpus else "fp32"
    assert devices.resolve("auto", "auto", "fast") == {"device": device, "precision": precision}


def test_a_kind_of_cpu_has_its_family_and_model_numbers(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nmodel\t\t: 1\n")
    assert instructions.kind(file) == "AMD EPYC (family 25, model 17)"
    assert instructions.kind(tmp_path / "none") == " (family ?, model ?)"


KEPT = """
import resource
import torch
from graft.core import devices
devices.keep_freed_memory()
torch.set_num_threads(1)
for _ in range(40):
    torch.ones(10 << 20).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    torch.ones(10 << 20).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_a_block_that_is_freed_is_not_cleared_again():
    """40 MB are 10240 pages of 4 kB; of blocks that are kept, none is new."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow" / "scripts")}
    done = subprocess.run(
        [sys.executable, "-c", KEPT], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1000
