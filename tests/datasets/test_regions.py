"""regions.csv: the objects of the kept rows, by the names of `classes`, in a strict file."""

import json

import pandas as pd
import pytest
from builders import build_rows, jpeg, make_tar, overlay, voc_xml
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.config import plan, stages
from graft.config.read import read_config
from graft.core.errors import GraftError
from graft.datasets import regions, samples
from graft.datasets.regions import COLUMNS, read, write

VOC = {
    "layout": "voc2007",
    "files": {"x.tar": {"url": ["x.tar"], "md5": "0" * 32}},
    "label": "objects",
    "crop": "whole",
    "packed_size": 32,
}
SPLITS = {"train": range(6), "val": range(6, 8), "test": range(8, 10)}


def kit(kinds, colour, *, extra=()):
    """A tar's files: ten pictures with an object each, of two classes in turn, and one unlisted;
    `extra` are objects that the first has besides."""
    files = {
        f"ImageSets/Main/{split}.txt": "\n".join(map(str, numbers)).encode()
        for split, numbers in SPLITS.items()
    }
    for number in range(11):
        objects = [(kinds[number % 2], (number + 1, 2, 50, 60))]
        objects += extra if number == 0 else ()
        files[f"JPEGImages/{number}.jpg"] = jpeg(colour + number)
        files[f"Annotations/{number}.xml"] = voc_xml(*objects)
    return files


def collected(folder, sets, files, name):
    """data_file.csv's frame, and what `collect` makes for it."""
    config = read_config(overlay(name, **sets))
    archives = {
        key: make_tar(folder / key.replace("/", "_"), content) for key, content in files.items()
    }
    found = list(samples.samples(stages.structure(config, name), archives, []))
    frame, _ = build_rows(found, archives)
    return frame, *regions.collect(frame, stages.regions(config, name), archives)


def test_each_kept_sample_has_its_objects_in_the_order_of_data_file(tmp_path):
    extra = [("cat", (90, 70, 120, 80), 1), ("cat", (3, 3, 3, 3), 0)]
    files = {"x.tar": kit(("cat", "dog"), 0, extra=extra)}
    frame, table, counts = collected(tmp_path, {"mine": VOC}, files, "mine")
    kept = frame[frame["drop_reason"] == ""]
    assert len(kept) == 10 and list(table.columns) == list(COLUMNS)
    assert list(dict.fromkeys(table["sample_id"])) == kept["sample_id"].tolist()
    number = kept.set_index("sample_id")["member"].str.extract(r"(\d+)\.jpg")[0].astype(int)
    first = table.drop_duplicates("sample_id")
    assert first["x1"].tolist() == number[first["sample_id"]].tolist()
    (zero,) = number.index[number == 0]
    assert table[table["sample_id"] == zero].to_numpy().tolist() == [
        [zero, "cat", 0, 1, 50, 60, False, False],
        [zero, "cat", 89, 69, 100, 80, True, False],
        [zero, "cat", 2, 2, 3, 3, False, False],
    ]
    assert counts == {
        "samples": 10,
        "empty": 0,
        "objects": {"cat": 7, "dog": 5},
        "difficult": 1,
        "truncated": 0,
        "clipped": 1,
    }


@pytest.mark.parametrize(
    ("classes", "objects"),
    [
        ({"rename": {"cat": "pet", "dog": "pet"}}, {"pet": 10, "sofa": 1}),
        ({"rename": {"cat": "Katze"}, "only": ["Katze", "dog"]}, {"Katze": 5, "dog": 5}),
    ],
)
def test_classes_are_renamed_and_left_out_as_those_of_the_samples(tmp_path, classes, objects):
    config = read_config(overlay("mine", mine=VOC | {"classes": classes}))
    files = kit(("cat", "dog"), 0, extra=[("sofa", (1, 1, 9, 9))])
    archives = {"x.tar": make_tar(tmp_path / "x.tar", files)}
    frame, _ = build_rows(
        samples.samples(
            stages.structure(read_config(overlay("mine", mine=VOC)), "mine"), archives, []
        ),
        archives,
    )
    table, counts = regions.collect(frame, stages.regions(config, "mine"), archives)
    assert counts["objects"] == objects and len(table) == sum(objects.values())


def test_merged_sets_have_their_own_classes_and_kits(tmp_path):
    """Both have pictures of the same names, and the first class of one is renamed."""
    second = VOC | {"classes": {"rename": {"cow": "cat"}}}
    both = {"merge": ["one", "two"], "crop": "whole", "packed_size": 32}
    both |= {"classes": {"rename": {"horse": "dog"}}}
    files = {
        "one/x.tar": kit(("cat", "dog"), 0),
        "two/x.tar": kit(("cow", "horse"), 100, extra=[("cow", (1, 1, 7, 7))]),
    }
    sets = {"one": VOC, "two": second, "both": both}
    frame, table, counts = collected(tmp_path, sets, files, "both")
    assert counts["samples"] == 20 and counts["objects"] == {"cat": 11, "dog": 10}
    kept = frame[frame["drop_reason"] == ""].set_index("sample_id")
    labels = kept["label"].to_dict()
    assert all(labels[i] == label for i, label in table[["sample_id", "label"]].to_numpy())
    (twice,) = table["sample_id"][table["sample_id"].duplicated()]
    assert kept.loc[twice, ["archive", "member"]].tolist() == ["two/x.tar", "JPEGImages/0.jpg"]


