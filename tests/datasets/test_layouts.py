"""Pictures in other containers than tar (IDX, tables of pixels), and the layouts that use them."""

import csv
import gzip
import io
import random
import shutil
import struct
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from conftest import SCHEMA, SHIPPED
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from project import Project, files
from sklearn.datasets import load_digits

from graft.config import checks
from graft.core.errors import GraftError
from graft.datasets import containers, idx, pixel_tables, samples
from graft.datasets import table as data_file
from graft.datasets.layouts import fer2013, mnist
from graft.datasets.splits import SPLITS, complete_splits, follow_published
from graft.datasets.table import Candidate, build
from graft.demo import digits
from graft.download import raw_files
from graft.download.archives import Archive
from graft.images import align, crop, pack
from graft.reporting import verify

SPLIT = {"train": 0.7, "val": 0.1, "test": 0.2, "seed": 1}
RNG = np.random.default_rng(0)


def idx_bytes(values):
    """As the format is written down, and not as `idx.encode` does it."""
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return header + bytes(values.ravel().tolist())


def write_idx(path, values):
    path.write_bytes(idx_bytes(np.asarray(values, np.uint8)))
    return path


def pictures_of(path):
    """(name, pixels) of every picture of a container, read as the stages do."""
    decode = containers.decoder(path)
    with Archive(path) as archive:
        return [(m.name, decode(archive.read(m.offset, m.size))) for m in containers.members(path)]


def grey(values):
    """Grey pictures as RGB."""
    return np.stack([np.asarray(values, np.uint8)] * 3, axis=-1)


# IDX


