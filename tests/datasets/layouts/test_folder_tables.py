"""Tables of labels as people have them: other names, separators, columns and places."""

import re
import unicodedata

import pytest
from builders import make_tar, read_with_notes

from graft.core.errors import GraftError

DECOMPOSED = unicodedata.normalize("NFD", "caf\u00e9")
COMPOSED = unicodedata.normalize("NFC", "caf\u00e9")


def archive(folder, names):
    return make_tar(folder / "x.tar", {name: name.encode() for name in names})


def read(folder, names, text, *, label="class", **options):
    """Of pictures with a table beside them: member -> label or reason, and the notes."""
    table = folder / "labels.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    archives = {"x.tar": archive(folder, names), "labels.csv": table}
    rows, notes = read_with_notes("folder", archives, label, **options)
    return {row.member: row.drop_reason or row.label for row in rows}, notes


def listed(paths):
    return "path,label\n" + "".join(f"{path},{n % 2}\n" for n, path in enumerate(paths))


@pytest.mark.parametrize(
    ("paths", "names", "note"),
    [
        (["1.JPG", "2.jpg"], ["1.jpg", "2.jpg"], "1 of its 2 names .* but for the case"),
        (["1.jpg", "2.jpg"], ["1.JPG", "2.jpg"], r"'1\.jpg' \(1\.JPG\)"),
        (["Cat/A.Jpeg", "dog/b.png"], ["r/cat/a.jpeg", "r/Dog/B.PNG"], "2 of its 2 .* the case"),
        ([f"{DECOMPOSED.upper()}.PNG"], [f"{COMPOSED}.png"], "the case"),
        (["STRASSE.png"], ["stra\u00dfe.png"], "the case"),
        (["1", "2"], ["1.jpg", "2.png"], "2 of its 2 .* the ending"),
        (["a.b", "0007"], ["A.b.JPG", "0007.webp"], "the ending"),
        (["1.png"], ["1.jpg"], "the ending"),
        (["1.jpg", "2.jpg"], ["images_001/images/1.jpg", "images_002/images/2.jpg"], "the folder"),
        (["cat/1.jpg", "cat/2.jpg"], ["r/a/cat/1.jpg", "r/b/cat/2.jpg"], "the folder"),
        (["7", "8"], ["r/train/7.jpg", "r/test/8.jpg"], "the ending"),
        (
            ["/home/ada/photos/cat/1.png", "/home/ada/photos/dog/1.png"],
            ["cat/1.png", "dog/1.png"],
            "read without '/home/ada/photos/' in front",
        ),
        (
            ["C:\\me\\set\\cat\\1.png", "C:\\me\\set\\dog\\1.png"],
            ["set/cat/1.png", "set/dog/1.png"],
            "read without '/me/' in front",
        ),
        (["/x/Cat/1", "/x/Dog/1"], ["r/cat/1.png", "r/dog/1.png"], "'/x/' in front"),
        (["data/set/1.png", "data/set/2.png"], ["1.png", "2.png"], "'data/set/' in front"),
        (["/1.png", "/2.png"], ["1.png", "2.png"], "'/' in front"),
    ],
)
def test_names_that_differ_from_the_files_find_them_and_are_counted(tmp_path, paths, names, note):
    found, notes = read(tmp_path, names, listed(paths))
    assert found == {name: str(n % 2) for n, name in enumerate(names)}
    assert len([n for n in notes if n.startswith(f"{tmp_path}/labels.csv: ")]) == len(notes) > 0
    assert re.search(note, "\n".join(notes))


@pytest.mark.parametrize(
    ("path", "name", "found"),
    [
        (f"{COMPOSED}.png", f"{DECOMPOSED}.png", f"{COMPOSED}.png"),
        (f"{DECOMPOSED}/1.png", f"r/{COMPOSED}/1.png", f"r/{COMPOSED}/1.png"),
    ],
)
def test_names_in_another_unicode_form_are_the_same_names(tmp_path, path, name, found):
    """macOS writes names with combining marks."""
    assert read(tmp_path, [name], listed([path])) == ({found: "0"}, [])


