"""Tables of pixels."""

import csv
import io
import time
import tracemalloc

import numpy as np
import pytest
from builders import grey, pictures_of, write_idx
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from graft.core.errors import GraftError
from graft.datasets import containers, pixel_tables

TABLE = b"emotion,pixels,Usage\n3,0 1 2 255,Training\n0,9 8 7 6,PrivateTest\n"


def table(tmp_path, data=TABLE, name="fer2013.csv"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_a_table_gives_cells_and_byte_ranges(tmp_path):
    path = table(tmp_path)
    first, second = pixel_tables.rows(path, ("Usage", "emotion"))
    assert first == ("00000", 2, ("Training", "3"), b"0 1 2 255", TABLE.index(b"0 1"))
    assert second == ("00001", 3, ("PrivateTest", "0"), b"9 8 7 6", TABLE.index(b"9 8"))
    members = [tuple(member) for member in containers.members(path)]
    assert members == [(row.name, row.offset, len(row.pixels)) for row in (first, second)]
    (_, picture), _ = pictures_of(path)
    assert picture.tolist() == grey([[0, 1], [2, 255]]).tolist()


@pytest.mark.parametrize(
    "data",
    [
        b"emotion, Usage, pixels\n3,Training,0 1 2 255\n0,PrivateTest,9 8 7 6\n",
        b"\xef\xbb\xbfpixels,emotion,Usage\r\n0 1 2 255,3,Training\r\n9 8 7 6,0,PrivateTest",
        b'"emotion","pixels","Usage"\n"3","0 1 2 255","Training"\n"0", "9 8 7 6" ,PrivateTest\n\n',
        b"n,emotion,x,Usage,pixels\n\n1,3,a b,Training ,0 1 2 255 \n\n2, 0,, PrivateTest, 9 8  7 6",
    ],
    ids=["icml", "bom and crlf", "quoted", "more columns"],
)
def test_a_tables_columns_may_stand_in_any_order_and_dress(tmp_path, data):
    path = table(tmp_path, data)
    cells = [row.cells for row in pixel_tables.rows(path, ("emotion", "Usage"))]
    assert cells == [("3", "Training"), ("0", "PrivateTest")]
    pictures = [picture[..., 0].ravel().tolist() for _, picture in pictures_of(path)]
    assert pictures == [[0, 1, 2, 255], [9, 8, 7, 6]]


CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"'), max_size=9)


@given(
    st.integers(1, 4).flatmap(lambda side: st.lists(arrays.arrays(np.uint8, (side, side)))),
    st.permutations(["pixels", "Usage", "note"]),
    st.sampled_from(
        [
            {"quoting": quoting, "lineterminator": end}
            for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
            for end in ("\n", "\r\n")
        ]
    ),
    st.data(),
)
def test_a_table_is_read_as_the_csv_module_wrote_it(
    tmp_path_factory, pictures, columns, dialect, data
):
    notes = [data.draw(CELLS) for _ in pictures]
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, **dialect)
    writer.writeheader()
    for picture, note in zip(pictures, notes, strict=True):
        pixels = " ".join(map(str, picture.ravel().tolist()))
        writer.writerow({"pixels": pixels, "Usage": "Training", "note": note})
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(file.getvalue().encode())
    rows = list(pixel_tables.rows(path, ("Usage", "note")))
    assert [row.cells for row in rows] == [("Training", note.strip()) for note in notes]
    read = [picture for _, picture in pictures_of(path)]
    assert np.array_equal(read, [grey(picture) for picture in pictures])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"names the columns '', and needs each of emotion, Usage, pixels once"),
        (
            b"emotion,pixel,Usage\n",
            r"columns 'emotion', 'pixel', 'Usage', and needs each of",
        ),
        (b"emotion,pixels,pixels,Usage\n", "and needs each of emotion, Usage, pixels once"),
        (b"3,0 1 2 3,Training\n", r"'3', '0 1 2 3', 'Training', and needs"),
        (
            b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9,
            r"line 1 names the columns '\\ufffdPNG'",
        ),
        (TABLE + b"3,0 1 2 3\n", "line 4 does not have 3 cells as the header"),
        (TABLE + b"3,0 1 2 3,Training,\n", "line 4 does not have 3 cells"),
        (TABLE + b'3,"0 1 2 3,Training\n', "line 4 does not have 3 cells"),
        (TABLE + b'3,"0 1 2 3"x,Training\n', "line 4 does not have 3 cells"),
        (TABLE + b"3,0 1 2,Training\n", "line 4 has 3 pixels, not 4 as in the first row"),
        (TABLE + b"3,0 1 2 3 4 5 6 7 8,Training\n", "line 4 has 9 pixels, not 4 as"),
        (TABLE.replace(b"0 1 2 255", b"0 1 2"), "line 2 has 3 pixels, not a square number"),
        (TABLE + b"3,0 1 2 256,Training\n", "line 4 has pixels that are not whole numbers"),
        (TABLE + b"3,0 1 2 99999999999999999999999,Training\n", "line 4 has pixels that"),
        (TABLE + b"3,0 1 2 -1,Training\n", r"from 0 to 255\)\. Fetch it again"),
        (TABLE + b"3,0 1 2 1.5,Training\n", "line 4 has pixels"),
        (TABLE + b"3,0 1 2 0x7,Training\n", "line 4 has pixels"),
        (TABLE + b"3,,Training\n", "line 4 has pixels"),
        (TABLE + b"3,  ,Training\n", "line 4 has pixels"),
    ],
)
def test_what_is_no_sound_table_is_one_sentence(tmp_path, data, message):
    path = table(tmp_path, data)
    with pytest.raises(GraftError, match=message) as caught:
        list(pixel_tables.rows(path, ("emotion", "Usage")))
        list(containers.members(path))
    sentence = str(caught.value)
    assert sentence.startswith(str(path)) and sentence.isprintable() and len(sentence) < 500


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(pixel_tables, "LONGEST_LINE", 64)
    path = table(tmp_path, TABLE + b"3," + b"0 " * 40)
    with pytest.raises(GraftError, match="line 4 is too long for a table of pixels"):
        list(pixel_tables.rows(path))
    with pytest.raises(GraftError, match="cannot be read"):
        list(pixel_tables.rows(tmp_path / "lost.csv"))


def test_a_stray_quote_is_noticed_in_time(tmp_path):
    path = table(tmp_path, TABLE + b"3," + b"0 " * 20_000 + b'",Training\n')
    start = time.process_time()
    with pytest.raises(GraftError, match="line 4 does not have 3 cells"):
        list(pixel_tables.rows(path))
    assert time.process_time() - start < 2  # of a few milliseconds


@pytest.mark.parametrize("text", [b"", b" ", b"1 2 3", b"1 2 3 a", b"1 2 3 256", b"\xff" * 4])
def test_text_that_is_no_picture_is_not_decoded(text):
    assert pixel_tables.decode(text) is None


def test_containers_are_walked_in_flat_memory(tmp_path):
    row = b"3," + b" ".join(b"%d" % (i % 256) for i in range(48 * 48)) + b",Training\n"
    csv_file = table(tmp_path, b"emotion,pixels,Usage\n" + row * 500)
    idx_file = write_idx(tmp_path / "t-images-idx3-ubyte", np.zeros((100_000, 2, 2)))
    for path in (csv_file, idx_file):
        tracemalloc.start()
        for _ in containers.members(path):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1_000_000