def test_idx_is_read_as_its_specification_says(tmp_path):
    path = tmp_path / "t-images-idx3-ubyte"
    path.write_bytes(bytes.fromhex("00000803 00000002 00000002 00000003 000102030405 fafbfcfdfeff"))
    assert idx.shape(path, 3) == (2, 2, 3)
    assert [tuple(member) for member in idx.members(path)] == [("00000", 16, 6), ("00001", 22, 6)]
    (_, first), (_, second) = pictures_of(path)
    assert first.tolist() == grey([[0, 1, 2], [3, 4, 5]]).tolist()
    assert second.tolist() == grey([[250, 251, 252], [253, 254, 255]]).tolist()
    path.write_bytes(bytes.fromhex("00000801 00000003 070009"))
    assert idx.labels(path).tolist() == [7, 0, 9]
    assert idx.labels(path).dtype == np.uint8


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=3, max_dims=3, max_side=6)))
def test_idx_survives_writing_and_reading(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("idx") / "x.idx3-ubyte"
    path.write_bytes(idx.encode(values))
    assert path.read_bytes() == idx_bytes(values)
    assert [name for name, _ in pictures_of(path)] == [f"{n:05d}" for n in range(len(values))]
    assert np.array_equal([picture for _, picture in pictures_of(path)], grey(values))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"\x1f\x8b\x08\x08" + data[4:], "begins with 0x1f8b0808, not 0x00000803"),
        (lambda data: data[:3] + b"\x01" + data[4:], "is no IDX file of 3 dimensions"),
        (lambda data: data[:2] + b"\x0d" + data[3:], "begins with 0x00000d03, not 0x00000803"),
        (lambda data: b"", "begins with 0x, not"),
        (lambda data: data[:9], "is cut short within its header; fetch it again"),
        (lambda data: data[:-1], "is cut short, having 39 bytes and not the 40"),
        (lambda data: data + b"\0", "goes on after its end, having 41 bytes and not the 40"),
        (lambda data: data[:8] + bytes(8), "holds pictures of 0 x 0"),
    ],
)
def test_what_is_no_sound_idx_is_one_sentence(tmp_path, damage, message):
    path = tmp_path / "t-images-idx3-ubyte"
    path.write_bytes(damage(idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))))
    for read in (containers.decoder, lambda path: list(containers.members(path))):
        with pytest.raises(GraftError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_every_truncation_of_idx_is_noticed(tmp_path):
    data = idx_bytes(np.zeros((3, 2, 2), np.uint8))
    path = tmp_path / "t-images-idx3-ubyte"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(GraftError):
            list(idx.members(path))
    with pytest.raises(GraftError, match="cannot be read"):
        list(idx.members(tmp_path / "lost-images-idx3-ubyte"))


# Tables of pixels

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
        (b"", r"names the columns '', where each of emotion, Usage, pixels is expected once"),
        (b"emotion,pixel,Usage\n", r"names the columns 'emotion', 'pixel', 'Usage', where each of"),
        (b"emotion,pixels,pixels,Usage\n", "is expected once, in any order; fetch it again"),
        (b"3,0 1 2 3,Training\n", r"'3', '0 1 2 3', 'Training', where"),
        (
            b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9,
            r"first line names the columns '\\ufffdPNG'",
        ),
        (TABLE + b"3,0 1 2 3\n", "line 4 has not the 3 cells that its header names"),
        (TABLE + b"3,0 1 2 3,Training,\n", "line 4 has not the 3 cells"),
        (TABLE + b'3,"0 1 2 3,Training\n', "line 4 has not the 3 cells"),
        (TABLE + b'3,"0 1 2 3"x,Training\n', "line 4 has not the 3 cells"),
        (TABLE + b"3,0 1 2,Training\n", "line 4 holds 3 pixels, not 4 as in the first row"),
        (TABLE + b"3,0 1 2 3 4 5 6 7 8,Training\n", "line 4 holds 9 pixels, not 4 as"),
        (TABLE.replace(b"0 1 2 255", b"0 1 2"), "line 2 holds 3 pixels, not a square number"),
        (TABLE + b"3,0 1 2 256,Training\n", "line 4 holds pixels that are not whole numbers"),
        (TABLE + b"3,0 1 2 99999999999999999999999,Training\n", "line 4 holds pixels that"),
        (TABLE + b"3,0 1 2 -1,Training\n", "from 0 to 255; fetch it again"),
        (TABLE + b"3,0 1 2 1.5,Training\n", "line 4 holds pixels"),
        (TABLE + b"3,0 1 2 0x7,Training\n", "line 4 holds pixels"),
        (TABLE + b"3,,Training\n", "line 4 holds pixels"),
        (TABLE + b"3,  ,Training\n", "line 4 holds pixels"),
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
    with pytest.raises(GraftError, match="line 4 has not the 3 cells"):
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


# The layouts


def mnist_pair(folder, prefix, labels, pictures=None, dot="-"):
    """A pair of files whose pictures, unless given, are all different."""
    if pictures is None:
        pictures = [
            random.Random(f"{prefix} {number}").randbytes(16) for number in range(len(labels))
        ]
        pictures = np.array([list(picture) for picture in pictures]).reshape(-1, 4, 4)
    images = write_idx(folder / f"{prefix}-images{dot}idx3-ubyte", pictures)
    return {
        images.name: images,
        f"{prefix}-labels{dot}idx1-ubyte": write_idx(
            folder / f"{prefix}-labels{dot}idx1-ubyte", labels
        ),
    }


def structure(layout, archives, label, **changes):
    found = samples.rows(layout, archives, label=label, dataset="d")
    options = {"split": SPLIT, "shards": {}, "dataset": "d"} | changes
    return build(found, archives, **options)


@pytest.mark.parametrize("dot", ["-", "."])
def test_mnist_has_the_published_test_split_and_val_is_carved_out_of_train(tmp_path, dot):
    train, test = [0, 1] * 40, [1, 0, 1, 1]
    archives = mnist_pair(tmp_path, "train", train, dot=dot)
    archives |= mnist_pair(tmp_path, "t10k", test, dot=dot)
    frame, counts = structure("mnist", archives, "digit")
    assert counts["published"] == counts["kept"] == 84 and counts["dropped"] == {}
    assert counts["splits"] == {  # val / (train + val) is an eighth
        "train": {"0": 35, "1": 35},
        "val": {"0": 5, "1": 5},
        "test": {"0": 1, "1": 3},
    }
    assert set(frame[frame["split"] == "test"]["archive"]) == {f"t10k-images{dot}idx3-ubyte"}
    labels = {("train", f"{n:05d}"): str(label) for n, label in enumerate(train)}
    labels |= {("t10k", f"{n:05d}"): str(label) for n, label in enumerate(test)}
    found = {(row.archive.partition("-")[0], row.member): row.label for row in frame.itertuples()}
    assert found == labels
    assert frame["group"].is_unique
    again, _ = structure("mnist", dict(reversed(archives.items())), "digit")
    key = ["archive", "member"]
    assert again.sort_values(key)["split"].tolist() == frame.sort_values(key)["split"].tolist()


def test_another_pair_than_mnists_has_no_published_split(tmp_path):
    archives = mnist_pair(tmp_path, "digits", [0, 1, 12] * 10)
    assert {row.split for row in mnist.rows(archives, label="digit")} == {""}
    _, counts = structure("mnist", archives, "digit")
    assert {split: sum(n.values()) for split, n in counts["splits"].items()} == {
        "train": 21,
        "val": 3,
        "test": 6,
    }
    assert set(counts["splits"]["test"]) == {"0", "1", "12"}


def test_pairs_with_and_without_published_splits_are_merged(tmp_path):
    archives = mnist_pair(tmp_path, "train", [0, 1] * 20)
    archives |= mnist_pair(tmp_path, "t10k", [0, 1] * 10)
    archives |= mnist_pair(tmp_path, "digits", [0, 1] * 20)
    frame, counts = structure("mnist", archives, "digit")
    where = Counter(zip(frame["archive"].str.partition("-")[0], frame["split"], strict=True))
    # An eighth of each class of the published train, beside what the others have for val.
    assert where == {
        ("train", "train"): 34,
        ("train", "val"): 6,
        ("t10k", "test"): 20,
        ("digits", "train"): 28,
        ("digits", "val"): 4,
        ("digits", "test"): 8,
    }
    assert counts["kept"] == 100


def test_pictures_that_two_published_splits_share_are_dropped_and_counted(tmp_path):
    blank, dot = np.zeros((4, 4)), np.eye(4)
    archives = mnist_pair(tmp_path, "train", [0] * 3 + [1] * 3, [blank, dot, 2 * dot] * 2)
    archives |= mnist_pair(tmp_path, "t10k", [0, 1], [3 * dot, blank])
    frame, counts = structure("mnist", archives, "digit", split=SPLIT | {"val": 0.5, "train": 0.3})
    assert counts["dropped"] == {"duplicate_of_test": 2}
    assert counts["duplicates"] == 4
    gone = frame[frame["drop_reason"] != ""]
    assert sorted(gone["member"]) == ["00000", "00003"]
    assert set(gone["archive"]) == {"train-images-idx3-ubyte"}


def test_one_picture_may_have_one_number_in_two_files(tmp_path):
    archives = mnist_pair(tmp_path, "train", [0, 1] * 2, [np.full((4, 4), n) for n in range(4)])
    archives |= mnist_pair(tmp_path, "t10k", [0, 1], [np.zeros((4, 4)), np.full((4, 4), 9)])
    frame, counts = structure("mnist", archives, "digit", split=SPLIT | {"val": 0.4, "train": 0.4})
    assert counts["dropped"] == {"duplicate_of_test": 1}
    assert frame["sample_id"].is_unique


def test_bad_mnist_is_one_sentence(tmp_path):
    good = mnist_pair(tmp_path, "train", [0, 1, 0, 1])
    images, labels = good
    for files_ in ({}, {images: good[images]}, good | {"x.txt": tmp_path}):
        with pytest.raises(GraftError, match="layout mnist reads pairs of <name>-images-idx3-ubyt"):
            list(mnist.rows(files_, label="digit"))
    twice = good | mnist_pair(tmp_path, "train", [0, 1, 0, 1], dot=".")
    with pytest.raises(GraftError, match="but the dataset's `files` list train-images-idx3-ubyte"):
        list(mnist.rows(twice, label="digit"))
    write_idx(good[labels], [0, 1, 0])
    with pytest.raises(GraftError, match="holds 3 labels for the 4 pictures of train-images-idx3"):
        list(mnist.rows(good, label="digit"))
    good[labels].write_bytes(good[images].read_bytes())
    with pytest.raises(GraftError, match="is no IDX file of 1 dimension "):
        list(mnist.rows(good, label="digit"))


def test_a_class_that_only_the_test_split_has_is_one_sentence(tmp_path):
    archives = mnist_pair(tmp_path, "train", [0, 1] * 10) | mnist_pair(tmp_path, "t10k", [0, 2])
    with pytest.raises(GraftError, match=r"datasets\.d: the class '2' has no training sample"):
        structure("mnist", archives, "digit")


def fer(emotions, usages, pixels=None):
    """A table of pictures that are all different unless given."""
    lines = [b"emotion,pixels,Usage"]
    for number, (emotion, usage) in enumerate(zip(emotions, usages, strict=True)):
        text = pixels[number] if pixels else f"{number} {number + 1} 0 255"
        lines.append(f"{emotion},{text},{usage}".encode())
    return b"\n".join(lines) + b"\n"


def test_fer2013_has_seven_emotions_and_published_splits(tmp_path):
    emotions = [*range(7), *range(7), *range(7), 7, "", "happy"]
    usages = ["Training"] * 7 + ["PublicTest"] * 7 + ["PrivateTest"] * 7 + ["Training"] * 3
    path = table(tmp_path, fer(emotions, usages))
    frame, counts = structure("fer2013", {"fer2013.csv": path}, "emotion")
    names = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert counts["dropped"] == {"no_label": 3} and counts["published"] == 24
    assert counts["splits"] == {split: dict.fromkeys(sorted(names), 1) for split in SPLITS}
    rows = frame.sort_values("member")
    assert rows["label"].tolist() == names * 3 + [""] * 3
    assert rows["split"].tolist() == ["train"] * 7 + ["val"] * 7 + ["test"] * 7 + [""] * 3
    assert data_file.classes(frame) == sorted(names)
    kept = rows[rows["drop_reason"] == ""]
    assert kept["group"].is_unique


def test_fer2013_compares_pixels_and_not_how_they_are_written(tmp_path):
    pixels = ["0 1 2 3", "00 1  2 3", "4 4 4 4", "4 4 4 4 ", "5 5 5 5", "0 1 2 3", "6 6 6 6"]
    pixels.append("7 7 7 7")
    usages = ["Training"] * 3 + ["PublicTest"] * 2 + ["PrivateTest"] + ["Training"] * 2
    path = table(tmp_path, fer([3] * 7 + [4], usages, pixels))
    frame, counts = structure("fer2013", {"fer2013.csv": path}, "emotion")
    reasons = frame.set_index("member")["drop_reason"]
    assert reasons.sort_index().tolist() == [
        "duplicate_of_test",
        "duplicate_of_test",
        "duplicate_of_val",
        *[""] * 5,
    ]
    assert counts["dropped"] == {"duplicate_of_test": 2, "duplicate_of_val": 1}
    assert counts["duplicates"] == 3


def test_bad_fer2013_is_one_sentence(tmp_path):
    path = table(tmp_path, fer([0], ["Validation"]))
    with pytest.raises(GraftError, match="line 2 has the Usage 'Validation', which is none of Tr"):
        list(fer2013.rows({"fer2013.csv": path}, label="emotion"))
    for names in ([], ["fer2013.csv", "icml_face_data.csv"], ["faces.csv"]):
        with pytest.raises(GraftError, match=r"reads fer2013\.csv or icml_face_data\.csv, one fil"):
            list(fer2013.rows(dict.fromkeys(names, path), label="emotion"))
    path = table(tmp_path, fer([0] * 3, ["Training"] * 3, ["1 2 3 4", "1 2 3", "1 2 3 4"]))
    with pytest.raises(GraftError, match="line 3 holds 3 pixels, not 4 as in the first row"):
        structure("fer2013", {"fer2013.csv": path}, "emotion")
    path = table(tmp_path, fer([0] * 4, ["Training", "PublicTest", "PrivateTest", "Training"]))
    path.write_bytes(path.read_bytes().replace(b"\n0,1 2", b"\n6,1 2"))
    with pytest.raises(GraftError, match=r"datasets\.d: the class 'neutral' has no training sampl"):
        structure("fer2013", {"fer2013.csv": path}, "emotion")


# Published splits in part


def complete(splits, labels=None, groups=None, content=None, **shares):
    """Splits of rows that are alike in nothing unless given."""
    size = len(splits)
    return complete_splits(
        splits,
        labels or ["a"] * size,
        groups or [f"group {row}" for row in range(size)],
        content or [f"picture {row}".encode() for row in range(size)],
        fractions={"train": 0.6, "val": 0.2, "test": 0.2} | shares,
        seed=0,
    ).tolist()


@pytest.mark.parametrize(
    ("published", "sizes"),
    [
        ({"train": 80, "test": 7}, {"train": 60, "val": 20, "test": 7}),  # a quarter of train
        ({"train": 80, "val": 7}, {"train": 60, "val": 7, "test": 20}),
        ({"train": 100}, {"train": 60, "val": 20, "test": 20}),
        ({"train": 80, "val": 1, "test": 7}, {"train": 80, "val": 1, "test": 7}),
        ({"": 100}, {"train": 60, "val": 20, "test": 20}),
        # Few rows without a split do not stand in for a split that is not published.
        ({"": 10, "train": 80, "test": 7}, {"train": 66, "val": 22, "test": 9}),
        ({"": 10, "train": 80, "val": 3, "test": 7}, {"train": 86, "val": 5, "test": 9}),
    ],
)
def test_missing_splits_are_carved_out_of_train_and_no_others(published, sizes):
    splits = [split for split, size in published.items() for _ in range(size)]
    found = complete(splits)
    assert Counter(found) == sizes
    for before, after in zip(splits, found, strict=True):
        assert before in ("", after) or (before == "train" and after not in published)


def test_a_split_is_carved_out_by_group_and_by_class():
    labels = ["a"] * 60 + ["b"] * 20 + ["a", "b"]
    groups = [f"person {row // 3}" for row in range(60)] + [f"b {row}" for row in range(22)]
    found = complete(["train"] * 80 + ["test"] * 2, labels, groups)
    of_group = {(group, split) for group, split in zip(groups, found, strict=True)}
    assert len(of_group) == len(set(groups))
    counts = Counter(zip(labels, found, strict=True))
    assert (counts["a", "val"], counts["b", "val"]) == (15, 5)


def test_rows_without_a_split_go_with_published_ones_of_their_group_or_picture():
    found, reasons = follow_published(
        ["test", "val", "train", "", "", "", "", ""],
        groups=["p", "q", "r", "p", "q", "s", "s", "t"],
        content=[b"1", b"2", b"3", b"4", b"5", b"3", b"6", b"7"],
    )
    # The last but one has nothing of a published row, but the person of a row that has.
    assert found == ["test", "val", "train", "test", "val", "train", "train", ""]
    assert not any(reasons)


def test_a_repeat_without_a_split_gives_way_to_published_ones():
    splits = ["test", "val", "train", "", "", "", ""]
    content = [b"1", b"2", b"3", b"1", b"2", b"3", b"4"]
    _, reasons = follow_published(splits, list("abcdefg"), content)
    assert reasons == ["", "", "", "duplicate_of_test", "duplicate_of_val", "", ""]


def test_whose_picture_is_dropped_goes_with_it_all_the_same():
    # Of p one picture is the published test's; of q one is, and another the published train's.
    found, reasons = follow_published(
        ["train", "test", "test", "", "", "", "", "", ""],
        groups=["a", "b", "c", "p", "p", "q", "q", "q", "r"],
        content=[b"1", b"2", b"3", b"2", b"4", b"3", b"1", b"5", b"6"],
    )
    assert reasons[3:] == [
        *("duplicate_of_test", ""),
        *("duplicate_of_test", "between_splits", "between_splits"),
        "",
    ]
    assert (found[4], found[8]) == ("test", "")


def test_groups_that_straddle_published_splits_are_refused():
    splits, groups = ["train"] * 40 + ["test"], [f"{row}" for row in range(41)]
    # Told of as published, though its training row is one of those that val is carved out of.
    groups[40] = groups[complete(splits, groups=groups).index("val")]
    with pytest.raises(GraftError, match=f"the group '{groups[40]}' stands in both train and test"):
        complete(splits, groups=groups)


def test_a_class_that_is_not_published_for_training_is_refused():
    with pytest.raises(GraftError, match="the class 'b' has no training sample"):
        complete(["train", "val", "test"], ["a", "a", "b"])


def test_a_class_of_the_unpublished_rows_may_have_its_training_rows_among_the_published():
    # b's only unpublished row is bound to a larger group of a's, which may land anywhere.
    labels = ["b"] * 5 + ["a"] * 30 + ["a", "b"]
    groups = [f"g{row}" for row in range(35)] + ["both", "both"]
    published = [*["train"] * 3, "val", "test"]
    found = complete([*published, *[""] * 32], labels, groups)
    assert found[:5] == published and found[-1] == found[-2]


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["", "", *SPLITS]),
        st.sampled_from("ab"),
        st.integers(0, 30),
        st.integers(0, 60),
    ),
    min_size=1,
    max_size=50,
)


