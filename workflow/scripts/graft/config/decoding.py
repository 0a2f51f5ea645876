"""Settings of the decoding of image files. The text below a key is its description."""

from importlib.metadata import version
from typing import Annotated

from pydantic import Field

from graft.config.types import Positive, Settings

Level = Annotated[int, Field(ge=0, le=255)]


class Decoding(Settings):
    background: Annotated[tuple[Level, Level, Level], Field(strict=False)] = (255, 255, 255)
    """the colour behind transparent pixels: red, green and blue from 0 to 255"""
    bits: Annotated[int, Field(ge=8, le=16)] | None = None
    """how many bits are significant in PNG and TIFF files of 16 bits a sample, such as 12; `null`:
    those that the file states, else 16, or 12 in a picture in which no sample needs more"""
    max_pixels: Annotated[Positive, Field(le=2**30)] = 178_956_970
    """pictures of more pixels are dropped (`too_large`) before they are decoded; the default is
    Pillow's limit"""


class Decoder(Decoding):
    """What decoding depends on: the config, and a package that is not locked."""

    heif: str | None = None
    """The version of pillow-heif, or None where it is not installed: no HEIF file is decoded."""


def decoder(config: Decoding) -> Decoder:
    """What the machine decodes that starts the workflow."""
    return Decoder(**config.model_dump(), heif=heif())


def heif() -> str | None:
    """The version of pillow-heif, None if it is not installed."""
    try:
        return version("pillow-heif")
    except ImportError:
        return None
