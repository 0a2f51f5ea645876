import hashlib
import json
import pickle
import tracemalloc

import cv2
import h5py
import numpy as np
import pytest

from graft.core import hdf5
from graft.core.errors import GraftError
from graft.core.version import VERSION
from graft.images import pack as packing
from graft.images import packs


def write_crops(path, count, *, size=24, seed=0, labels=("female", "male"), prefix="person"):
    """A file as the crop stage writes it, with random pictures."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    with hdf5.create(path, {"stage": "crop"}) as file:
        hdf5.write(file, "images", images)
        hdf5.write_strings(file, "sample_id", [f"{seed:08x}{i:08x}" for i in range(count)])
        hdf5.write_strings(file, "label", [labels[i % len(labels)] for i in range(count)])
        hdf5.write_strings(file, "group", [f"{prefix} {i // 2} Müller" for i in range(count)])
    return images


def write_pack(folder, count, *, seed=0, classes=("female", "male"), **options):
    crops, pack = folder / f"crops-{seed}.h5", folder / f"pack-{seed}.h5"
    images = write_crops(crops, count, seed=seed)
    settings = {"kept": count, "packed_size": 24, "recipe": {"stage": "pack"}} | options
    counts = packing.write(crops, pack, classes=list(classes), **settings)
    return pack, images, counts


def test_a_pack_holds_what_the_crops_held(tmp_path):
    path, images, counts = write_pack(tmp_path, 5)
    assert counts == {"rows": 5, "classes": {"female": 3, "male": 2}}
    with h5py.File(path) as file:
        assert dict(file.attrs) == {
            "classes": '["female", "male"]',
            "recipe": '{"stage":"pack"}',
            "graft_version": VERSION,
        }
        assert file["images"].dtype == np.uint8 and file["images"].chunks is None
        assert file["images"].compression is None
        np.testing.assert_array_equal(file["images"], images)
        assert file["labels"].dtype == np.int64 and file["labels"][:].tolist() == [0, 1, 0, 1, 0]
        assert file["sample_id"].dtype == "S16"
        assert file["group"].asstr()[3] == "person 1 Müller"


def test_the_memory_of_packing_does_not_grow_with_the_pictures(tmp_path):
    most = []
    for count in (2 * packing.CHUNK, 8 * packing.CHUNK):
        crops = tmp_path / f"{count}.h5"
        write_crops(crops, count, size=64)
        tracemalloc.start()
        settings = {"kept": count, "packed_size": 64, "classes": ["female", "male"]}
        packing.write(crops, tmp_path / "p.h5", recipe={}, **settings)
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    added = (most[1] - most[0]) / (6 * packing.CHUNK)
    assert added < 1000 < 64 * 64 * 3, added  # bytes a picture: its id, label and group


def test_labels_are_positions_in_the_given_classes(tmp_path):
    path, _, counts = write_pack(tmp_path, 4, classes=("male", "nobody", "female"))
    assert packs.Pack(path).labels.tolist() == [2, 0, 2, 0]
    assert counts["classes"] == {"male": 2, "nobody": 0, "female": 2}


def test_a_label_outside_the_classes_is_refused(tmp_path):
    with pytest.raises(GraftError, match=r"crops-0\.h5: the label 'male' is none of the 1 classes"):
        write_pack(tmp_path, 4, classes=("female",))
    assert [path.name for path in tmp_path.iterdir()] == ["crops-0.h5"]


def test_a_file_with_fewer_crops_than_were_kept_is_refused(tmp_path):
    with pytest.raises(GraftError, match=r"crops-0\.h5: it has 4 of the 5 crops that were kept"):
        write_pack(tmp_path, 4, kept=5)
    assert [path.name for path in tmp_path.iterdir()] == ["crops-0.h5"]


def test_two_runs_write_the_same_bytes(tmp_path):
    digests = set()
    for folder in (tmp_path / "a", tmp_path / "b"):
        path, _, _ = write_pack(folder, 6, packed_size=16, grayscale=True)
        digests |= {
            hashlib.sha256(p.read_bytes()).hexdigest() for p in (path, *folder.glob("crops*"))
        }
    assert len(digests) == 2


def test_more_pictures_than_one_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "CHUNK", 4)
    path, images, _ = write_pack(tmp_path, 11)
    np.testing.assert_array_equal(packs.Pack(path).array, images)


def test_grayscale_has_one_channel_and_comes_before_resize_and_equalisation(tmp_path):
    path, images, _ = write_pack(tmp_path, 3, packed_size=20, grayscale=True, equalize=True)
    pictures = packs.Pack(path).array
    assert pictures.shape == (3, 20, 20, 1)
    grey = cv2.cvtColor(images[1], cv2.COLOR_RGB2GRAY)
    resized = cv2.resize(grey, (20, 20), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(pictures[1, ..., 0], cv2.equalizeHist(resized))


def test_equalising_a_colour_picture_spreads_its_luma_and_keeps_its_hues():
    rng = np.random.default_rng(4)
    dull = 96 + rng.integers(0, 64, (32, 32, 1)) + np.array([16, 0, -16])
    before = cv2.cvtColor(dull.astype(np.uint8), cv2.COLOR_RGB2YCrCb).astype(int)
    vivid = packing.prepare(dull.astype(np.uint8), 32, equalize=True)
    after = cv2.cvtColor(vivid, cv2.COLOR_RGB2YCrCb).astype(int)
    assert np.ptp(before[..., 0]) < 70 and np.ptp(after[..., 0]) > 200
    unclipped = (vivid.min(axis=2) > 0) & (vivid.max(axis=2) < 255)
    assert unclipped.mean() > 0.7
    assert abs(after - before)[unclipped, 1:].max() <= 2


def test_resizing_is_cubic_and_does_not_alias():
    image = np.random.default_rng(5).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    larger = cv2.resize(image, (30, 30), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(packing.prepare(image, 30), larger)
    np.testing.assert_array_equal(packing.prepare(image, 24), image)
    board = np.repeat((np.indices((90, 90)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, 2)
    assert abs(packing.prepare(board, 20)[2:-2, 2:-2].astype(int) - 127).max() <= 3


def test_a_pack_is_mapped_read_only_and_equals_what_h5py_reads(tmp_path):
    path, _, _ = write_pack(tmp_path, 7)
    pack = packs.Pack(path)
    assert isinstance(pack.array, np.memmap) and not pack.array.flags.writeable
    with h5py.File(path) as file:
        np.testing.assert_array_equal(pack.array, file["images"])
        assert pack.sample_ids.tolist() == file["sample_id"].asstr()[:].tolist()
        assert pack.groups.tolist() == file["group"].asstr()[:].tolist()
    assert pack.classes == ["female", "male"] and len(pack) == 7
    np.testing.assert_array_equal(pack.read(np.array([4, 0, 4])), pack.array[[4, 0, 4]])


def test_a_pack_is_pickled_as_its_path(tmp_path):
    path, images, _ = write_pack(tmp_path, 3)
    sent = pickle.dumps(packs.Pack(path))
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).array, images)


def test_an_empty_part_makes_an_empty_pack(tmp_path):
    path, _, counts = write_pack(tmp_path, 0)
    pack = packs.Pack(path)
    assert counts["rows"] == len(pack) == 0
    assert pack.array.shape == (0, 24, 24, 3) and pack.groups.tolist() == []
    full, images, _ = write_pack(tmp_path, 3, seed=1)
    both = packs.open_parts([path, full])
    np.testing.assert_array_equal(both.read(np.array([2, 0])), images[[2, 0]])
    assert packs.Packs([pack]).read(np.array([], int)).shape == (0, 24, 24, 3)


def test_a_subset_is_read_as_if_the_others_were_not_there(tmp_path):
    made = [write_pack(tmp_path, count, seed=seed) for seed, count in enumerate((4, 3))]
    whole = packs.open_parts([path for path, *_ in made])
    images = np.concatenate([images for _, images, _ in made])
    rows = np.array([6, 1, 4])
    part = whole.subset(rows)
    assert len(part) == 3 and part.labels.tolist() == whole.labels[rows].tolist()
    assert part.sample_ids.tolist() == whole.sample_ids[rows].tolist()
    assert part.groups.tolist() == whole.groups[rows].tolist()
    np.testing.assert_array_equal(part.read(np.array([2, 0, 2])), images[[4, 6, 4]])
    np.testing.assert_array_equal(part.subset(np.array([1])).read(np.array([0])), images[[1]])
    with pytest.raises(IndexError, match="numbered 0 to 2"):
        part.read(np.array([3]))
    np.testing.assert_array_equal(whole.read(np.array([0])), images[[0]])


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "missing", "other"])
def test_a_damaged_pack_is_refused_in_one_line(tmp_path, damage):
    path, _, _ = write_pack(tmp_path, 40)
    data = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("sample_id,split\n")
    elif damage == "missing":
        path.unlink()
    else:
        with h5py.File(path, "w") as file:
            file["images"] = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(GraftError, match=r"pack-0\.h5: the file .*\(-R pack\)") as caught:
        packs.Pack(path)
    assert "\n" not in str(caught.value)


def test_inconsistent_lengths_and_labels_are_refused(tmp_path):
    for name, value in (("labels", np.array([0, 1, 5])), ("labels", np.array([0, 1]))):
        path, _, _ = write_pack(tmp_path, 3)
        with h5py.File(path, "a") as file:
            del file[name]
            file[name] = value
        with pytest.raises(GraftError, match="its labels do not match its samples or classes"):
            packs.Pack(path)


def test_a_compressed_dataset_is_refused(tmp_path):
    path, images, _ = write_pack(tmp_path, 3)
    with h5py.File(path, "a") as file:
        del file["images"]
        file.create_dataset("images", data=images, compression="gzip")
    with pytest.raises(GraftError, match="images is not stored contiguously"):
        packs.Pack(path)


def test_features_are_read_like_pictures(tmp_path):
    path, _, _ = write_pack(tmp_path, 3)
    pack, features = packs.Pack(path), tmp_path / "features.h5"
    values = np.random.default_rng(6).normal(size=(3, 2, 8)).astype(np.float16)
    with hdf5.create(features, {"stage": "features"}) as file:
        hdf5.write(file, "features", values)
        pack.copy_labels(file)
    read = packs.Pack(features)
    np.testing.assert_array_equal(read.array, values)
    assert read.labels.tolist() == pack.labels.tolist() and read.classes == pack.classes
    assert read.sample_ids.tolist() == pack.sample_ids.tolist()
    assert read.groups.tolist() == pack.groups.tolist()


def test_packs_are_read_as_one_in_any_order(tmp_path):
    made = [write_pack(tmp_path, count, seed=count)[:2] for count in (4, 1, 6)]
    parts = packs.open_parts([path for path, _ in made])
    everything = np.concatenate([images for _, images in made])
    indices = np.array([10, 3, 4, 0, 10, 5])
    np.testing.assert_array_equal(parts.read(indices), everything[indices])
    assert len(parts) == 11 and parts.labels.tolist() == [0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1]
    assert len(set(parts.sample_ids)) == 11 and len(parts.groups) == 11
    for wrong in (-1, 11):
        with pytest.raises(IndexError):
            parts.read(np.array([0, wrong]))


def test_packs_with_different_classes_or_shapes_are_refused(tmp_path):
    one, _, _ = write_pack(tmp_path, 2, seed=1)
    other, _, _ = write_pack(tmp_path, 2, seed=2, classes=("male", "female"))
    small, _, _ = write_pack(tmp_path, 2, seed=3, packed_size=16)
    with pytest.raises(GraftError, match=r"pack-2\.h5: its classes differ from .*pack-1\.h5"):
        packs.open_parts([one, other])
    with pytest.raises(GraftError, match=r"pack-3\.h5: its shapes differ from"):
        packs.open_parts([one, small])
    with pytest.raises(GraftError, match="packs: there is none to read"):
        packs.open_parts([])


def test_ten_thousand_classes_fit(tmp_path):
    names = [f"identity number {i} of very many" for i in range(10_000)]
    path, _, _ = write_pack(tmp_path, 2, classes=("female", "male", *names))
    assert packs.Pack(path).classes[2:] == names
    with h5py.File(path) as file:
        assert len(json.loads(file.attrs["classes"])) == 10_002