def test_a_row_that_the_tars_do_not_explain_is_one_sentence(tmp_path):
    config = read_config(overlay("mine", mine=VOC))
    spec = stages.regions(config, "mine")
    files = kit(("cat", "dog"), 0)
    archives = {"x.tar": make_tar(tmp_path / "x.tar", files)}
    frame, _ = build_rows(samples.samples(stages.structure(config, "mine"), archives, []), archives)
    del files["Annotations/3.xml"]
    less = {"x.tar": make_tar(tmp_path / "less.tar", files)}
    with pytest.raises(GraftError, match=r"keeps '3', which has no annotation.*-R structure"):
        regions.collect(frame, spec, less)
    other = frame.assign(member="a.jpg")
    with pytest.raises(GraftError, match=r"'a\.jpg' is no picture of VOC's"):
        regions.collect(other, spec, archives)


def test_only_data_sets_whose_members_all_say_where_objects_are_have_regions():
    folder = {"layout": "folder", "files": {"a.tar": {"folder": "p"}}, "label": "class"}
    folder |= {"packed_size": 32, "crop": "whole"}
    merged = {"crop": "whole", "packed_size": 32}
    sets = {"one": VOC, "two": VOC, "plain": folder}
    sets |= {"both": merged | {"merge": ["one", "two"]}}
    config = read_config(overlay("both", **sets))
    found = {name: plan.has_regions(config, name) for name in sets}
    assert found == {"one": True, "two": True, "plain": False, "both": True}


def example(**changes):
    row = dict(zip(COLUMNS, ("0" * 16, "cat", 0.0, 1.0, 2.0, 3.0, True, False), strict=True))
    return pd.DataFrame([row | changes]).astype(regions.TYPES)


edge = st.floats(0, 1e6) | st.integers(0, 5000).map(float)


@settings(deadline=None, max_examples=60)
@given(
    label=st.text(min_size=1, max_size=6) | st.sampled_from(["007", "NA", 'a,"\r', "\n"]),
    xs=st.tuples(edge, edge).filter(lambda pair: pair[0] < pair[1]),
    ys=st.tuples(edge, edge).filter(lambda pair: pair[0] < pair[1]),
)
def test_any_region_survives_the_file(tmp_path_factory, label, xs, ys):
    path = tmp_path_factory.getbasetemp() / "regions.csv"
    frame = example(label=label, x1=xs[0], y1=ys[0], x2=xs[1], y2=ys[1])
    write(path, frame)
    pd.testing.assert_frame_equal(read(path), frame)


def test_the_file_is_plain_and_may_be_empty(tmp_path):
    write(tmp_path / "a.csv", example(x1=0.25))
    assert (tmp_path / "a.csv").read_text() == ",".join(COLUMNS) + "\n" + "0" * 16 + (
        ",cat,0.25,1,2,3,1,0\n"
    )
    write(tmp_path / "b.csv", example()[:0])
    again = read(tmp_path / "b.csv")
    assert again.empty and again.dtypes.equals(example().dtypes)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("id,cat,0,1,2,3,1", "line 2 has 7 cells"),
        ("id,cat,0,1,x,3,1,0", "could not convert"),
        ("id,cat,0,1,0,3,1,0", "line 2 has no box"),
        ("id,cat,0,1,nan,3,1,0", "line 2 has no box"),
        ("id,cat,-1,1,2,3,1,0", "line 2 has no box"),
        ("id,cat,0,1,2,inf,1,0", "line 2 has no box"),
        ("id,,0,1,2,3,1,0", "line 2 is no region"),
        (",cat,0,1,2,3,1,0", "line 2 is no region"),
        ("id,cat,0,1,2,3,1,True", "line 2 is no region"),
        ('id,"cat,0,1,2,3,1,0', "unexpected end"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, line, message):
    path = tmp_path / "regions.csv"
    path.write_text(",".join(COLUMNS) + "\n" + line + "\n")
    with pytest.raises(GraftError, match=rf"regions\.csv: not regions .*{message}.*-R regions"):
        read(path)
    path.write_text("a,b\n")
    with pytest.raises(GraftError, match="its header is not sample_id,label,x1"):
        read(path)
    with pytest.raises(GraftError, match="cannot be read"):
        read(tmp_path / "none.csv")


def test_the_counts_can_be_sealed(tmp_path):
    _, _, counts = collected(tmp_path, {"mine": VOC}, {"x.tar": kit(("cat", "dog"), 0)}, "mine")
    assert json.loads(json.dumps(counts)) == counts
