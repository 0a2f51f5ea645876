"""FER2013: faces of 48 x 48 grey pixels with one of seven emotions, in one CSV file.

Goodfellow et al., "Challenges in representation learning: a report on three machine learning
contests", Neural Networks 64, 2015. The file is `fer2013.csv`, with the columns `emotion`, `pixels`
and `Usage`, or `icml_face_data.csv`, which has the same in another order and with spaces in its
header. See `pixel_tables` for the format.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from graft.core.errors import unreadable
from graft.datasets import pixel_tables
from graft.datasets.samples import LAYOUTS, wrong_files
from graft.datasets.table import Candidate

FILES = ("fer2013.csv", "icml_face_data.csv")
# In the order of the published numbers; `table.classes` sorts the names.
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SPLITS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}


@LAYOUTS.register("fer2013")
def rows(archives: Mapping[str, Path], *, label: str) -> Iterator[Candidate]:
    """The pictures in the order of the file, each a group of its own.

    The label is the name of the emotion; a picture whose emotion is none of the seven numbers is
    dropped (`no_label`). Usage gives the split. Raises GraftError for `files` other than one of
    FILES, for a file that is not of the format, and for an unknown Usage.
    """
    if len(archives) != 1 or not set(archives) <= set(FILES):
        raise wrong_files("fer2013", f"one file, {' or '.join(FILES)}", archives)
    ((archive, path),) = archives.items()
    names = {str(number): name for number, name in enumerate(EMOTIONS)}
    for row in pixel_tables.rows(path, ("emotion", "Usage")):
        emotion, usage = row.cells
        if usage not in SPLITS:
            problem = f"line {row.line} has the Usage {usage!r}, which is none of "
            raise unreadable(path, ValueError(problem + ", ".join(SPLITS)))
        name = names.get(emotion, "")
        reason = "" if name else "no_label"
        yield Candidate(archive, row.name, name, drop_reason=reason, split=SPLITS[usage])
