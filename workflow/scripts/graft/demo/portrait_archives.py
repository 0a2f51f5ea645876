"""Archives of drawn portraits: names of people, and the tar that pictures are written to."""

import contextlib
import csv
import gzip
import io
import os
import tarfile
from collections.abc import Iterator

import numpy as np

from graft.core.errors import GraftError
from graft.core.files import atomic
from graft.demo.people import LANDMARKS, generator

MIN_SIZE = 64
FIRST = (
    "Ada Alin Anouk Aric Bao Bela Brin Cai Cleo Dara Devin Elia Emre Fenn Gael Hana Idris Ines "
    "Jun Kari Kiran Lale Levi Lior Maren Milo Nadi Noor Odell Oona Pax Quin Remy Rio Sami Sasha "
    "Tal Teo Uma Vanja Wren Yael Zev Zoë"
)
LAST = (
    "Abel Ander Bauer Bel Berg Cald Castel Dahl Del Dorn Elm Fair Falk Fern Gar Gold Hald Hart "
    "Hol Ingel Jans Kal Kel Kirk Lang Lind Mar Mont Nor Oster Pal Rav Ros Sand Sol Stein Tor Val "
    "Wal West"
)
ENDINGS = "a by dal er es field ic järvi man ova ström well"


def invented_names(people: int, seed: int) -> list[str]:
    """That many different names, none of which tells sex."""
    first, last, ending = FIRST.split(), LAST.split(), ENDINGS.split()
    pairs = len(first) * len(last) * len(ending)
    order = generator(seed, 2).permutation(pairs)
    names = []
    for person in range(people):
        again, index = divmod(person, pairs)
        rest, e = divmod(int(order[index]), len(ending))
        f, k = divmod(rest, len(last))
        middle = f" {initials(again)}" if again else ""
        names.append(f"{first[f]}{middle} {last[k]}{ending[e]}")
    return names


def initials(number: int) -> str:
    """1, 2, ... as A, B, ..., Z, AA, AB, ..."""
    letters = ""
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


class PortraitArchive:
    """Adds members of fixed headers (no times, no owners) below `root`, and collects the truth."""

    def __init__(self, tar: tarfile.TarFile, root: str):
        self.tar, self.root = tar, root
        columns = [f"{name}_{axis}" for name in LANDMARKS for axis in "xy"]
        self.truth = io.StringIO()
        self.table = csv.writer(self.truth, lineterminator="\n")
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
def portrait_archive(
    path: str | os.PathLike, root: str, compressed: bool
) -> Iterator[PortraitArchive]:
    """A tar, or .tgz, of fixed bytes that appears whole, with the truth as its last member."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(stack.enter_context(atomic(path)), "wb"))
        if compressed:
            file = stack.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0))
        tar = stack.enter_context(
            tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT)
        )
        archive = PortraitArchive(tar, root)
        yield archive
        archive.add("landmarks.csv", archive.truth.getvalue().encode())


def check_numbers(**numbers: int) -> None:
    least = {"people": 1, "pictures": 1, "size": MIN_SIZE, "seed": 0}
    for key, value in numbers.items():
        if value < least[key]:
            raise GraftError(
                f"Drawn portraits need {key} >= {least[key]}, not {value}: change {key}."
            )
