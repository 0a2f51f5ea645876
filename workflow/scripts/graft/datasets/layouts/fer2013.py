"""FER2013: faces of 48 x 48 grey pixels with one of seven emotions, in one CSV file.

Goodfellow et al., "Challenges in representation learning: a report on three machine learning
contests", Neural Networks 64, 2015. The file is `fer2013.csv`, with the columns `emotion`,
`pixels` and `Usage`, or `icml_face_data.csv`, which has the same in another order and with
spaces in its header. See `pixel_tables` for the format.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from graft.core.errors import GraftError
from graft.datasets import pixel_tables
from graft.datasets.table import Candidate

LABELS = ("emotion",)
FILES = ("fer2013.csv", "icml_face_data.csv")
# In the order of the published numbers. A class's number in the results is another one: its
# place among the sorted names (`data_file.classes`).
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SPLITS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}


def rows(archives: Mapping[str, Path], *, label: str) -> Iterator[Candidate]:
    """Yield the pictures in the order of the file, each a group of its own.

    A picture's label is the name of its emotion; one whose emotion is none of the seven numbers
    is dropped as `no_label`. Usage says the split: Training is train, PublicTest val and
    PrivateTest test. Pictures that stand in two splits are dropped when these are made (see
    `data_file.build`).

    Raises GraftError for another label, for `files` other than one of FILES, for a file that is
    not of the format, and for an unknown Usage.
    """
    if label not in LABELS:
        raise GraftError(
            f"config: the layout fer2013 offers the label {' and '.join(LABELS)}, not {label!r}; "
            "change the dataset's `label`."
        )
    if len(archives) != 1 or not set(archives) <= set(FILES):
        raise GraftError(
            f"config: the layout fer2013 reads {' or '.join(FILES)}, one file of them, but the "
            f"dataset's `files` list {', '.join(archives) or 'none'}; correct them."
        )
    ((archive, path),) = archives.items()
    numbers = {str(number): name for number, name in enumerate(EMOTIONS)}
    for row in pixel_tables.rows(path, ("emotion", "Usage")):
        emotion, usage = row.cells
        if usage not in SPLITS:
            raise GraftError(
                f"{path}: line {row.line} has the Usage {usage!r}, which is none of "
                f"{', '.join(SPLITS)}; correct it, or fetch the file again."
            )
        yield Candidate(
            archive,
            row.name,
            label=numbers.get(emotion, ""),
            group=row.name,
            drop_reason="" if emotion in numbers else "no_label",
            split=SPLITS[usage],
        )
