"""Patches as samples: cut when read, drawn for an epoch, evenly spaced for validation."""

import h5py
import numpy as np
import pytest
from patch_builders import CLASSES, GRID, SIDE, picture, write_pack

from graft.core.errors import GraftError
from graft.images import patches
from graft.images.decode import decode
from graft.images.packs import LEFT_OUT, open_parts
from graft.images.patch_rows import open_patches


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patches")
    return [write_pack(folder, "a", range(6))[0], write_pack(folder, "b", range(6, 9))[0]]


@pytest.fixture
def rows(parts):
    return open_patches(parts)


def boxes_of():
    return patches.grid(64, 48, GRID.scales, enough=None)


def test_a_pack_holds_whole_pictures_their_files_and_where_their_patches_are(parts):
    with h5py.File(parts[0]) as file:
        assert file["images"].shape == (6, SIDE, SIDE, 3) and file["labels"].dtype == np.uint8
        assert file["encoded"].shape == (sum(len(picture(seed)[0]) for seed in range(6)),)
        np.testing.assert_allclose(file["boxes"][: len(boxes_of())], boxes_of(), rtol=1e-6)


def test_a_class_of_which_only_difficult_objects_are_shown_is_left_out(parts):
    labels = open_parts(parts).labels
    # Of every third picture none, of every fifth the objects are difficult.
    assert not labels[[0, 3, 6]].any()
    shown = [LEFT_OUT if seed == 4 else 1 for seed in (1, 2, 4, 5, 7, 8)]
    assert labels[[1, 2, 4, 5, 7, 8]].max(axis=1).tolist() == shown


def test_rows_are_the_patches_cut_alone_whatever_their_order(rows):
    count = len(boxes_of())
    assert len(rows) == 9 * count and rows.classes == [*CLASSES, "background"]
    wanted = np.array([7 * count + 3, 2, 7 * count + 1, 0, 2])
    found = rows.read(wanted)
    for index, patch in zip(wanted, found, strict=True):
        image = decode(picture(int(index // count))[0])
        box = boxes_of()[[index % count]].astype(np.float32)
        assert (patches.cut(image, box, SIDE)[0] == patch).all()


def test_labels_are_those_of_the_objects_that_patches_show(rows):
    count = len(boxes_of())
    for seed in (1, 2):
        objects = picture(seed)[1]
        expected = patches.labels(
            boxes_of(),
            np.array([one[1:5] for one in objects]),
            np.array([CLASSES.index(one[0]) for one in objects]),
            background=2,
        )
        assert rows.labels[seed * count : (seed + 1) * count].tolist() == expected.tolist()
        assert (expected != 2).any()
    assert set(rows.labels[:count]) == {2}


def test_an_epoch_has_all_positives_and_a_background_that_is_drawn_anew(rows):
    first, second = (rows.epoch_rows(20, "mixed", np.random.default_rng(s)) for s in (0, 1))
    assert len(first) == len(set(first)) == rows.epoch_length(20) == 9 * 20
    positives = np.flatnonzero(rows.labels != 2)
    per_picture = np.bincount(np.searchsorted(rows.starts, positives, side="right") - 1)
    assert per_picture.max() <= 20 and set(positives) <= set(first) & set(second)
    assert set(first) != set(second)
    grouped = np.searchsorted(
        rows.starts, rows.epoch_rows(20, "picture", np.random.default_rng(0)), side="right"
    )
    assert np.count_nonzero(np.diff(grouped)) == 8
    mixed = np.searchsorted(rows.starts, first, side="right")
    assert np.count_nonzero(np.diff(mixed)) > 40


def test_validation_looks_at_evenly_spaced_patches_and_a_subset_at_some_pictures(rows):
    thin = rows.thinned(5)
    assert np.diff(thin.starts).tolist() == [5] * 9
    last = len(boxes_of()) - 1
    ends = rows.read(np.array([0, last]))
    assert (thin.read(np.array([0, 4])) == ends).all()
    some = rows.of_pictures(np.array([7, 2]))
    assert len(some) == 2 * len(boxes_of())
    assert (some.read(np.array([1])) == rows.read(np.array([7 * len(boxes_of()) + 1]))).all()
    assert some.pictures.sample_ids[1] == rows.pictures.sample_ids[2]
    assert (some.boxes(1) == boxes_of().astype(np.float32)).all()


def test_a_pack_of_whole_pictures_has_no_patches(tmp_path):
    from networks import write_pack as whole

    with pytest.raises(GraftError, match="holds no patches"):
        open_patches([whole(tmp_path / "x.h5", 4, 0)])
