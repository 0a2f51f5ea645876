"""Settings of the decoding of image files. The text below a key is its description."""

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
