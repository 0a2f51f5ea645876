"""Fonts for characters that the figures' own font lacks, such as those of class names in Japanese.

Matplotlib draws a box for a character that none of a text's fonts has. The first is always OWN,
which comes with matplotlib and has Latin, Greek, Cyrillic, Arabic and Hebrew letters; only for what
it lacks do figures depend on the fonts that are installed.
"""

import functools
from collections.abc import Iterable

from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

OWN = "DejaVu Sans"

BOXES = "Last Resort"
"""Begins the name of fonts that have a box for every character."""

SHOWN = 10
"""Characters that a warning names."""


def complete(figure: Figure) -> bool:
    """Give the texts of a figure that was drawn once the installed fonts that they need.

    Returns whether it has to be drawn again. Prints a warning with the characters that no font has.
    """
    texts = [text for text in figure.findobj(Text) if lacking(text.get_text())]
    needed = frozenset("".join(lacking(text.get_text()) for text in texts))
    families, without = cover(needed)
    if without:
        shown = " ".join(sorted(without)[:SHOWN])
        more = f" and {len(without) - SHOWN} more" if len(without) > SHOWN else ""
        print(
            f"warning: no installed font has {shown}{more}: figures show boxes instead. Install a "
            "font of that script, such as one of the Noto fonts."
        )
    for text in texts if families else ():
        assert isinstance(text, Text)
        text.set_fontfamily([OWN, *families])
    return bool(families and texts)


def lacking(text: str) -> str:
    """The characters of a text that the figures' own font lacks; line breaks need no glyph."""
    own = characters(findfont(OWN))
    return "".join(one for one in text if one not in own and one.isprintable())


@functools.cache
def cover(needed: frozenset[str]) -> tuple[list[str], frozenset[str]]:
    """The fewest installed families, first those with most of them, that have these characters;
    and the characters that none has. Equal for equal installed fonts."""
    families = list[str]()
    while needed:
        most, best = min(
            ((-len(needed & characters(path)), name) for name, path in installed()),
            default=(0, ""),
        )
        if not most:
            break
        families.append(best)
        needed -= frozenset().union(*(characters(p) for name, p in installed() if name == best))
    return families, needed


@functools.cache
def installed() -> list[tuple[str, str]]:
    """(family, file) of the installed upright fonts of about normal weight, without duplicates."""
    entries = (
        (entry.name, entry.fname)
        for entry in fontManager.ttflist
        if entry.style == "normal" and entry.weight in (400, "normal", "regular", "book")
    )
    return sorted({name: path for name, path in entries if not name.startswith(BOXES)}.items())


@functools.cache
def characters(path: str) -> frozenset[str]:
    """The characters of a font file; none of one that cannot be read or has pictures, no outlines,
    as fonts of emoji do."""
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(_characters(font.get_charmap())) if font.scalable else frozenset()


def _characters(codes: Iterable[int]) -> Iterable[str]:
    return (chr(code) for code in codes)