@settings(deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_completed_splits_never_straddle_and_do_not_depend_on_the_order(rows, shuffler):
    def run(rows):
        splits, labels, groups, content = map(list, zip(*rows, strict=True))
        content = [str(picture).encode() for picture in content]
        groups = [f"group {group}" for group in groups]
        columns = [*follow_published(splits, groups, content), labels, groups, content]
        stay = [row for row, reason in enumerate(columns.pop(1)) if not reason]
        columns = [[column[row] for row in stay] for column in columns]
        return [rows[row] for row in stay], complete(*columns)

    try:
        kept, found = run(rows)
    except GraftError as error:
        assert "stands in both" in str(error) or "no training sample" in str(error)
        return
    given_ = {row[0] for row in kept}
    for row, split in zip(kept, found, strict=True):
        assert row[0] in ("", split) or (row[0] == "train" and split not in given_)
    for column in (2, 3):
        straddling = {(row[column], split) for row, split in zip(kept, found, strict=True)}
        assert len(straddling) == len({value for value, _ in straddling})
    if any(given_):
        shuffled = list(rows)
        shuffler.shuffle(shuffled)
        assert Counter(zip(*run(shuffled), strict=True)) == Counter(zip(kept, found, strict=True))


def test_mixed_rows_are_split_and_counted_by_the_structure_stage(tmp_path):
    archives = mnist_pair(tmp_path, "x", [0] * 12, np.arange(12).reshape(12, 1, 1) // 2)
    # Every picture is there twice: published first, then without a split, or the other way.
    splits = ["train", "", "", "test", "val", "", "", "", "train", "train", "", ""]
    rows = [
        Candidate("x-images-idx3-ubyte", f"{n:05d}", f"{n > 7}", f"g{n}", split=split)
        for n, split in enumerate(splits)
    ]
    frame, counts = build(rows, archives, split=SPLIT, shards={})
    where = frame.set_index("member").sort_index()
    assert where["drop_reason"]["00002"] == "duplicate_of_test"
    assert where["drop_reason"]["00005"] == "duplicate_of_val"
    assert where["split"]["00001"] == "train"
    assert where["split"]["00006"] == where["split"]["00007"] != ""
    assert where["split"]["00010"] == where["split"]["00011"] != ""
    assert counts["dropped"] == {"duplicate_of_test": 1, "duplicate_of_val": 1}
    assert counts["published"] == 12 and counts["kept"] == 10


# The embedded digits


def obtain(folder, name):
    raw_files.obtain(
        folder / name.removesuffix(".gz"),
        name=name,
        key="k",
        render={"kind": "digits"},
        **dict.fromkeys(["sha256", "md5", "size", "tree", "manual", "folder"]),
        url=[],
    )
    return folder / name.removesuffix(".gz")


def test_the_embedded_digits_are_scikit_learns(tmp_path):
    images = obtain(tmp_path, "digits-images-idx3-ubyte.gz")
    labels = obtain(tmp_path, "digits-labels-idx1-ubyte.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == [images.name, labels.name]
    real = load_digits()
    assert idx.labels(labels).tolist() == real.target.tolist()
    pixels = np.array([picture for _, picture in pictures_of(images)])
    assert pixels.shape == (1797, 8, 8, 3) and pixels.max() == 255
    assert abs(pixels[..., 0] - real.images * 255 / 16).max() <= 0.5
    archives = {images.name: images, labels.name: labels}
    _, counts = structure("mnist", archives, "digit")
    assert counts["kept"] == 1797
    total = Counter()
    for of_split in counts["splits"].values():
        total.update(of_split)
    assert total == Counter(map(str, real.target.tolist()))


def test_the_digits_files_are_the_same_bytes_at_any_time(tmp_path):
    for name in ("a-images-idx3-ubyte.gz", "b-images-idx3-ubyte.gz", "c-images-idx3-ubyte"):
        digits.write(tmp_path / name)
    first, second = (tmp_path / f"{x}-images-idx3-ubyte.gz" for x in "ab")
    packed = first.read_bytes()
    assert packed == second.read_bytes() and packed[4:8] == bytes(4)  # RFC 1952: MTIME
    assert gzip.decompress(packed) == (tmp_path / "c-images-idx3-ubyte").read_bytes()
    with pytest.raises(GraftError, match="named <name>-images-idx3-ubyte and <name>-labels-idx1"):
        digits.write(tmp_path / "digits.gz")
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"render": {"kind": "digits", "seed": 1}}, r"the kind digits takes no seed; leave that"),
        ({"render": {"kind": "digits", "size": 64}}, r"the kind digits takes no size"),
        ({"render": {"kind": "wiki", "seed": 1}}, r"files\.x\.render: the kind wiki needs people"),
        ({"render": {"kind": "lfw"}}, r"the kind lfw needs people, pictures, seed; add"),
        ({"render": {"kind": "wiki", "people": 3, "pictures": 2, "seed": 1}}, "takes no pictures"),
        ({"render": {"kind": "digit"}}, "did you mean digits"),
        ({"url": ["x"], "md5": "abc"}, r"files\.x\.md5 is not valid"),
    ],
)
def test_what_a_file_cannot_be_is_one_sentence(file, message):
    with pytest.raises(GraftError, match=message) as caught:
        checks.resolve(with_dataset(files={"x": file}), SCHEMA)
    assert "\n" not in str(caught.value)


