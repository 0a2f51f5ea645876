"""Members that an archive holds more than once: every layout takes the last, as tar does."""

import pytest
from builders import build_rows, jpeg, read_layout, voc_xml, write_pairs

from graft.download.archives import Archive

BOX = (1, 1, 9, 9)
LAYOUTS = {
    "folder": (
        "class",
        {f"{c}/{n}.jpg": b"" for c in ("cat", "dog") for n in range(12)},
        "cat/0.jpg",
    ),
    "lfw": (
        "identity",
        {f"l/{c}/{c}_{n:04}.jpg": b"" for c in ("Ann", "Bea") for n in range(20)},
        "l/Ann/Ann_0000.jpg",
    ),
    "voc2007": (
        "objects",
        {f"v/JPEGImages/{n}.jpg": b"" for n in range(12)}
        | {f"v/Annotations/{n}.xml": voc_xml((("cat", "dog")[n % 2], BOX)) for n in range(12)}
        | {
            "v/ImageSets/Main/train.txt": b"0 1 2 3 4 5".replace(b" ", b"\n"),
            "v/ImageSets/Main/val.txt": b"6\n7",
            "v/ImageSets/Main/test.txt": b"8\n9\n10\n11",
        },
        "v/JPEGImages/0.jpg",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_repeated_member_is_one_sample_with_the_last_bytes(tmp_path, capsys, layout):
    label, files, again = LAYOUTS[layout]
    path = tmp_path / "x.tar"
    drawn = [jpeg(n) for n in range(len(files))]
    pairs = [(name, data or drawn[n]) for n, (name, data) in enumerate(files.items())]
    write_pairs(path, [*pairs, (again, jpeg(255))])
    archives = {"x.tar": path}
    rows = read_layout(layout, archives, label)
    frame, counts = build_rows(rows, archives, multi=layout == "voc2007")
    assert counts["published"] == sum(not data for data in files.values())
    row = frame.set_index("member").loc[again]
    with Archive(path) as archive:
        assert archive.read(row["offset"], row["size"]) == jpeg(255)
    assert "1 pictures are there again under the same name" in capsys.readouterr().out


def test_the_last_annotation_of_a_picture_counts(tmp_path):
    path = tmp_path / "x.tar"
    files = [*LAYOUTS["voc2007"][1].items(), ("v/Annotations/0.xml", voc_xml(("cow", BOX)))]
    rows = read_layout("voc2007", {"x.tar": write_pairs(path, files)}, "objects")
    assert rows[0].member == "v/JPEGImages/0.jpg" and rows[0].label == "cow"
