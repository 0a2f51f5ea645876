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
    shares = {"val": 0.5, "train": 0.3, "conflicting_labels": "keep"}
    frame, counts = structure("mnist", archives, "digit", split=shares)
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


def pairs(folder, *prefixes):
    found = {}
    for prefix in prefixes:
        found |= mnist_pair(folder, prefix, [0, 1])
    return found


def published(archives, **options):
    """prefix -> split, or the reason why its pictures are dropped."""
    rows = read_layout("mnist", archives, "digit", **options)
    return {row.archive.partition("-images")[0]: row.drop_reason or row.split for row in rows}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "t10k"),
        ("train", "test"),
        ("emnist-letters-train", "emnist-letters-test"),
        ("emnist-byclass-train", "emnist-byclass-test"),
        ("qmnist-train", "qmnist-test"),
        ("kmnist_train", "kmnist_test"),
        ("Training", "Testing"),
    ],
)
def test_published_splits_have_names_of_other_sets(tmp_path, train, test):
    assert published(pairs(tmp_path, train, test)) == {train: "train", test: "test"}
    # Beside a whole set, others are dealt; and two sets have each their own splits.
    assert published(pairs(tmp_path, train, test, "digits"))["digits"] == ""
    both = published(pairs(tmp_path, train, test, "other-train", "other-test"))
    assert both == {train: "train", test: "test", "other-train": "train", "other-test": "test"}


@pytest.mark.parametrize(
    ("names", "split", "beside"),
    [
        (("train", "holdout"), "train", "holdout"),
        (("holdout", "t10k"), "t10k", "holdout"),
        (("train", "val", "holdout"), "train", "holdout"),
        (
            ("emnist-letters-train", "emnist-digits-test"),
            *("emnist-letters-train", "emnist-digits-test"),
        ),
    ],
)
def test_a_split_beside_a_pair_of_another_name_is_asked_about(tmp_path, names, split, beside):
    archives = pairs(tmp_path, *names)
    with pytest.raises(GraftError, match=f"the pair {split} .* and {beside} beside it") as error:
        published(archives)
    train, test = (beside, split) if split == "t10k" else (split, beside)
    assert f"{{train: {train}, test: {test}}}" in str(error.value)
    assert published(archives, splits="none") == dict.fromkeys(names, "")
    found = published(archives, splits={"train": train, "test": test})
    assert found == dict.fromkeys(names, "no_split") | {train: "train", test: "test"}
    with pytest.raises(GraftError, match=r"names 'tset', which is not in the data set's `files`"):
        published(archives, splits={"train": "tset"})