def with_dataset(**changes):
    spec = {
        "layout": "mnist",
        "files": {"x-images-idx3-ubyte.gz": {"url": ["x"], "md5": "0" * 32}},
        "label": "digit",
        "crop": "whole",
        "image_size": 8,
    }
    return SHIPPED | {"datasets": SHIPPED["datasets"] | {"x": spec | changes}}


def test_pictures_may_be_as_small_as_the_digits():
    found = checks.resolve(with_dataset(), SCHEMA)["datasets"]["x"]
    assert found["image_size"] == 8 and found["files"]["x-images-idx3-ubyte.gz"]["sha256"] is None
    with pytest.raises(GraftError, match=r"datasets\.x\.image_size .* 8"):
        checks.resolve(with_dataset(image_size=7), SCHEMA)


# Through faces and packs


def packed(folder, archives, layout, label, size, **options):
    """What stands in the packs of all splits: sample_id -> picture; and the data file's frame."""
    frame, _ = structure(layout, archives, label)
    pictures = {}
    for split in SPLITS:
        rows = data_file.kept(frame, split, 0)
        crop.extract(rows, archives, folder / "f.h5", crop="whole", size=size, recipe={})
        pack.write(
            folder / "f.h5",
            folder / "p.h5",
            image_size=size,
            classes=data_file.classes(frame),
            recipe={},
            **options,
        )
        with h5py.File(folder / "p.h5") as file:
            names = [name.decode() for name in file["sample_id"]]
            pictures |= dict(zip(names, file["images"][...], strict=True))
    return frame, pictures


