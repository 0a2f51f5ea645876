"""The same picture under two labels, and pictures that show the same in other bytes."""

import csv
import io
from collections import Counter
from itertools import combinations

import cv2
import numpy as np
import pytest
from builders import SPLIT, encoded, make_tar, mnist_pair, picture
from PIL import Image

from graft.config import splits
from graft.core.errors import GraftError
from graft.datasets import duplicates, table, thumbnails
from graft.datasets.build import build
from graft.datasets.table import Candidate
from graft.datasets.thumbnails import Thumbnails


def made(folder, rows, pictures=None, *, multi=False, archives=None, **split):
    """What the structure stage makes of rows and pictures (name -> bytes): the reasons by name,
    the frame, the counts, and the three files."""
    archives = archives or {"p.tar": make_tar(folder / "p.tar", pictures)}
    with Thumbnails() as looked:
        frame, counts, repeated = build(
            rows,
            archives,
            looked,
            split=splits.Split(**SPLIT | split),
            shards=splits.Shards(),
            limit=splits.Limit(),
            multi=multi,
            dataset="d",
        )
        duplicates.write_conflicts(folder / "conflicts.csv", repeated.conflicts)
        duplicates.write_near(folder / "near_duplicates.csv", repeated.near)
        duplicates.write_sheet(folder / "near_duplicates.png", repeated.near, looked)
    counts["seen"] = looked.seen
    table.write(folder / "data_file.csv", frame)
    return table.read(folder / "data_file.csv").set_index("member"), counts


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def row(name, label="a", **changes):
    return Candidate("p.tar", name, label=label, **changes)


def others(number=40):
    """Rows and pictures of two classes, none of which is like another."""
    pictures = {f"other{n}": encoded(picture(1000 + n)) for n in range(number)}
    return [row(name, "ab"[n % 2]) for n, name in enumerate(pictures)], pictures


CONFLICTS = {
    "two copies": ([("x", "a"), ("y", "b")], {"x", "y"}),
    "three copies, two labels": ([("x", "a"), ("y", "b"), ("z", "a")], {"x", "y", "z"}),
    "three labels": ([("x", "a"), ("y", "b"), ("z", "c")], {"x", "y", "z"}),
    "in two groups": ([("x", "a", "g"), ("y", "b", "h")], {"x", "y"}),
    "one label": ([("x", "a"), ("y", "a")], set()),
    "a face each": ([("x", "a", "", "0 0 9 9"), ("y", "b", "", "9 9 20 20")], set()),
    "one face": ([("x", "a", "", "0 0 9 9"), ("y", "b", "", "0 0 9 9")], {"x", "y"}),
    "dropped before": ([("x", "a"), ("y", "b", "", "", "bad_age")], set()),
}


@pytest.mark.parametrize("kind", CONFLICTS)
def test_a_picture_under_two_labels_is_dropped_with_all_its_copies(tmp_path, kind):
    listed, expected = CONFLICTS[kind]
    rows, pictures = others()
    rows += [Candidate("p.tar", *one) for one in listed]
    if any(one[1] == "c" for one in listed):
        rows += [row(f"c{n}", "c") for n in range(12)]
        pictures |= {f"c{n}": encoded(picture(100 + n)) for n in range(12)}
    pictures |= dict.fromkeys((one[0] for one in listed), encoded(picture(0)))
    frame, counts = made(tmp_path, rows, pictures, train=0.8, val=0.1, test=0.1)
    assert set(frame.index[frame["drop_reason"] == "conflicting_label"]) == expected
    assert counts["dropped"].get("conflicting_label", 0) == counts["conflicts"] == len(expected)
    conflicts = read(tmp_path / "conflicts.csv")
    assert {one["member"] for one in conflicts} == expected
    assert len({one["picture"] for one in conflicts}) == bool(expected)
    assert any("conflicts.csv" in sentence for sentence in counts["notes"]) == bool(expected)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("where", ["train", "val", "test"])
