"""MNIST, whole, and a part of FER2013 as published; needs the kit (GRAFT_KIT, ../shared/data)."""

import csv
import gzip
from collections import Counter

import h5py
import numpy as np
import pytest
from builders import build_rows, read_layout
from conftest import KIT, needs_kit

from graft.core.raw_names import raw_name
from graft.datasets import containers, table
from graft.datasets.layouts.fer2013 import EMOTIONS
from graft.download.archives import Archive
from graft.download.unpack import unpack_gzip
from graft.images import crop, pack

SPLIT = {"train": 0.7, "val": 0.1, "test": 0.2, "seed": 0}

pytestmark = needs_kit


def unpacked(folder, *names):
    for name in names:
        unpack_gzip(KIT / name, folder / raw_name(name.rpartition("/")[2]))
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
    frame, _ = structured
    rows = table.kept(frame, "val", 0).head(1000)
    crop.extract(rows, mnist, tmp_path / "f.h5", crop.Cropper(28), recipe={})
    classes = table.classes(frame)
    assert classes == list("0123456789")
    pack.write(
        tmp_path / "f.h5",
        tmp_path / "p.h5",
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
    frame, counts = build_rows(rows, fer, split=SPLIT)
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