def test_grey_pictures_of_48_pixels_come_through_byte_for_byte(tmp_path):
    published = RNG.integers(0, 256, (12, 48, 48))
    published[0, :16] = np.arange(768).reshape(16, 48) % 256  # every value
    lines = [" ".join(map(str, picture.ravel())) for picture in published]
    usages = ["Training"] * 6 + ["PublicTest"] * 3 + ["PrivateTest"] * 3
    path = table(tmp_path, fer([0, 1, 2] * 4, usages, lines))
    archives = {"fer2013.csv": path}
    frame, found = packed(tmp_path, archives, "fer2013", "emotion", 48, grayscale=True)
    assert len(found) == 12
    for row in frame.itertuples():
        assert found[row.sample_id].dtype == np.uint8
        assert np.array_equal(found[row.sample_id][..., 0], published[int(row.member)])
    _, colour = packed(tmp_path, archives, "fer2013", "emotion", 48)
    assert all(np.array_equal(colour[name], grey(found[name][..., 0])) for name in found)


def test_idx_pictures_come_through_byte_for_byte(tmp_path):
    published = RNG.integers(0, 256, (20, 28, 28))
    archives = mnist_pair(tmp_path, "x", [0, 1] * 10, published)
    frame, found = packed(tmp_path, archives, "mnist", "digit", 28, grayscale=True)
    for row in frame.itertuples():
        assert np.array_equal(found[row.sample_id][..., 0], published[int(row.member)])


