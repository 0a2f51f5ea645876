"""The machine that a benchmark ran on, for its first and its last line."""

import os

import torch

from graft.core import instructions


def heading(*details: str) -> str:
    """CPU, cores, instructions, torch, what else is given, and the load."""
    cpu = " ".join(instructions.cpu().instructions)
    parts = [f"{instructions.kind()}, {os.cpu_count()} cores, {cpu}", f"torch {torch.__version__}"]
    return "; ".join([*parts, *details, load()])


def load() -> str:
    """How many processes wanted a core over the last minute."""
    return f"load {os.getloadavg()[0]:.1f}"
