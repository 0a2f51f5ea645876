"""Folders that are splits or classes, under the names that people publish them with."""

import pytest

from graft.core.errors import GraftError
from graft.datasets import split_names
from graft.datasets.class_folders import Tree, classes


def published(*folders, labels=("cat", "dog")):
    """A picture of each class in each folder, which may be ""."""
    return [f"{folder}/{label}/1.png".lstrip("/") for folder in folders for label in labels]


def found(names, options=None):
    """name -> (class, split), without those in no class."""
    of = classes(Tree(names), "x.tar", options)
    return {name: label for name in names if (label := of.of(name))}


def splits(names, options=None):
    """The classes, and folder -> split."""
    labels = found(names, options)
    return {label for label, _ in labels.values()}, {
        name.rpartition("/")[0].rpartition("/")[0]: split for name, (_, split) in labels.items()
    }


@pytest.mark.parametrize(
    ("train", "test", "val"),
    [
        ("train", "test", "val"),
        ("Training", "Testing", "Validation"),
        ("TRAIN", "TEST", "VAL"),
        ("training_set", "test_set", "validation_set"),
        ("train_images", "test_images", "valid_images"),
        ("train-data", "test-data", "dev-data"),
        ("Train Images", "Test Images", "Val Images"),
        ("trainset", "testset", "valset"),
        ("TrainSet", "TestSet", "ValidSet"),
        ("seg_train", "seg_test", "seg_dev"),
        ("flowers.train", "flowers.test", "flowers.valid"),
        ("train-birds", "test-birds", "val-birds"),
        ("train2017", "test2017", "val2017"),
        ("train", "test1", "valid"),
        ("train", "eval", "dev"),
        ("train", "evaluation", "validation"),
        ("train", "test", "eval"),
    ],
)
@pytest.mark.parametrize("root", ["", "archive/", "a/b/"])
def test_the_usual_names_of_splits_are_known(train, test, val, root):
    names = published(root + train, root + test, root + val)
    assert splits(names) == (
        {"cat", "dog"},
        {root + train: "train", root + test: "test", root + val: "val"},
    )
    names = published(root + train, root + test)
    assert splits(names)[1] == {root + train: "train", root + test: "test"}


@pytest.mark.parametrize("extra", ["seg_pred", "pred", "unlabeled", "Predictions"])
def test_pictures_without_classes_beside_splits_are_no_class(extra):
    names = published("seg_train/seg_train", "seg_test/seg_test")
    names += [f"{extra}/1.png", f"{extra}/{extra}/2.png"]
    assert splits(names) == (
        {"cat", "dog"},
        {"seg_train/seg_train": "train", "seg_test/seg_test": "test"},
    )


@pytest.mark.parametrize(
    "folders",
    [
        ("training_set/training_set", "test_set/test_set"),
        ("Train/train", "Test/test"),
        ("train/images", "test/images"),
        ("r/train/train/train", "r/test"),
    ],
)
def test_folders_that_only_repeat_a_split_are_passed(folders):
    assert splits(published(*folders)) == (
        {"cat", "dog"},
        dict(zip(folders, ("train", "test"), strict=True)),
    )


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (published("PetImages/PetImages"), {"cat", "dog"}),
        (published("archive/data/PetImages"), {"cat", "dog"}),
        ([*published("r/PetImages"), "stray.png"], {"cat", "dog"}),
        # A folder with pictures of its own, or with one folder in it, is a class.
        ([*published("r/pets"), "r/pets/1.png"], {"pets"}),
        (["r/cat/2019/1.png"], {"cat"}),
        # Classes that are called like splits, or in part.
        (published("", labels=("steam_train", "test_tube", "car")), None),
        (published("", labels=("steam_train", "test_tube")), None),
        (published("", labels=("train", "car", "bus")), None),
        (published("", labels=("electric train", "steam train")), None),
        (published("", labels=("validation", "test")), None),
        # Sub-folders that some classes have in common, or one that all have.
        (published("cat", "dog", labels=("small",)), {"cat", "dog"}),
        (
            [*published("cat", "dog"), *published("car", labels=("red", "blue"))],
            {*("cat", "dog", "car")},
        ),
        ([*published("cat", "dog"), "car/1.png"], {"cat", "dog", "car"}),
    ],
)
def test_what_is_no_split_is_a_class(names, labels):
    expected = labels or {name.split("/")[0] for name in names}
    assert {label for label, _ in found(names).values()} == expected
    assert {split for _, split in found(names).values()} == {""}


@pytest.mark.parametrize(
    ("tops", "example"),
    [
        (("Set A", "Set B"), "{train: Set A, test: Set B}"),
        (("train", "holdout"), "{train: train, test: holdout}"),
        (("fold1", "fold2", "fold3"), "{train: fold1, test: fold2}"),
        (("Training", "PublicTest", "PrivateTest"), "{train: Training, test: PublicTest}"),
        (("train_a", "train_b"), "{train: train_a, test: train_b}"),
    ],
)
@pytest.mark.parametrize("root", ["", "root/"])
def test_folders_that_hold_the_same_folders_are_asked_about(tops, example, root):
    names = published(*(root + top for top in tops), labels=("cat", "dog", "cow"))
    with pytest.raises(GraftError, match="hold folders of the same names") as error:
        found(names)
    assert all(top in str(error.value) for top in (*tops, "cat, cow, dog"))
    assert f"Set options.splits to none if those are the classes, or to the splits: {example}." in (
        str(error.value)
    )
    # Also where one of them lacks a class.
    with pytest.raises(GraftError, match="hold folders of the same names"):
        found(names[:-1])
    assert {label for label, _ in found(names, "none").values()} == set(tops)
    given = {"train": [tops[0]], "test": list(tops[1:]), "val": None}
    labels, where = splits(names, given)
    assert labels == {"cat", "dog", "cow"}
    assert where == {root + top: "train" if top == tops[0] else "test" for top in tops}


def test_named_splits_are_folders_at_any_depth_and_others_are_dropped():
    names = published("a/mine", "b/c/yours", "rest")
    options = {"train": ["a/mine"], "val": None, "test": ["b/c/yours/"]}
    assert splits(names, options)[1] == {"a/mine": "train", "b/c/yours": "test"}
    assert classes(Tree(names), "x.tar", options).otherwise == "no_split"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": ["trian"]}, r"names 'trian', which is not in x\.tar\. Did you mean train"),
        ({"train": ["train"], "test": ["train/cat"]}, "Name each folder once"),
        ({"train": ["train"], "test": ["train/"]}, "Name each folder once"),
    ],
)
def test_named_splits_that_cannot_be_are_refused(options, message):
    with pytest.raises(GraftError, match=message):
        found(published("train", "test"), options)


def test_a_folder_beside_splits_is_asked_about():
    names = published("train", "test", "extra")
    with pytest.raises(GraftError, match="the folder extra is beside the splits train, test"):
        found(names)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("t10k", ("test", ())),
        ("emnist-letters-train", ("train", ("emnist", "letters"))),
        ("trainval", None),
        ("train_val", None),
        ("restraint", None),
        ("Évaluation", None),
        ("", None),
        ("007", None),
    ],
)
def test_the_meaning_of_a_name(name, meaning):
    assert split_names.meaning(name) == meaning
