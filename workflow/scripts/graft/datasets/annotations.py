"""Annotations of Pascal VOC: an XML file for each picture, in the folders of its development kit.

Everingham, Van Gool, Williams, Winn and Zisserman, "The Pascal Visual Object Classes (VOC)
Challenge", International Journal of Computer Vision 88, 2010:

    <root>/Annotations/<id>.xml
    <root>/JPEGImages/<id>.jpg
    <root>/ImageSets/Main/<list>.txt

A file gives the picture's size, and each object's class and box, the first and the last pixel of
it, counted from 1. `difficult` objects are hard to recognise and not scored by the challenge;
`truncated` ones extend beyond their box.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from graft.core.errors import GraftError
from graft.datasets.label_sets import joined

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels from 0, the last ones excluded."""

EDGES = ("xmin", "ymin", "xmax", "ymax")
FLAGS = {"0": False, "": False, "Unspecified": False, "1": True}
"""Values of `difficult` and `truncated`; annotation tools write the word for what nobody set."""

_PLACE = re.compile(
    r"(?P<root>(?:[^/]+/)*)(?P<folder>Annotations|JPEGImages|ImageSets/Main)/"
    r"(?P<name>[^/.][^/]*)\.(?P<suffix>[^/.]+)"
)


class Place(NamedTuple):
    """Where in a kit a file is: `root` ends with "/" or is "", `suffix` is in lower case."""

    root: str
    folder: str
    name: str
    suffix: str


class Object(NamedTuple):
    """One object; `clipped` says that its published box stuck out of the picture."""

    label: str
    box: Box
    difficult: bool
    truncated: bool
    clipped: bool


class Annotation(NamedTuple):
    """What is in a picture of `width` x `height` pixels, in published order; perhaps nothing."""

    width: int
    height: int
    objects: tuple[Object, ...]

    @property
    def label(self) -> str:
        """The classes of all objects, difficult ones too, sorted and joined by "|"."""
        return joined(item.label for item in self.objects)


def place(member: str) -> Place | None:
    """Where in a kit a member of an archive is; None for other files and hidden ones."""
    match = _PLACE.fullmatch(member)
    if match is None:
        return None
    return Place(match["root"], match["folder"], match["name"], match["suffix"].lower())


def parse(data: bytes, source: str) -> Annotation:
    """The annotation in an XML file's bytes.

    The `part` elements within objects (heads, hands and feet of people) are no objects. Without
    `difficult` or `truncated` an object is neither. A box that sticks out of the picture is
    clipped.

    Raises GraftError, which names `source`, for XML that does not parse, declares a document type
    (its entities could grow without bound), or lacks the size, a class or an edge; and for a box
    that is empty or wholly outside the picture.
    """
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        parser.feed(data)
        root = parser.close()
        width, height = (_side(root, key) for key in ("width", "height"))
        objects = tuple(_object(item, width, height) for item in root.findall("object"))
    # Other classes than ParseError are those of unknown encodings.
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        form = "is not XML: " if isinstance(error, ElementTree.ParseError | LookupError) else ""
        raise GraftError(
            f"{source}: the annotation {form}{error}. Correct it, or remove it."
        ) from error
    return Annotation(width, height, objects)


def half_open(edges: Sequence[float], width: int, height: int) -> tuple[Box, bool]:
    """A box of first and last pixels from 1 as pixels from 0 with the last ones excluded, clipped
    to the picture; and whether that changed it. ValueError for one that is empty or outside."""
    whole = (edges[0] - 1.0, edges[1] - 1.0, float(edges[2]), float(edges[3]))
    if whole[0] >= whole[2] or whole[1] >= whole[3]:
        raise ValueError("is empty")
    x1, x2 = (min(max(x, 0.0), float(width)) for x in whole[::2])
    y1, y2 = (min(max(y, 0.0), float(height)) for y in whole[1::2])
    if x1 >= x2 or y1 >= y2:
        raise ValueError(f"is outside the picture of {width} x {height} pixels")
    box = (x1, y1, x2, y2)
    return box, box != whole


class _NoDoctype(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("declares a document type, which VOC's do not")


def _object(item: ElementTree.Element, width: int, height: int) -> Object:
    label = _text(item, "name")
    if not label:
        raise ValueError("has an object without a name")
    box = item.find("bndbox")
    texts = ["" if box is None else _text(box, edge) for edge in EDGES]
    if missing := [edge for edge, text in zip(EDGES, texts, strict=True) if not text]:
        raise ValueError(f"has no {missing[0]} for an object of the class {label!r}")
    try:
        edges = [float(text) for text in texts]
    except ValueError:
        edges = [math.nan]
    if not all(map(math.isfinite, edges)):
        raise ValueError(f"has the box {' '.join(texts)} of a {label!r}, which is not four numbers")
    try:
        inside, clipped = half_open(edges, width, height)
    except ValueError as error:
        raise ValueError(f"has the box {' '.join(texts)} of a {label!r}, which {error}") from error
    return Object(label, inside, _flag(item, "difficult"), _flag(item, "truncated"), clipped)


def _side(root: ElementTree.Element, key: str) -> int:
    text = _text(root, f"size/{key}")
    if not text.isdecimal() or len(text) > 6 or int(text) < 1:
        raise ValueError(f"has the {key} {text[:20]!r}, not a number of pixels")
    return int(text)


def _flag(item: ElementTree.Element, key: str) -> bool:
    text = _text(item, key)
    if text not in FLAGS:
        raise ValueError(f"has {key} {text!r}, not 0 or 1")
    return FLAGS[text]


def _text(item: ElementTree.Element, path: str) -> str:
    return (item.findtext(path) or "").strip()
