"""The types that the config's keys have, and the base class of all settings."""

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Entry:
    """Marks a text as a name in a registry (`package.module.REGISTRY`): the code of the entry that
    it names is part of the recipe, the others are not."""

    def __init__(self, registry: str):
        self.registry = registry


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$")]
FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
FileName = Annotated[str, Field(pattern=FILE_NAME)]
Text = Annotated[str, Field(min_length=1)]
Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Number: TypeAlias = int | float
AtLeastZero = Annotated[Number, Field(ge=0)]
AboveZero = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, lt=1)]
OpenShare = Annotated[Number, Field(gt=0, lt=1)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
PositiveShare = Annotated[Number, Field(gt=0, le=1)]
Precision = Literal["auto", "bf16", "fp32"]
Reproducible = Literal["portable", "fast"]
Activation = Literal["relu", "sigmoid", "tanh"]


def unique(values: tuple) -> tuple:
    if len(set(values)) < len(values):
        raise ValueError("it lists a value twice")
    return values


def ascending(values: tuple) -> tuple:
    if list(values) != sorted(values):
        raise ValueError("the lower value comes first")
    return values


Texts = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
UniqueTexts = Annotated[Texts, AfterValidator(unique)]
TwoTexts = Annotated[tuple[str, ...], Field(strict=False, min_length=2), AfterValidator(unique)]
Seeds = Annotated[tuple[Natural, ...], Field(strict=False, min_length=1), AfterValidator(unique)]
Sizes = Annotated[
    tuple[Positive | Literal["all"], ...], Field(strict=False), AfterValidator(unique)
]
TwoAscending = Annotated[
    tuple[PositiveShare, PositiveShare], Field(strict=False), AfterValidator(ascending)
]
ThreeNumbers = Annotated[tuple[Number, Number, Number], Field(strict=False)]
ThreePositive = Annotated[tuple[AboveZero, AboveZero, AboveZero], Field(strict=False)]


class Settings(BaseModel):
    """Frozen settings; an unknown key and a value of another type are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
