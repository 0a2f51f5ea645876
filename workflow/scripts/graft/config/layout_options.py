"""Options of the layouts that read names which people gave: of folders, of files, in tables.

The text below a key is its description (see `models`).
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from graft.config.types import Settings, Text, UniqueTexts


def _listed(names: object) -> object:
    return [names] if isinstance(names, str) else names


Names = Annotated[UniqueTexts, BeforeValidator(_listed)]
"""One name or several."""


class NamedSplits(Settings):
    """The publisher's names of the splits."""

    train: Names
    val: Names | None = None
    test: Names | None = None


class Columns(Settings):
    """Names of a table's columns, where they are not the usual ones."""

    path: Text | None = None
    label: Text | None = None
    group: Text | None = None
    split: Text | None = None


class FolderOptions(Settings):
    table: Text | None = None
    """a table within the archive, read instead of the folders' names"""
    group: Text | None = None
    """a regular expression with one pair of brackets, searched for in file names: pictures for
    which these hold the same text stay in one split, e.g. one person's with `^([a-z]+)_`"""
    splits: Literal["none"] | NamedSplits | None = None
    """`{train: Training, test: [Test A, Test B]}`: the publisher's names of the splits, where they
    are not the usual ones; pictures of other folders are dropped (`no_split`). `none`: nothing is
    a published split, whatever its name"""
    columns: Columns = Columns()
    """`{path: image_id, label: dx, group: patient, split: fold}`: the table's columns, as far as
    they have not the usual names"""
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """what divides the table's cells; if left out a comma, a semicolon or a tab, by its header"""
    allow_missing: bool = False
    """accept a table of which more than a tenth of the lines name no picture of the archive"""


class MnistOptions(Settings):
    splits: Literal["none"] | NamedSplits | None = None
    """likewise, of pairs of files by their `<name>`, where only some are named like splits"""
