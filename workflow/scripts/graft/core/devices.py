"""Which device and arithmetic a run uses, found without importing torch.

The choice is part of the recipe of every stage that computes with a network, so it is made
once, where the workflow starts, and handed down to the jobs.
"""

import ctypes

from graft.core import instructions

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def resolve(device: str, precision: str, mode: str) -> dict[str, str]:
    """Resolve `auto` to what this machine has: {"device": ..., "precision": ...}.

    bf16 is chosen on a GPU, and in the mode `fast` on a CPU that multiplies it in hardware (AMX or
    AVX512-BF16); elsewhere emulating it would be slower than fp32, and in the mode `portable` all
    CPUs compute the same. An explicit device is taken at its word, because a cluster's submit host
    need not have the GPU that its nodes have.
    """
    if device == "auto":
        device = "cuda" if cuda_devices() else "cpu"
    if precision == "auto":
        fast = device == "cuda" or (mode == "fast" and cpu_has_bf16())
        precision = "bf16" if fast else "fp32"
    return {"device": device, "precision": precision}


def cuda_devices() -> int:
    """Number of CUDA GPUs that the driver shows (0 without a driver)."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware (AMX or AVX512-BF16)."""
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(instructions.cpu().instructions)


def keep_freed_memory() -> None:
    """Let this process keep what it frees, where the C library is glibc (`mallopt(3)`).

    By default glibc returns blocks above 32 MB to the system when they are freed, and the system
    clears each page of the next one: a third of the time of a large batch of a small network.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    for option, value in ((_TRIM_THRESHOLD, -1), (_MMAP_MAX, 0)):
        mallopt(ctypes.c_int(option), ctypes.c_int(value))