@pytest.mark.parametrize(
    ("paths", "names", "missing"),
    [
        # Two files, or two lines, that differ by case only.
        (["a.jpg", "B.jpg"], ["A.jpg", "a.JPG", "B.jpg"], ["a.jpg"]),
        (["a.JPG", "A.JPG", "b.jpg"], ["a.jpg", "b.jpg"], ["a.JPG", "A.JPG"]),
        (["1", "2.jpg"], ["1.jpg", "1.png", "2.jpg"], ["1"]),
        # A file that a line names exactly is no other line's.
        (["a.jpg", "A.jpg"], ["a.jpg"], ["A.jpg"]),
        (["1.jpg", "1.png"], ["1.jpg"], ["1.png"]),
        (["1.jpg", "3.jpg"], ["a/1.jpg", "b/1.jpg", "3.jpg"], ["1.jpg"]),
        # Not the end of a name, but whole folders.
        (["at/1.jpg", "2.jpg"], ["r/cat/1.jpg", "2.jpg"], ["at/1.jpg"]),
    ],
)
def test_what_several_files_or_lines_may_mean_is_missing(tmp_path, paths, names, missing):
    text = listed(paths)
    with pytest.raises(
        GraftError, match=rf"{len(missing)} of its {len(paths)} lines, .*allow_missing"
    ):
        read(tmp_path, names, text)
    found, notes = read(tmp_path, names, text, allow_missing=True)
    assert set(missing) <= {*found} and not set(missing) & set(names)
    kept = [path for path in paths if path not in missing]
    assert [found[path] for path in kept] == [str(paths.index(path) % 2) for path in kept]
    assert any(f"{len(missing)} of its {len(paths)} lines name no picture" in n for n in notes)
    unlisted = [name for name in names if name not in kept]
    assert {name: found[name] for name in unlisted} == dict.fromkeys(unlisted, "not_listed")


@pytest.mark.parametrize(("gone", "stops"), [(0, False), (2, False), (3, True), (19, True)])
def test_more_than_a_tenth_of_the_lines_without_a_picture_stops(tmp_path, gone, stops):
    paths = [f"{n:02}.png" for n in range(20)]
    names = [*paths[gone:], "more.png"]
    text = listed(paths)
    if stops:
        message = (
            rf"{gone} of its 20 lines, such as line 2 \('00\.png'\), name no picture of .*x\.tar"
        )
        with pytest.raises(GraftError, match=message + r"; 1 of its pictures, such as 'more\.png'"):
            read(tmp_path, names, text)
    found, notes = read(tmp_path, names, text, allow_missing=stops)
    assert len(found) == 21 and found["more.png"] == "not_listed"
    assert any("lacks 1 of the" in note and "'more.png'" in note for note in notes)
    assert any(f"{gone} of its 20 lines name no picture (missing_file)" in n for n in notes) == (
        gone > 0
    )


def test_a_table_that_fits_has_no_note(tmp_path):
    assert read(tmp_path, ["1.png", "2.png"], listed(["1.png", "2.png"]))[1] == []


LINES = [["1.png", "cat"], ["2.png", "dog"]]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("header", "place"),
    [
        (["filename", "label"], (0, 1)),
        (["file_name", "class"], (0, 1)),
        (["Image", "Label"], (0, 1)),
        (["id", "category"], (0, 1)),
        (["image_id", "target"], (0, 1)),
        (["Image Index", "Class Name"], (0, 1)),
        (["label", "File Path"], (1, 0)),
        (["", "path", "label"], (1, 2)),
        (["Unnamed: 0", "fname", "labels"], (1, 2)),
        (["id", "filename", "label"], (1, 2)),
        (["path", "label", "width", "height"], (0, 1)),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_usual_headers_separators_and_encodings_are_known(
    tmp_path, separator, header, place, encoding
):
    rows = [header]
    for number, cells in enumerate(LINES):
        row = [str(number)] * len(header)
        row[place[0]], row[place[1]] = cells
        rows.append(row)
    text = "\r\n".join(separator.join(row) for row in rows)
    found, notes = read(tmp_path, ["1.png", "2.png"], text.encode(encoding))
    assert found == {"1.png": "cat", "2.png": "dog"}
    unused = [
        cell for cell in header if cell in ("id", "width", "height") and cell != header[place[0]]
    ]
    shown = f"the columns {', '.join(unused)} are not used"
    assert [shown in note for note in notes] == [True] * bool(unused)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("dx,image_no\ncat,1.png\ndog,2.png\n", {"columns": {"path": "image_no", "label": "dx"}}),
        ("id,Breed\n1.png,cat\n2.png,dog\n", {"columns": {"label": "breed"}}),
        # What is named goes before what is usual.
        ("id,path,label\n1.png,x,cat\n2.png,y,dog\n", {"columns": {"path": "id"}}),
        ("path|label\n1.png|cat\n2.png|dog\n", {"separator": "|"}),
        ("path:label\n1.png:cat\n2.png:dog\n", {"separator": ":"}),
    ],
)
def test_columns_and_separators_are_options(tmp_path, text, options):
    assert read(tmp_path, ["1.png", "2.png"], text, **options)[0] == {
        "1.png": "cat",
        "2.png": "dog",
    }


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "dx,no\n",
            {},
            r"the columns dx, no \(divided by ','\), and none .* of the path or the label",
        ),
        (
            "id;breed\n",
            {},
            r"the columns id, breed \(divided by ';'\).* of the label\. Name it by "
            r"options\.columns, such as \{label: \.\.\.\}, or another separator",
        ),
        ("1.png,cat\n2.png,dog\n", {}, "The first line has to be a header"),
        (
            "id,breed\n",
            {"columns": {"label": "bred"}},
            r"columns\.label is 'bred'.* Did you mean breed",
        ),
    ],
)
def test_the_message_has_what_was_seen_and_what_helps(tmp_path, text, options, message):
    with pytest.raises(GraftError, match=message):
        read(tmp_path, ["1.png", "2.png"], text, **options)


