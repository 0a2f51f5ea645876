"""Settings of overviews: experiments side by side, and the figures of others.

The text below a key is its description (see `models`).
"""

from typing import Annotated

from pydantic import Field

from graft.config.types import Fraction, Settings, UniqueTexts


class PublishedFigure(Settings):
    label: str
    """what the figure is of"""
    value: Fraction | Annotated[tuple[Fraction, Fraction], Field(strict=False)]
    """a share from 0 to 1, or two, `[low, high]`"""
    note: str | None = None
    """a remark"""


class Overview(Settings):
    title: str | None = None
    """heading of the page; without it the overview's name"""
    experiments: UniqueTexts
    """names under `experiments`"""
    published: Annotated[tuple[PublishedFigure, ...], Field(strict=False)] = ()
    """figures of others, shown as given and marked as not comparable: `label` (text), `value` (a
    share from 0 to 1, or two, `[low, high]`) and optionally `note` (text)"""
