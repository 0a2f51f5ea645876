"""MNIST, whole, and parts of FER2013 and VOC 2007; needs the kit (GRAFT_KIT, ../shared/data)."""

import csv
import gzip
import io
from collections import Counter

import h5py
import numpy as np
import pandas as pd
import pytest
from builders import build_rows, part_of, read_layout, tar_content
from conftest import KIT, needs_kit
from PIL import Image

from graft.config import stages
from graft.config.datasets import Classes
from graft.core.raw_names import raw_name
from graft.datasets import annotations, build, containers, regions
from graft.datasets.layouts.fer2013 import EMOTIONS
from graft.datasets.layouts.voc2007 import CLASSES
from graft.download.archives import Archive
from graft.download.unpack import unpack
from graft.images import crop, pack

SPLIT = {"train": 0.7, "val": 0.1, "test": 0.2, "seed": 0}

pytestmark = needs_kit


def unpacked(folder, *names):
    for name in names:
        unpack(KIT / name, folder / raw_name(name.rpartition("/")[2]), "gz")
    return {path.name: path for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    names = [
        f"mnist/{prefix}-{kind}-ubyte.gz"
        for prefix in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    return unpacked(tmp_path_factory.mktemp("mnist"), *names)


@pytest.fixture(scope="module")
def fer(tmp_path_factory):
    return unpacked(tmp_path_factory.mktemp("fer"), "fer2013/fer2013.csv.gz")


@pytest.fixture(scope="module")
def structured(mnist):
    rows = read_layout("mnist", mnist, "digit")
    return build_rows(rows, mnist, split=SPLIT, shards={"train": 2})


def test_mnist_is_whole_and_its_validation_split_comes_out_of_train(mnist, structured):
    frame, counts = structured
    assert counts["published"] == counts["kept"] == 70_000
    assert counts["dropped"] == {} and counts["duplicates"] == 0
    published = frame["archive"].str.partition("-")[0]
    assert Counter(published) == {"train": 60_000, "t10k": 10_000}
    for prefix in ("train", "t10k"):
        labels = np.fromfile(mnist[f"{prefix}-labels-idx1-ubyte"], np.uint8)[8:]
        found = frame.loc[published == prefix, "label"].astype(int)
        assert np.array_equal(np.bincount(found), np.bincount(labels))
    assert Counter(frame.loc[published == "t10k", "split"]) == {"test": 10_000}
    sizes = Counter(frame.loc[published == "train", "split"])
    # 0.1 of every 0.8, within three standard deviations of 60,000 draws.
    assert set(sizes) == {"train", "val"} and abs(sizes["val"] - 7_500) <= 250
    assert counts["splits"]["test"]["0"] == 980 and counts["splits"]["test"]["1"] == 1135


def test_mnists_pictures_reach_the_packs_unchanged(mnist, structured, tmp_path):
    frame, counts = structured
    rows = part_of(frame, "val", 0).head(1000)
    counted = crop.extract(rows, mnist, tmp_path / "f.h5", crop.Cropper(28), recipe={})
    classes = build.classes(counts["splits"])
    assert classes == list("0123456789")
    pack.write(
        tmp_path / "f.h5",
        tmp_path / "p.h5",
        kept=counted["kept"],
        packed_size=28,
        classes=classes,
        grayscale=True,
        recipe={},
    )
    pixels = np.fromfile(mnist["train-images-idx3-ubyte"], np.uint8)[16:].reshape(-1, 28, 28, 1)
    labels = np.fromfile(mnist["train-labels-idx1-ubyte"], np.uint8)[8:]
    numbers = rows["member"].astype(int)
    with h5py.File(tmp_path / "p.h5") as file:
        assert np.array_equal(file["images"][...], pixels[numbers])
        assert file["labels"][...].tolist() == labels[numbers].tolist()


def test_fer2013_has_its_splits_and_its_repeats_are_reported(fer):
    rows = read_layout("fer2013", fer, "emotion")
    published_rows = {"conflicting_labels": "keep", "near_duplicates": "report"}
    frame, counts = build_rows(rows, fer, split=SPLIT | published_rows)
    with gzip.open(KIT / "fer2013" / "fer2013.csv.gz", "rt", newline="") as file:
        published = list(csv.DictReader(file))
    usage = Counter(row["Usage"] for row in published)
    assert usage == {"Training": 3617, "PublicTest": 452, "PrivateTest": 466}
    assert counts["published"] == len(published) == 4535
    held = {name: {row["pixels"] for row in published if row["Usage"] == name} for name in usage}
    expected = Counter()
    for row in published:
        if row["Usage"] != "PrivateTest" and row["pixels"] in held["PrivateTest"]:
            expected["duplicate_of_test"] += 1
        elif row["Usage"] == "Training" and row["pixels"] in held["PublicTest"]:
            expected["duplicate_of_val"] += 1
    assert counts["dropped"] == expected and expected.total() > 0
    assert counts["duplicates"] == 4535 - len({row["pixels"] for row in published})
    assert sum(counts["splits"]["test"].values()) == 466
    for row in frame.itertuples():
        assert row.label == EMOTIONS[int(published[int(row.member)]["emotion"])]


def test_fer2013_loses_conflicting_labels_and_training_pictures_like_those_of_the_test(fer):
    _, counts = build_rows(read_layout("fer2013", fer, "emotion"), fer, split=SPLIT)
    assert counts["dropped"] == {
        **{"conflicting_label": 2, "duplicate_of_test": 8, "duplicate_of_val": 3},
        **{"near_duplicate_of_test": 5, "near_duplicate_of_val": 1},
    }
    assert sum(counts["splits"]["test"].values()) == 466


def test_fer2013s_pictures_are_those_of_the_table(fer):
    ((_, path),) = fer.items()
    with gzip.open(KIT / "fer2013" / "fer2013.csv.gz", "rt", newline="") as file:
        published = [np.array(row["pixels"].split(), int) for row in csv.DictReader(file)]
    decode = containers.decoder(path)
    with Archive(path) as archive:
        for member in list(containers.members(path))[::100]:
            picture = decode(archive.read(member.offset, member.size))
            assert picture.shape == (48, 48, 3) and picture.dtype == np.uint8
            for channel in range(3):
                assert (
                    picture[..., channel].ravel().tolist() == published[int(member.name)].tolist()
                )


@pytest.fixture(scope="module")
def voc():
    return {path.name: path for path in sorted((KIT / "voc2007").glob("*.tar"))}


@pytest.fixture(scope="module")
def voc_lists(voc):
    """(class, split) -> picture -> 1, 0 or -1, as the published lists have it."""
    lists = {}
    for path in voc.values():
        for name, data in tar_content(path).items():
            file = name.rpartition("/")[2].removesuffix(".txt")
            kind, _, split = file.rpartition("_")
            if "/ImageSets/Main/" in name and kind in CLASSES and split in ("train", "val", "test"):
                lines = [line.split() for line in data.decode().splitlines()]
                lists[kind, split] = {picture: int(number) for picture, number in lines}
    assert len(lists) == 60
    return lists


def test_voc2007_has_the_splits_and_the_classes_of_its_lists(voc, voc_lists):
    rows = read_layout("voc2007", voc, "objects")
    assert Counter((row.split, row.drop_reason) for row in rows) == {
        ("train", ""): 268,
        ("val", ""): 256,
        ("test", ""): 540,
    }
    labels = {row.member[-10:-4]: row.label.split("|") for row in rows}
    splits = {row.member[-10:-4]: row.split for row in rows}
    for (kind, split), published in voc_lists.items():
        assert published.keys() == {name for name in splits if splits[name] == split}
        for picture, number in published.items():
            assert (kind in labels[picture]) is (number >= 0), (kind, picture)


def test_voc2007s_regions_say_what_its_lists_say(voc, voc_lists, tmp_path):
    """A list has 1 for an object that is not difficult, 0 for difficult ones only, -1 for none."""
    rows = [
        {"sample_id": row.member[-10:-4], "archive": row.archive, "member": row.member}
        for row in read_layout("voc2007", voc, "objects")
    ]
    frame = pd.DataFrame(rows).assign(drop_reason="")
    spec = stages.RegionsSettings(members={"voc2007": Classes()}, merged=False, classes=Classes())
    found, counts = regions.collect(frame, spec, voc)
    regions.write(tmp_path / "regions.csv", found)
    again = regions.read(tmp_path / "regions.csv")
    pd.testing.assert_frame_equal(again, found)
    assert counts["samples"] == 1064 and counts["empty"] == counts["clipped"] == 0
    easy = set(zip(found["label"], found["sample_id"], found["difficult"], strict=True))
    for (kind, _), published in voc_lists.items():
        for picture, number in published.items():
            held = 1 if (kind, picture, False) in easy else 0
            held = held if held or (kind, picture, True) in easy else -1
            assert held == number, (kind, picture)


def test_voc2007s_annotations_have_the_sizes_of_its_pictures(voc):
    checked = 0
    for path in voc.values():
        files = tar_content(path)
        for name in files:
            if name.endswith(".jpg"):
                xml = name.replace("JPEGImages", "Annotations").replace(".jpg", ".xml")
                found = annotations.parse(files[xml], xml)
                assert Image.open(io.BytesIO(files[name])).size == (found.width, found.height)
                assert files[xml].count(b"<object>") == len(found.objects)
                checked += 1
    assert checked == 1064
