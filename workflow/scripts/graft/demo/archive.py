"""Archives of drawn portraits: tars of fixed bytes, with the ground truth of the pictures."""

import contextlib
import csv
import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from graft.core.files import atomic
from graft.demo.portrait import LANDMARKS

TRUTH = "landmarks.csv"


class PortraitArchive:
    """Adds members with fixed headers (no times, no owners) below `root`.

    Collects the ground truth of the portraits: member, sex, and x and y of the five LANDMARKS in
    pixels (empty where they are NaN).
    """

    def __init__(self, tar: tarfile.TarFile, root: str):
        self.tar, self.root = tar, root
        self.truth = io.StringIO()
        self.table = csv.writer(self.truth, lineterminator="\n")
        columns = [f"{name}_{axis}" for name in LANDMARKS for axis in "xy"]
        self.table.writerow(["member", "sex", *columns])

    def add(self, member: str, data: bytes) -> None:
        entry = tarfile.TarInfo(f"{self.root}/{member}")
        entry.size = len(data)
        self.tar.addfile(entry, io.BytesIO(data))

    def add_portrait(self, member: str, data: bytes, sex: str, landmarks: np.ndarray) -> None:
        self.add(member, data)
        numbers = ["" if np.isnan(value) else f"{value:.3f}" for value in landmarks.ravel()]
        self.table.writerow([f"{self.root}/{member}", sex, *numbers])


@contextlib.contextmanager
def portrait_archive(path: Path, root: str, *, compressed: bool) -> Iterator[PortraitArchive]:
    """Write a tar, or a .tgz, whole or not at all; its last member is the ground truth."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(stack.enter_context(atomic(path)), "wb"))
        stream: BinaryIO | gzip.GzipFile = file
        if compressed:
            stream = stack.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0))
        tar = stack.enter_context(
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT)
        )
        archive = PortraitArchive(tar, root)
        yield archive
        archive.add(TRUTH, archive.truth.getvalue().encode())
