"""Which of the CPU's instructions the numerical libraries use, and what the CPU has.

With wider instructions a sum is split otherwise, so its last bits differ, and every library chooses
the widest that it knows. These variables keep them to AVX2 with FMA, which each x86-64 CPU of the
last ten years has. A library reads its variable when it is first imported.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

CPUINFO = Path("/proc/cpuinfo")

EVERYWHERE = {
    # The groups of features beyond AVX2 that NumPy has code for (`numpy.show_config()`); a CPU
    # without them, or another NumPy, ignores the names.
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENCV_CPU_DISABLE": "AVX512-SKX",
    "OPENCV_IPP": "avx2",  # Intel's IPP inside OpenCV, which chooses for itself
    "OPENBLAS_CORETYPE": "Haswell",
}
"""Set in each mode: pictures and statistics lose little by it."""

NETWORKS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    # Its AVX2 mode holds for Intel's CPUs alone.
    "MKL_CBWR": "COMPATIBLE",
}
"""Set in the mode `portable`: PyTorch's kernels, oneDNN and MKL, which networks compute with."""

SHOWN = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16")


class Cpu(NamedTuple):
    """A CPU: its model, and which of the instruction sets SHOWN it has."""

    model: str
    instructions: tuple[str, ...]


def cpu(cpuinfo: Path = CPUINFO) -> Cpu:
    """This machine's CPU, as Linux describes it; empty where it does not."""
    fields = _fields(cpuinfo)
    flags = fields.get("flags", "").split()
    return Cpu(fields.get("model name", ""), tuple(name for name in SHOWN if name in flags))


def kind(cpuinfo: Path = CPUINFO) -> str:
    """The CPU's name with its family and model numbers: virtual machines shorten the name."""
    fields = _fields(cpuinfo)
    numbers = [fields.get(key, "?") for key in ("cpu family", "model")]
    return f"{fields.get('model name', '')} (family {numbers[0]}, model {numbers[1]})"


def _fields(cpuinfo: Path) -> dict[str, str]:
    """The fields of the first core."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields


def variables(mode: str, found: Cpu) -> Mapping[str, str]:
    """The environment of a mode (`portable` or `fast`); empty on a CPU without AVX2 and FMA."""
    if not {"avx2", "fma"} <= set(found.instructions):
        return {}
    return {**EVERYWHERE, **(NETWORKS if mode == "portable" else {})}
