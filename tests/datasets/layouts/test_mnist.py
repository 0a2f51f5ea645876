"""Pairs of IDX files."""

from collections import Counter

import numpy as np
import pytest
from builders import mnist_pair, read_layout, structure, write_idx

from graft.core.errors import GraftError


@pytest.mark.parametrize("dot", ["-", "."])
def test_mnist_has_the_published_test_split_and_val_is_carved_out_of_train(tmp_path, dot):
    train, test = [0, 1] * 40, [1, 0, 1, 1]
    archives = mnist_pair(tmp_path, "train", train, dot=dot)
    archives |= mnist_pair(tmp_path, "t10k", test, dot=dot)
    frame, counts = structure("mnist", archives, "digit")
    assert counts["published"] == counts["kept"] == 84 and counts["dropped"] == {}
    assert counts["splits"]["test"] == {"0": 1, "1": 3}
    # val / (train + val) is an eighth: 10 of 80, within three standard deviations.
    assert abs(sum(counts["splits"]["val"].values()) - 10) <= 3 * (80 * 7 / 64) ** 0.5
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
    assert {row.split for row in read_layout("mnist", archives, "digit")} == {""}
    _, counts = structure("mnist", archives, "digit")
    assert all(counts["splits"].values()) and counts["kept"] == 30
    assert set(counts["splits"]["train"]) == {"0", "1", "12"}


def test_pairs_with_and_without_published_splits_are_merged(tmp_path):
    archives = mnist_pair(tmp_path, "train", [0, 1] * 20)
    archives |= mnist_pair(tmp_path, "t10k", [0, 1] * 10)
    archives |= mnist_pair(tmp_path, "digits", [0, 1] * 20)
    frame, counts = structure("mnist", archives, "digit")
    where = Counter(zip(frame["archive"].str.partition("-")[0], frame["split"], strict=True))
    # Val is carved out of the published train, and the others have all three.
    assert set(where) == {
        *(("train", "train"), ("train", "val"), ("t10k", "test")),
        *(("digits", "train"), ("digits", "val"), ("digits", "test")),
    }
    assert where["t10k", "test"] == 20
    assert counts["kept"] == 100


def test_pictures_that_two_published_splits_share_are_dropped_and_counted(tmp_path):
    blank, dot = np.zeros((4, 4)), np.eye(4)
    archives = mnist_pair(tmp_path, "train", [0] * 3 + [1] * 3, [blank, dot, 2 * dot] * 2)
    archives |= mnist_pair(tmp_path, "t10k", [0, 1], [3 * dot, blank])
    frame, counts = structure("mnist", archives, "digit", split={"val": 0.5, "train": 0.3})
    assert counts["dropped"] == {"duplicate_of_test": 2}
    assert counts["duplicates"] == 4
    gone = frame[frame["drop_reason"] != ""]
    assert sorted(gone["member"]) == ["00000", "00003"]
    assert set(gone["archive"]) == {"train-images-idx3-ubyte"}


def test_one_picture_may_have_one_number_in_two_files(tmp_path):
    archives = mnist_pair(tmp_path, "train", [0, 1] * 9, [np.full((4, 4), n) for n in range(18)])
    archives |= mnist_pair(tmp_path, "t10k", [0, 1], [np.zeros((4, 4)), np.full((4, 4), 99)])
    frame, counts = structure("mnist", archives, "digit", split={"val": 0.4, "train": 0.4})
    assert counts["dropped"] == {"duplicate_of_test": 1}
    assert frame["sample_id"].is_unique


def test_bad_mnist_is_one_sentence(tmp_path):
    good = mnist_pair(tmp_path, "train", [0, 1, 0, 1])
    images, labels = good
    for files in ({}, {images: good[images]}, good | {"x.txt": tmp_path}):
        with pytest.raises(GraftError, match="layout mnist reads pairs of <name>-images-idx3-ubyt"):
            read_layout("mnist", files, "digit")
    twice = good | mnist_pair(tmp_path, "train", [0, 1, 0, 1], dot=".")
    with pytest.raises(GraftError, match="`files` are train-images-idx3-ubyte"):
        read_layout("mnist", twice, "digit")
    write_idx(good[labels], [0, 1, 0])
    with pytest.raises(GraftError, match="it has 3 labels for the 4 pictures of train-images-idx3"):
        read_layout("mnist", good, "digit")
    good[labels].write_bytes(good[images].read_bytes())
    with pytest.raises(GraftError, match="IDX of 1 dimensions with 0x00000801"):
        read_layout("mnist", good, "digit")


def test_a_class_that_only_the_test_split_has_is_one_sentence(tmp_path):
    archives = mnist_pair(tmp_path, "train", [0, 1] * 10) | mnist_pair(tmp_path, "t10k", [0, 2])
    with pytest.raises(GraftError, match=r"datasets\.d: the class '2' has no training sample"):
        structure("mnist", archives, "digit")