@pytest.mark.parametrize(
    ("cells", "options", "splits"),
    [
        (("Training", "testing"), {}, ("train", "test")),
        (("train", "eval"), {}, ("train", "test")),
        (("a", "b"), {"splits": {"train": "a", "test": "b"}}, ("train", "test")),
        (("0", "train"), {"splits": {"train": "0", "val": "1"}}, ("train", "train")),
        (("odd", "even"), {"splits": "none"}, ("", "")),
    ],
)
def test_a_tables_splits_have_other_names(tmp_path, cells, options, splits):
    table = tmp_path / "labels.csv"
    table.write_text(f"path,label,split\n1.png,cat,{cells[0]}\n2.png,dog,{cells[1]}\n")
    archives = {"x.tar": archive(tmp_path, ["1.png", "2.png"]), "labels.csv": table}
    rows, _ = read_with_notes("folder", archives, "class", **options)
    assert tuple(row.split for row in rows) == splits


TABLE = b"file,class\n1.png,cat\n2.png,dog\n"


@pytest.mark.parametrize(
    "files",
    [
        {"1.png": b"1", "2.png": b"2", "labels.csv": TABLE},
        {"r/1.png": b"1", "r/2.png": b"2", "labels.csv": TABLE},
        {
            "r/images/1.png": b"1",
            "r/images/2.png": b"2",
            "r/labels.tsv": TABLE.replace(b",", b"\t"),
        },
        {"train/1.png": b"1", "test/2.png": b"2", "train.csv": TABLE},
        {"1.png": b"1", "2.png": b"2", "labels.csv": TABLE, "sizes.csv": b"name,bytes\n1.png,1\n"},
    ],
)
@pytest.mark.parametrize("label", ["class", "classes"])
def test_the_table_of_flat_pictures_is_read_without_being_named(tmp_path, files, label):
    path = make_tar(tmp_path / "x.tar", files)
    rows, notes = read_with_notes("folder", {"x.tar": path}, label)
    assert {row.member[-5:]: row.label for row in rows} == {"1.png": "cat", "2.png": "dog"}
    assert any("so labels are those of its table" in note for note in notes)


def test_tables_that_are_not_read_are_named(tmp_path):
    two = {"1.png": b"1", "2.png": b"2", "a.csv": TABLE, "b.csv": TABLE}
    path = make_tar(tmp_path / "x.tar", two)
    for label in ("class", "classes"):
        with pytest.raises(GraftError, match=r"options\.table \(it holds a\.csv, b\.csv\)"):
            read_with_notes("folder", {"x.tar": path}, label)
    path = make_tar(tmp_path / "y.tar", {"cat/1.png": b"1", "dog/2.png": b"2", "a.csv": TABLE})
    rows, notes = read_with_notes("folder", {"y.tar": path}, "class")
    assert [row.label for row in rows] == ["cat", "dog"]
    assert any(r"name it by options.table (it holds a.csv)" in note for note in notes)


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (["ada_1.png", "bo_1.png"], None),
        (
            ["ada_1.png", "7.png", "8.png"],
            r"gives 1 of 3 pictures a group; each of the other 2, such as 'r/cat/7\.png'",
        ),
        (["ada_1.png", "Ada_2.png"], r"gives 1 of 2 pictures"),
    ],
)
def test_a_group_that_matches_only_some_names_is_counted(tmp_path, names, note):
    path = archive(tmp_path, [f"r/cat/{name}" for name in names] + ["stray.png"])
    _, notes = read_with_notes("folder", {"x.tar": path}, "class", group="^([a-z]+)_")
    assert len(notes) == (note is not None)
    if note:
        assert re.search(note, notes[0])