def test_small_pictures_are_enlarged_smoothly_and_in_place():
    for level in (0, 100, 255):
        assert (align.whole(np.full((8, 8, 3), level, np.uint8), 48) == level).all()
    ramp = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None] * 30 + 20, (8, 8))
    large = align.whole(grey(ramp), 64)[:, 30, 0].astype(float)
    # The centre of row y of 64 lies at (y + 0.5) / 8 - 0.5 of 8. OpenCV's cubic (a = -0.75)
    # bends a line, but by little of the 30 from pixel to pixel.
    expected = ((np.arange(64) + 0.5) / 8 - 0.5) * 30 + 20
    assert abs(large - expected)[12:-12].max() <= 2
    assert (np.diff(large[8:-8]) >= 0).all()
    digit = grey(np.round(load_digits().images[0] * 255 / 16))
    pixel = cv2.resize(align.whole(digit, 64), (8, 8), interpolation=cv2.INTER_AREA)
    assert abs(pixel.astype(int) - digit).max() < 40
    assert np.corrcoef(pixel.ravel(), digit.ravel())[0, 1] > 0.99


def test_a_container_that_has_changed_is_noticed_by_the_faces_stage(tmp_path):
    archives = mnist_pair(tmp_path, "x", [0, 1] * 10)
    frame, _ = structure("mnist", archives, "digit")
    mnist_pair(tmp_path, "x", [0, 1] * 10, RNG.integers(0, 256, (20, 4, 4)))
    rows = data_file.kept(frame, "train", 0)
    with pytest.raises(GraftError, match="the archive has changed"):
        crop.extract(rows, archives, tmp_path / "f.h5", crop="whole", size=4, recipe={})


