"""Annotations of Pascal VOC: their boxes, and one sentence for each way in which one is broken."""

import pytest
from builders import voc_xml
from hypothesis import given
from hypothesis import strategies as st

from graft.core.errors import GraftError
from graft.datasets import annotations
from graft.datasets.annotations import Object, half_open, parse


def test_a_published_box_of_first_and_last_pixels_becomes_a_half_open_one_from_0():
    found = parse(voc_xml(("cat", (1, 2, 50, 60)), ("dog", (7, 8, 7, 8))), "a.xml")
    assert (found.width, found.height) == (100, 80)
    assert found.objects == (
        Object("cat", (0.0, 1.0, 50.0, 60.0), False, False, False),
        Object("dog", (6.0, 7.0, 7.0, 8.0), False, False, False),  # one pixel
    )


def test_the_label_is_all_classes_difficult_ones_too_each_once_and_sorted():
    boxes = [("person", (1, 1, 5, 5), 1), ("cat", (1, 1, 9, 9), 0), ("person", (3, 3, 9, 9), 0)]
    found = parse(voc_xml(*boxes), "a.xml")
    assert found.label == "cat|person"
    assert [item.difficult for item in found.objects] == [True, False, False]
    assert parse(voc_xml(), "a.xml").label == ""


def test_flags_may_be_missing_or_not_set():
    xml = voc_xml(("cat", (1, 1, 5, 5)))
    assert b"difficult" not in xml
    tagged = [
        xml.replace(b"<name>", b"<truncated> 1 </truncated><difficult/><name>"),
        xml.replace(b"<name>", b"<difficult>Unspecified</difficult><name>"),
    ]
    flags = [parse(data, "a.xml").objects[0][2:4] for data in (xml, *tagged)]
    assert flags == [(False, False), (False, True), (False, False)]


def test_a_part_of_an_object_is_no_object_and_lends_it_nothing():
    part = b"<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3</xmax>"
    part += b"<ymax>3</ymax></bndbox></part>"
    whole = voc_xml(("person", (1, 1, 9, 9)))
    for before in (b"<bndbox>", b"</object>", b"<name>"):
        at = whole.index(before)
        found = parse(whole[:at] + part + whole[at:], "a.xml")
        assert [(item.label, item.box) for item in found.objects] == [("person", (0, 0, 9, 9))]
    bare = whole[: whole.index(b"<bndbox>")] + part + b"</object></annotation>"
    with pytest.raises(GraftError, match="has no xmin for an object of the class 'person'"):
        parse(bare, "a.xml")


def test_a_box_that_sticks_out_is_clipped_and_marked():
    boxes = (-5, 1, 20, 20), (1, 1, 100, 80), (0, 0, 101, 80.5), (90.5, 3, 90.5, 90)
    found = parse(voc_xml(*[("cat", box) for box in boxes]), "a.xml")
    assert [(item.box, item.clipped) for item in found.objects] == [
        ((0, 0, 20, 20), True),
        ((0, 0, 100, 80), False),
        ((0, 0, 100, 80), True),
        ((89.5, 2, 90.5, 80), True),
    ]


GOOD = voc_xml(("cat", (3, 4, 30, 40)))
LAUGHS = b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not XML: no element found"),
        (GOOD[:-5], "is not XML"),
        (b"\xff\xd8\xff\xe0 JFIF", "is not XML"),
        (b'<?xml version="1.0" encoding="nonsense"?><annotation/>', "nonsense"),
        (LAUGHS + GOOD.replace(b"cat", b"&b;"), "declares a document type"),
        (b'<!DOCTYPE annotation SYSTEM "http://x/y.dtd">' + GOOD, "declares a document type"),
        (b"<annotation/>", "has the width '', not a number of pixels"),
        (GOOD.replace(b">80<", b">0<"), "has the height '0', not a number"),
        (GOOD.replace(b">80<", b">" + b"9" * 5000 + b"<"), "not a number of pixels"),
        (GOOD.replace(b"cat", b" "), "has an object without a name"),
        (GOOD.replace(b"name>", b"nome>"), "has an object without a name"),
        (GOOD.replace(b"bndbox>", b"box>"), "has no xmin for an object of the class 'cat'"),
        (GOOD.replace(b"ymax>", b"ymox>"), "has no ymax for an object of the class 'cat'"),
        (GOOD.replace(b">30<", b">x<"), "has the box 3 4 x 40 of a 'cat', which is not four"),
        (GOOD.replace(b">30<", b">inf<"), "3 4 inf 40 of a 'cat', which is not four numbers"),
        (GOOD.replace(b">30<", b">nan<"), "which is not four numbers"),
        (GOOD.replace(b">30<", b">2<"), "has the box 3 4 2 40 of a 'cat', which is empty"),
        (GOOD.replace(b">40<", b">3<"), "has the box 3 4 30 3 of a 'cat', which is empty"),
        (
            voc_xml(("cat", (101, 4, 130, 40))),
            "has the box 101 4 130 40 of a 'cat', which is outside the picture of 100 x 80",
        ),
        (voc_xml(("cat", (1, -9, 13, 0))), "which is outside the picture"),
        (voc_xml(("cat", (1, 1, 3, 3), 2)), "has difficult '2', not 0 or 1"),
    ],
)
def test_a_broken_annotation_is_one_sentence_that_names_the_file(data, message):
    with pytest.raises(GraftError, match=r"^x\.tar: a\.xml: the annotation .*\.$") as caught:
        parse(data, "x.tar: a.xml")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda more: GOOD[:150] + more))
def test_any_bytes_are_an_annotation_or_one_error(data):
    try:
        parse(data, "a.xml")
    except GraftError as error:
        assert str(error).startswith("a.xml: ")


edges = st.floats(-200, 200) | st.integers(-200, 200)


@given(st.tuples(edges, edges, edges, edges), st.integers(1, 120), st.integers(1, 120))
def test_the_half_open_box_covers_the_pixels_of_the_published_one(box, width, height):
    """Held against the pixels themselves: column c (from 0) is in a published box of whole numbers
    if xmin <= c + 1 <= xmax, and in a half-open one if x1 <= c < x2."""
    try:
        (x1, y1, x2, y2), clipped = half_open(box, width, height)
    except ValueError:
        empty = box[0] - 1.0 >= box[2] or box[1] - 1.0 >= box[3]
        assert empty or box[0] > width or box[1] > height or box[2] <= 0 or box[3] <= 0
        return
    assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    inside = box[0] >= 1 and box[1] >= 1 and box[2] <= width and box[3] <= height
    assert clipped is not inside
    if inside:
        assert (x1 + 1, y1 + 1, x2, y2) == pytest.approx(box, abs=1e-9)
    if all(isinstance(edge, int) for edge in box):
        for first, last, low, high, side in ((0, 2, x1, x2, width), (1, 3, y1, y2, height)):
            pixels = [c for c in range(side) if box[first] <= c + 1 <= box[last]]
            assert pixels == [c for c in range(side) if low <= c < high]


def test_only_files_of_a_kit_have_a_place_in_it():
    assert annotations.place("VOCdevkit/VOC2012/Annotations/2007_27.XML") == (
        *("VOCdevkit/VOC2012/", "Annotations", "2007_27", "xml"),
    )
    assert annotations.place("ImageSets/Main/train.txt")[:2] == ("", "ImageSets/Main")
    assert annotations.place("x/JPEGImages/a.b.jpg")[2:] == ("a.b", "jpg")
    for other in ("x/ImageSets/Layout/train.txt", "x/JPEGImages/._a.jpg", "x/Annotations/a/b.xml"):
        assert annotations.place(other) is None
