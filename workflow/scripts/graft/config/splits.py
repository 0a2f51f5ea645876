"""How the samples of a data set are divided: shares, limits and parts of the splits."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from graft.config.types import Natural, OpenShare, Positive, Settings


def _off(value: object) -> object:
    """The word as YAML 1.1 reads it without quotes."""
    return "off" if value is False else value


class Split(Settings):
    train: OpenShare = 0.7
    """share of the samples to train on. Each group's split is drawn by a hash of it and `seed`, so
    adding or removing pictures moves no others; the shares are met by chance, and the report warns
    where a class misses one by more than a tenth"""
    val: OpenShare = 0.1
    """share that selects epochs and settings"""
    test: OpenShare = 0.2
    """share that is reported, and used for nothing else; the three sum to 1"""
    seed: Natural = 0
    """seed of the split, the limit and the order of the rows"""
    conflicting_labels: Literal["drop", "keep"] = "drop"
    """samples whose picture, byte for byte, is there under another label too: drop all of them
    (`conflicting_label`), or keep them; does not apply where a picture may have several classes"""
    near_duplicates: Annotated[Literal["group", "report", "off"], BeforeValidator(_off)] = "group"
    """pictures that show the same in other bytes: `group` keeps them in one split, and drops from
    the training samples what is published for the test as well; `report` only lists them; `off`
    does not look for them: see below"""

    @property
    def fractions(self) -> dict[str, float]:
        """The share of each split."""
        return {"train": self.train, "val": self.val, "test": self.test}


class Limit(Settings):
    train: Positive | None = None
    """at most so many training samples, classes in proportion, each at least one"""
    val: Positive | None = None
    """likewise for validation"""
    test: Positive | None = None
    """likewise for the test"""


MOST_SHARDS = 10_000
"""Of a split: planning takes a minute by then (docs/scale.md), and parts may be larger instead."""

NumberOfShards = Annotated[int, Field(ge=1, le=MOST_SHARDS)]


class Shards(Settings):
    train: NumberOfShards = 1
    """number of parts of the split"""
    val: NumberOfShards = 1
    """likewise"""
    test: NumberOfShards = 1
    """likewise"""
