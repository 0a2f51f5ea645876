"""data_file.csv: any text survives, types are strict, damage is one sentence."""

import csv
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from builders import part_of
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.core.errors import GraftError
from graft.datasets import table
from graft.datasets.table import COLUMNS, check_sample, read, read_part, sample_id, write


def test_a_picture_that_has_changed_is_noticed():
    expected = sample_id("a.jpg", b"data")
    check_sample(expected, "a.jpg", b"data")
    for member, data in (("a.jpg", b"Data"), ("b.jpg", b"data"), ("a.jpg", b"")):
        with pytest.raises(
            GraftError, match=rf"{member}: the bytes .* {expected}\. Run the structure"
        ):
            check_sample(expected, member, data)


def test_boxes_are_written_alike_everywhere():
    assert table.format_box(1, 2.5, 100.126, 1e6 + 0.004) == "1 2.5 100.13 1000000"
    assert table.format_box(-0.001, 0, np.float32(3), 4) == "0 0 3 4"


def example(**columns):
    row = dict.fromkeys(COLUMNS, "") | {
        "sample_id": "0" * 16,
        "split": "train",
        "shard": 0,
        "offset": 512,
        "size": 3,
    }
    return pd.DataFrame([row | columns])


@settings(deadline=None, max_examples=60)
@given(
    label=st.text(max_size=8) | st.sampled_from(["007", "NA", "nan", "1e5", "True", " x ", '"']),
    group=st.text(alphabet='a",\r\n\t é\0', max_size=8),
    member=st.text(max_size=8),
)
def test_any_text_survives_the_file(tmp_path_factory, label, group, member):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    frame = example(label=label, group=group, member=member)
    write(path, frame)
    again = read(path)
    assert again.loc[0, ["label", "group", "member"]].tolist() == [label, group, member]
    assert again.to_dict("records") == frame.to_dict("records")
    write(path.with_name("again.csv"), again)
    assert path.read_bytes() == path.with_name("again.csv").read_bytes()
    with open(path, encoding="utf-8", newline="") as file:
        assert [row[3] for row in csv.reader(file)] == ["label", label]


def test_types_are_strict(tmp_path):
    write(tmp_path / "a.csv", example(label="007", group="NA", member="1"))
    frame = read(tmp_path / "a.csv")
    assert {name for name in COLUMNS if frame[name].dtype == "int64"} == {"shard", "offset", "size"}
    assert all(frame[name].dtype == "str" for name in COLUMNS if name not in table.INTEGERS)
    assert not frame.isna().any().any()
    gone = example(split="", shard=-1, drop_reason="no_label", offset=-1, size=0)
    write(tmp_path / "b.csv", gone)
    assert (tmp_path / "b.csv").read_text().splitlines()[1] == "0" * 16 + ",,,,,,,-1,0,,no_label"
    assert read(tmp_path / "b.csv").loc[0, "shard"] == -1
    write(tmp_path / "none.csv", gone[:0])
    assert read(tmp_path / "none.csv").dtypes.equals(frame.dtypes)


def many(shards, rows):
    """So many rows in each shard, and a dropped one."""
    places = [(split, shard) for split in ("train", "test") for shard in range(shards)]
    kept = [
        example(sample_id=f"{number:016x}", split=split, shard=shard, member=f"{number}\n.jpg")
        for number, (split, shard) in enumerate(place for place in places for _ in range(rows))
    ]
    return pd.concat([*kept, example(split="", shard=-1, drop_reason="a")], ignore_index=True)


def test_a_part_is_read_without_the_rest(tmp_path):
    path = tmp_path / "data_file.csv"
    write(path, many(shards=12, rows=3))
    for split, shard, most in (("train", 1, 3), ("train", 11, 3), ("test", 0, 3), ("val", 0, 0)):
        part = read_part(path, split, shard)
        expected = part_of(read(path), split, shard)
        assert len(part) == most and part.dtypes.equals(expected.dtypes)
        assert part.to_dict("records") == expected.to_dict("records")
    path.write_text(path.read_text().replace("train,2,", "train,2,a,"))
    assert len(read_part(path, "train", 1)) == 3
    with pytest.raises(GraftError, match=r"data_file\.csv: not a data file .*12 cells"):
        read_part(path, "train", 2)


def test_the_memory_for_a_part_does_not_grow_with_the_others(tmp_path):
    most = []
    for shards in (2, 40):
        path = tmp_path / f"{shards}.csv"
        write(path, many(shards, rows=20))
        tracemalloc.start()
        read_part(path, "test", shards - 1)  # the last one
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert most[1] < 1.2 * most[0], most


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("id,train,0,a,g,x.tar,m,0,1,", "line 2 has 10 cells"),
        ("id,train,0,a,g,x.tar,m,zero,1,,", "invalid literal"),
        ("id,training,0,a,g,x.tar,m,0,1,,", "line 2 is neither kept nor dropped"),
        ("id,train,,a,g,x.tar,m,0,1,,", "line 2 is neither kept nor dropped"),
        ("id,train,-1,a,g,x.tar,m,0,1,,", "line 2 is neither kept nor dropped"),
        ("id,train,0,a,g,x.tar,m,0,1,,no_face", "line 2 is neither kept nor dropped"),
        ('id,train,0,a,g,x.tar,"m,0,1,,', "unexpected end of data"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, line, message):
    path = tmp_path / "data_file.csv"
    path.write_text(",".join(COLUMNS) + "\n" + line + "\n")
    with pytest.raises(GraftError, match=rf"data_file\.csv: not a data file .*{message}"):
        read(path)


def test_a_wrong_header_or_no_file_is_one_sentence(tmp_path):
    path = tmp_path / "data_file.csv"
    with pytest.raises(GraftError, match=r"data_file\.csv: the file cannot be read"):
        read(path)
    for text in ("", "a,b\n"):
        path.write_text(text)
        with pytest.raises(GraftError, match="its header is not sample_id"):
            read(path)