def test_conflicts_of_published_splits_are_dropped_on_both_sides(tmp_path, split, where):
    rows, pictures = others()
    rows = [one._replace(split=("train", "val", "test")[n // 2 % 3]) for n, one in enumerate(rows)]
    rows += [row("x", "a", split=split), row("y", "b", split=where)]
    pictures |= dict.fromkeys("xy", encoded(picture(0)))
    frame, counts = made(tmp_path, rows, pictures)
    assert frame.loc[["x", "y"], "drop_reason"].tolist() == ["conflicting_label"] * 2
    assert Counter([split, where]) == {
        of: reasons["conflicting_label"] for of, reasons in counts["dropped_from"].items()
    }


def test_conflicts_may_be_kept_and_do_not_exist_between_sets_of_labels(tmp_path):
    rows, pictures = others()
    rows += [row("x", "a"), row("y", "b")]
    pictures |= dict.fromkeys("xy", encoded(picture(0)))
    frame, counts = made(tmp_path, rows, pictures, conflicting_labels="keep")
    assert frame["drop_reason"].eq("").all() and counts["conflicts"] == 2
    assert [one["drop_reason"] for one in read(tmp_path / "conflicts.csv")] == ["", ""]
    assert "stay" in counts["notes"][0]
    frame, counts = made(tmp_path, rows, pictures, multi=True)
    assert frame["drop_reason"].eq("").all() and counts["conflicts"] == 0
    assert read(tmp_path / "conflicts.csv") == []


def test_the_files_are_there_where_nothing_is_repeated(tmp_path):
    _, counts = made(tmp_path, *others())
    assert counts["conflicts"] == counts["near_duplicates"] == 0 and counts["notes"] == []
    for name, columns in (
        ("conflicts", duplicates.CONFLICTS),
        ("near_duplicates", duplicates.NEAR),
    ):
        assert (tmp_path / f"{name}.csv").read_text() == ",".join(columns) + "\n"
    assert Image.open(tmp_path / "near_duplicates.png").size == (40, 96)


def as_jpeg(image, quality):
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def resized(image, scale):
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def turned(image):
    """Stored on its side, with the tag that says so."""
    exif = Image.Exif()
    exif[thumbnails.ORIENTATION] = 6
    return encoded(np.rot90(image), exif=exif)


COPIES = {
    "JPEG, quality 90": lambda image: as_jpeg(image, 90),
    "JPEG, quality 20": lambda image: as_jpeg(image, 20),
    "PNG": lambda image: encoded(image, "PNG"),
    "WebP": lambda image: encoded(image, "WEBP"),
    "BMP": lambda image: encoded(image, "BMP"),
    "half the size": lambda image: encoded(resized(image, 0.5)),
    "two thirds of the size": lambda image: encoded(resized(image, 2 / 3)),
    "larger": lambda image: encoded(resized(image, 1.6)),
    "brighter": lambda image: encoded(np.minimum(image.astype(int) + 20, 255).astype(np.uint8)),
    "less contrast": lambda image: encoded((image * 0.8 + 20).astype(np.uint8)),
    "grey": lambda image: encoded(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)),
    "an edge less": lambda image: encoded(image[2:-2, 2:-2]),
    "on its side, tagged": turned,
}


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("seed", range(3))
def test_a_copy_in_other_bytes_is_in_the_same_split(tmp_path, kind, seed):
    image = (picture(seed, (300, 400)) * 0.8 + 10).astype(np.uint8)
    rows, pictures = others()
    rows += [row("x", "a"), row("y", "a")]
    pictures |= {"x": as_jpeg(image, 95), "y": COPIES[kind](image)}
    frame, counts = made(tmp_path, rows, pictures)
    assert counts["near_duplicates"] == 2 and counts["dropped"] == {}
    assert frame.loc["x", "split"] == frame.loc["y", "split"]
    assert frame.loc["x", "group"] == frame.loc["y", "group"]
    listed = read(tmp_path / "near_duplicates.csv")
    assert [one["member"] for one in listed] == ["x", "y"]
    assert {one["cluster"] for one in listed} == {"1"}
    assert all(0.97 <= float(one["similarity"]) <= 1 for one in listed)
    assert Image.open(tmp_path / "near_duplicates.png").size == (40 + 2 * 96, 96)


def digits(count):
    """Strokes on black, all much alike to the eye."""
    drawn = np.random.default_rng(0)
    for _ in range(count):
        image = np.zeros((28, 28), np.uint8)
        ends = drawn.integers(4, 24, (2, 2)).tolist()
        cv2.line(image, *ends, color=255, thickness=2)
        yield image


DIFFERENT = {
    "pictures": [encoded(picture(seed, (90, 120))) for seed in range(60)],
    "of one grey each": [encoded(np.full((60, 60, 3), 4 * n, np.uint8)) for n in range(60)],
    "strokes on black": [encoded(cv2.resize(one, (64, 64)), "PNG") for one in digits(60)],
    "too small": [encoded(resized(picture(1, (600, 600)), s / 600), "PNG") for s in range(20, 32)],
    "mirrored": [encoded(picture(0)), encoded(picture(0)[:, ::-1])],
    "turned": [encoded(picture(0)), encoded(np.rot90(picture(0)))],
    "the negative": [encoded(picture(0)), encoded(255 - picture(0))],
    "no pictures": [b"GIF89a broken", b"", encoded(picture(0))[:40], b"\xff\xd8\xff\xe1\xff\xff"],
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_pictures_that_differ_are_no_near_duplicates(kind):
    with Thumbnails() as looked:
        for number, data in enumerate(DIFFERENT[kind]):
            looked.add(bytes([number]), data)
        found = looked.near([bytes([n]) for n in range(len(DIFFERENT[kind]))])
    assert found.clusters == found.similarity == {} and not found.alike


def test_characters_of_8_to_31_pixels_are_not_compared(tmp_path):
    strokes = np.repeat(np.stack(list(digits(20))), 2, axis=0)
    strokes[1::2, 0, 0] = 1  # a copy of each, but for one level of one pixel
    archives = mnist_pair(tmp_path, "x", [n // 2 % 2 for n in range(40)], strokes)
    rows = [
        Candidate("x-images-idx3-ubyte", f"{n:05d}", f"{n // 2 % 2}") for n in range(len(strokes))
    ]
    _, counts = made(tmp_path, rows, archives=archives)
    assert counts["near_duplicates"] == 0 and counts["seen"] == 40


def pairs_of_copies(number):
    """Rows and pictures: so many, each twice."""
    pictures = {}
    for n in range(number):
        image = picture(n, (100, 120))
        pictures |= {f"{n}x": as_jpeg(image, 95), f"{n}y": as_jpeg(image, 60)}
    return [row(name, "ab"[n // 2 % 2]) for n, name in enumerate(pictures)], pictures


def across(frame, number):
    """Pairs of copies of which both are kept, in two splits."""
    splits = frame["split"]
    pairs = [(splits[f"{n}x"], splits[f"{n}y"]) for n in range(number)]
    return sum("" not in pair and pair[0] != pair[1] for pair in pairs)


@pytest.mark.parametrize(("mode", "divided"), [("group", 0), ("report", 24), ("off", 24)])
def test_what_is_done_with_near_duplicates_is_configured(tmp_path, mode, divided):
    rows, pictures = pairs_of_copies(60)
    frame, counts = made(tmp_path, rows, pictures, near_duplicates=mode)
    assert across(frame, 60) == pytest.approx(divided, abs=12 if divided else 0)
    assert (counts["seen"], counts["near_duplicates"]) == ((0, 0) if mode == "off" else (120, 120))
    assert any("stay" in one for one in counts["notes"]) == (mode == "report")
    assert len(read(tmp_path / "near_duplicates.csv")) == (0 if mode == "off" else 120)
    assert counts["dropped"] == {}


@pytest.mark.parametrize(
    ("one", "other", "reasons"),
    [
        ("train", "test", ["near_duplicate_of_test", ""]),
        ("train", "val", ["near_duplicate_of_val", ""]),
        ("val", "test", ["near_duplicate_of_test", ""]),
        ("test", "train", ["", "near_duplicate_of_test"]),
        ("test", "test", ["", ""]),
        ("train", "train", ["", ""]),
    ],
)
@pytest.mark.parametrize("mode", ["group", "report"])
def test_published_splits_stay_and_training_loses_copies_of_the_test(
    tmp_path, one, other, reasons, mode
):
    rows, pictures = others()
    rows = [r._replace(split=("train", "val", "test")[n // 2 % 3]) for n, r in enumerate(rows)]
    rows += [row("x", split=one, group="g"), row("y", split=other, group="h")]
    image = picture(0, (100, 120))
    pictures |= {"x": as_jpeg(image, 95), "y": as_jpeg(image, 60)}
    frame, counts = made(tmp_path, rows, pictures, near_duplicates=mode)
    expected = reasons if mode == "group" else ["", ""]
    assert frame.loc[["x", "y"], "drop_reason"].tolist() == expected
    kept = {name: where for name, where in (("x", one), ("y", other)) if frame["split"][name]}
    assert {name: frame["split"][name] for name in kept} == kept
    assert any("stay" in text for text in counts["notes"]) == (mode == "report" and one != other)


def test_a_picture_without_a_published_split_follows_its_near_duplicate(tmp_path):
    rows, pictures = others()
    rows = [r._replace(split=("train", "val", "test")[n // 2 % 3]) for n, r in enumerate(rows)]
    for name, where in (("a", "train"), ("b", "val"), ("c", "test")):
        rows += [row(f"{name}x", split=where), row(f"{name}y")]
        image = picture(ord(name), (100, 120))
        pictures |= {f"{name}x": as_jpeg(image, 95), f"{name}y": as_jpeg(image, 60)}
    frame, _ = made(tmp_path, rows, pictures)
    assert [frame["split"][f"{name}y"] for name in "abc"] == ["train", "val", "test"]


def test_people_who_share_a_near_duplicate_are_one_group(tmp_path):
    rows, pictures = others()
    for number, person in enumerate(("ann", "bob", "cid")):
        rows += [row(f"{person}{n}", "a", group=person) for n in range(3)]
        pictures |= {f"{person}{n}": encoded(picture(10 * number + n)) for n in range(3)}
    image = picture(500, (100, 120))
    pictures |= {"ann0": as_jpeg(image, 95), "bob0": as_jpeg(image, 50)}
    frame, _ = made(tmp_path, rows, pictures)
    groups = {
        name: set(frame["group"][[f"{name}{n}" for n in range(3)]])
        for name in ("ann", "bob", "cid")
    }
    assert groups == {"ann": {"ann"}, "bob": {"ann"}, "cid": {"cid"}}
    assert (
        len(set(frame["split"][[f"{name}{n}" for name in ("ann", "bob") for n in range(3)]])) == 1
    )


def test_near_duplicates_of_another_class_are_kept_and_named(tmp_path):
    rows, pictures = others()
    image = picture(5, (100, 120))
    rows += [row("x", "a"), row("y", "b")]
    pictures |= {"x": as_jpeg(image, 95), "y": as_jpeg(image, 50)}
    frame, counts = made(tmp_path, rows, pictures)
    assert frame["drop_reason"].eq("").all()
    assert counts["notes"] == [
        "2 samples are near duplicates of samples of other classes (near_duplicates.csv)."
    ]


@pytest.mark.parametrize(("noise", "alike"), [(2, False), (7, True)])
def test_likeness_by_nature_is_reported_and_divides_nothing(tmp_path, noise, alike):
    """Pictures of one scene, each with its own noise: with little of it copies, else a kind."""
    drawn = np.random.default_rng(0)
    scene = picture(3, (64, 64)).astype(float)
    pictures = {
        f"{n}": encoded(np.clip(scene + patches(drawn, noise), 0, 255).astype(np.uint8), "PNG")
        for n in range(60)
    }
    rows = [row(name, "ab"[n % 2]) for n, name in enumerate(pictures)]
    if not alike:
        with pytest.raises(GraftError, match="training sample|too few"):
            made(tmp_path, rows, pictures)
        return
    frame, counts = made(tmp_path, rows, pictures)
    assert "may be their nature" in counts["notes"][0]
    assert frame["group"].nunique() == 60 and counts["near_duplicates"] > 6


def patches(drawn, noise):
    """Smooth noise of this deviation, about, on its own 16 x 16 grid."""
    coarse = drawn.normal(0, noise, (16, 16, 1)).astype(np.float32)
    return np.repeat(cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_NEAREST)[..., None], 3, 2)


def test_hashes_that_differ_in_four_bits_are_candidates_and_each_pair_comes_once():
    drawn = np.random.default_rng(1)
    base = drawn.integers(0, 2**63, 300, dtype=np.uint64)
    flips = [sum(1 << int(bit) for bit in drawn.choice(64, n % 5, False)) for n in range(300)]
    hashes = np.concatenate([base, base ^ np.array(flips, np.uint64)])
    pairs = [tuple(sorted(pair)) for part in thumbnails.candidates(hashes) for pair in part.T]
    assert len(pairs) == len(set(pairs))
    assert {(n, n + 300) for n in range(300)} <= set(pairs)
    assert len(pairs) < 400  # chance adds few


def test_the_pairs_looked_at_grow_with_the_pictures_and_not_with_their_square():
    same = np.zeros(2000, np.uint64)
    pairs = sum(part.shape[1] for part in thumbnails.candidates(same))
    assert pairs <= thumbnails.NEIGHBOURS * len(same)


def test_the_similarity_is_the_correlation_of_what_is_shown():
    drawn = np.random.default_rng(2)
    one, other = drawn.integers(0, 256, (2, 5, 1024)).astype(np.uint8)
    none = np.full(5, -100)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(one, other, strict=True)]
    assert thumbnails.similarity(one, other, none, none) == pytest.approx(expected)
    # Black that both share makes strokes no more alike.
    one[:, :900], other[:, :900] = 0, 0
    black = np.zeros(5, np.int64)
    shown = [np.corrcoef(a[900:], b[900:])[0, 1] for a, b in zip(one, other, strict=True)]
    assert thumbnails.similarity(one, other, black, black) == pytest.approx(shown, abs=0.05)
    assert np.corrcoef(one[0], other[0])[0, 1] > 0.5 > abs(shown[0])


@pytest.mark.parametrize("orientation", [1, *thumbnails.TURNS])
def test_a_thumbnail_is_upright(orientation):
    image, exif = picture(7, (96, 96)), Image.Exif()
    exif[thumbnails.ORIENTATION] = orientation
    data = encoded(image, exif=exif)
    upright = np.asarray(
        Image.open(io.BytesIO(data)).transpose(thumbnails.TURNS[orientation])
        if orientation > 1
        else Image.open(io.BytesIO(data))
    )
    expected = thumbnails.thumbnail(np.ascontiguousarray(upright))
    assert np.abs(thumbnails.thumbnail(data).astype(int) - expected).max() <= 3


def test_every_pair_of_a_large_cluster_is_in_one_split(tmp_path):
    image = picture(4, (100, 120))
    rows, pictures = others()
    pictures |= {f"copy{n}": as_jpeg(image, 95 - n) for n in range(30)}
    rows += [row(f"copy{n}", "a") for n in range(30)]
    frame, counts = made(tmp_path, rows, pictures)
    assert counts["near_duplicates"] == 30
    members = [f"copy{n}" for n in range(30)]
    assert all(frame["split"][a] == frame["split"][b] for a, b in combinations(members, 2))
    assert Image.open(tmp_path / "near_duplicates.png").size == (40 + 8 * 96, 96)