# The real command

OVERLAY = """
run: [digits]
compute: {device: cpu}
experiments:
  digits: {dataset: digits, source: vgg_mini, modes: [from_scratch]}
"""


def test_the_digits_become_packs_and_come_out_of_the_store(tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(OVERLAY)
    first = Project(tmp_path / "first", store=tmp_path / "store", overlays=[overlay])
    target = "results/data/digits/packs/val-00.h5"
    first.snakemake(target)
    wanted = ("results/data/digits/raw/*-ubyte", target)
    made = files(first.folder, *wanted)
    names = ["digits-images-idx3-ubyte", "digits-labels-idx1-ubyte", "val-00.h5"]
    assert sorted(Path(name).name for name in made) == names
    before = {path.name: path.stat().st_mtime_ns for path in first.store.iterdir()}
    second = tmp_path / "second"
    shutil.copytree(first.folder, second, ignore=shutil.ignore_patterns("results", ".snakemake"))
    Project(second, store=first.store, overlays=[overlay]).snakemake(target)
    assert files(second, *wanted) == made
    # Files whose names have no suffix are stored and vouched for like all others.
    assert {path.name: path.stat().st_mtime_ns for path in first.store.iterdir()} == before
    assert list(verify.verify_store(first.store)) == []
    assert list(verify.verify_results(second / "results")) == []
