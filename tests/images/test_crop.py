import hashlib
import io
import tarfile
import tracemalloc

import h5py
import numpy as np
import pandas as pd
import pytest
from builders import encoded, smooth
from picture_files import (
    COLOURS,
    HEIC,
    JPEG_XL,
    damaged_scan,
    deep,
    file_of,
    of_bits,
    transparent,
)

from graft.config.datasets import Detector
from graft.config.decoding import Decoder
from graft.core.errors import GraftError
from graft.core.version import VERSION
from graft.datasets.table import sample_id
from graft.download.archives import Archive, members
from graft.images import align, decode, jpeg
from graft.images import crop as cropping
from graft.images.crop import Cropper
from graft.images.detect import DETECTORS, Faces
from graft.images.search import is_upright, nearest

POINTS = np.array([[20, 20], [40, 20], [30, 30], [22, 40], [38, 40]], np.float32)
NO_FACE = Faces(
    np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
)


def dataset(folder, pictures, boxes=None, endings=None):
    """A tar of pictures (bytes) and its rows of data_file.csv, in reverse archive order."""
    path = folder / "photos.tar"
    with tarfile.open(path, "w") as tar:
        for number, data in enumerate(pictures):
            info = tarfile.TarInfo(f"photos/{number}{endings[number] if endings else '.jpg'}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    rows = []
    with Archive(path) as archive:
        for number, (name, offset, size) in enumerate(members(path)):
            rows.append(
                {
                    "sample_id": sample_id(name, archive.read(offset, size)),
                    "label": "Männer" if number % 2 else "Frauen",
                    "group": f"person {number}",
                    "archive": "photos.tar",
                    "member": name,
                    "offset": offset,
                    "size": size,
                    "box": (boxes or {}).get(number, ""),
                }
            )
    return pd.DataFrame(rows[::-1]), {"photos.tar": path}


def extract(folder, rows, archives, detector=None, *, size=32, device="cpu"):
    cropper, path = Cropper(size, detector, device=device), folder / "train-00.h5"
    return cropping.extract(rows, archives, path, cropper, recipe={"stage": "crop"})


def read(folder):
    with h5py.File(folder / "train-00.h5") as file:
        return {name: dataset[...] for name, dataset in file.items()}


class Fake:
    """A detector whose faces the test chooses by the picture's level (its red at the corner)."""

    faces: dict[int, Faces] = {}
    calls: list = []

    MIN_FACE = 0.0

    def __init__(self, device, *, batch_size, file, min_face):
        self.calls.append((device, batch_size, file))

    def detect(self, images):
        self.calls.append(len(images))
        return [
            self.faces.get(round(image[0, 0, 0] / 10) * 10, NO_FACE)
            if is_smooth(image)
            else NO_FACE
            for image in images
        ]


def is_smooth(image):
    """Whether a picture is one of `smooth`, and not turned: its right is the greener."""
    return int(image[0, -1, 1]) > int(image[0, 0, 1]) + 20


@pytest.fixture
def fake(monkeypatch):
    """The fake detector, registered as mtcnn."""
    monkeypatch.setattr(Fake, "faces", {})
    monkeypatch.setattr(Fake, "calls", [])
    monkeypatch.setitem(DETECTORS._entries, "mtcnn", Fake)
    return Fake


def faces_at(*shifts_and_scores):
    shifts, scores = zip(*shifts_and_scores, strict=True)
    landmarks = np.stack([POINTS + np.float32(shift) for shift in shifts])
    boxes = np.concatenate([landmarks.min(axis=1) - 5, landmarks.max(axis=1) + 5], axis=1)
    return Faces(boxes, np.float32(scores), landmarks)


def test_whole_pictures_are_kept_in_the_rows_order(tmp_path):
    pictures = [smooth(40 * n, 60 + n, 60) for n in range(5)]
    rows, archives = dataset(tmp_path, map(encoded, pictures))
    counts = extract(tmp_path, rows, archives)
    assert counts == {"rows": 5, "kept": 5, "dropped": {}}
    file = read(tmp_path)
    assert file["images"].dtype == np.uint8 and file["images"].shape == (5, 32, 32, 3)
    for image, picture in zip(file["images"], pictures[::-1], strict=True):
        assert abs(image.astype(int) - align.whole(picture, 32)).max() < 8
    assert file["sample_id"].dtype == "S16" and file["score"].dtype == np.float32
    assert [s.decode() for s in file["sample_id"]] == rows["sample_id"].tolist()
    assert [s.decode() for s in file["label"]] == rows["label"].tolist()
    assert [s.decode() for s in file["group"]] == rows["group"].tolist()
    assert file["landmarks"].shape == (5, 5, 2) and np.isnan(file["landmarks"]).all()
    assert file["box"].shape == (5, 4) and np.isnan(file["box"]).all()
    with h5py.File(tmp_path / "train-00.h5") as opened:
        assert dict(opened.attrs) == {"recipe": '{"stage":"crop"}', "graft_version": VERSION}
        assert opened["images"].chunks is None and opened["images"].compression is None


def test_the_memory_of_cropping_does_not_grow_with_the_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "WINDOW_BATCHES", 1)
    most, files = [], [encoded(smooth(50))] * 300
    for count in (100, 300):
        rows, archives = dataset(tmp_path, files[:count])
        tracemalloc.start()
        extract(tmp_path, rows, archives, size=128)
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    added = (most[1] - most[0]) / 200
    assert added < 4000 < 128 * 128 * 3, added  # bytes a picture: its row and landmarks


def test_unreadable_pictures_are_counts_and_listed(tmp_path):
    broken = [b"", b"<html>404 Not Found</html>", encoded(smooth(90))[:-2]]
    rows, archives = dataset(tmp_path, [encoded(smooth(50)), *broken, encoded(smooth(150))])
    counts = extract(tmp_path, rows, archives)
    assert counts == {"rows": 5, "kept": 2, "dropped": {"unreadable": 3}}
    file = read(tmp_path)
    assert file["images"][:, 0, 0, 0].tolist() == pytest.approx([150, 50], abs=3)
    listed = [s.decode() for s in file["dropped_sample_id"]]
    assert listed == rows["sample_id"].tolist()[1:-1]
    assert set(file["dropped_reason"]) == {b"unreadable"}


@pytest.mark.parametrize("detector", [None, Detector()], ids=["whole", "aligned_face"])
def test_a_part_without_pictures_is_empty(tmp_path, fake, detector):
    rows, archives = dataset(tmp_path, [encoded(smooth(10))])
    counts = extract(tmp_path, rows[:0], archives, detector)
    assert counts == {"rows": 0, "kept": 0, "dropped": {}}
    file = read(tmp_path)
    assert file["images"].shape == (0, 32, 32, 3) and file["landmarks"].shape == (0, 5, 2)


def test_a_part_without_faces_is_empty_and_refused_if_it_is_large(tmp_path, fake):
    rows, archives = dataset(tmp_path, [encoded(smooth(10)), b""])
    counts = extract(tmp_path, rows, archives, Detector())
    assert counts == {"rows": 2, "kept": 0, "dropped": {"no_face": 1, "unreadable": 1}}
    assert read(tmp_path)["landmarks"].shape == (0, 5, 2)
    cropping.check_any(counts, "datasets.x")
    large = counts | {"rows": 20}
    cropping.check_any(large | {"kept": 1}, "datasets.x")
    with pytest.raises(GraftError, match=r"^datasets\.x: no face was detected .*\(1 no_"):
        cropping.check_any(large, "datasets.x")


def test_bytes_that_are_not_the_samples_are_refused_and_leave_nothing(tmp_path):
    rows, archives = dataset(tmp_path, [encoded(smooth(10)), encoded(smooth(20))])
    data = bytearray(archives["photos.tar"].read_bytes())
    data[rows["offset"][1] + 300] ^= 1
    archives["photos.tar"].write_bytes(data)
    with pytest.raises(GraftError, match=r"photos/0\.jpg: .* not those of sample"):
        extract(tmp_path / "new", rows, archives)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_short_or_missing_archive_is_refused(tmp_path):
    rows, archives = dataset(tmp_path, [encoded(smooth(10)), encoded(smooth(20))])
    with pytest.raises(GraftError, match=r"photos\.tar: data_file\.csv names this file"):
        extract(tmp_path, rows, {})
    archives["photos.tar"].write_bytes(archives["photos.tar"].read_bytes()[:1000])
    with pytest.raises(GraftError, match=r"photos\.tar"):
        extract(tmp_path, rows, archives)


def test_an_aligned_crop_needs_a_detector_and_a_margin():
    with pytest.raises(GraftError, match=r"detector\.name is 'none', but crop: aligned_face"):
        Cropper(32, Detector(name="none"))
    with pytest.raises(GraftError, match=r"detector\.margin is 0"):
        Cropper(32, Detector.model_construct(margin=0.0))


def test_a_detector_gets_its_file_or_says_which_one_it_needs(tmp_path, fake):
    Cropper(32, Detector(), file=tmp_path / "weights")
    assert fake.calls == [("cpu", 32, tmp_path / "weights")]
    with pytest.raises(GraftError, match=r"yunet, which needs the file face_detection_yunet"):
        Cropper(32, Detector(name="yunet"))


def test_the_face_is_chosen_checked_and_cropped(tmp_path, fake):
    fake.faces = {
        0: faces_at(((0, 0), 0.95), ((10, 5), 0.99)),  # no box: the more confident
        50: faces_at(((0, 0), 0.99), ((10, 5), 0.91)),  # a box over the second
        100: faces_at(((0, 0), 0.99), ((10, 5), 0.85)),  # the second has a low score
        150: Faces(np.ones((1, 4), np.float32), np.ones(1, np.float32), np.ones((1, 5, 2)) * 9),
        # 200: no face
    }
    boxes = {1: "25 20 53 50", 2: "25 20 53 50"}
    rows, archives = dataset(tmp_path, [encoded(smooth(50 * n)) for n in range(5)], boxes)
    counts = extract(tmp_path, rows, archives, Detector(batch_size=4), device="cuda")
    assert counts == {
        "rows": 5,
        "kept": 2,
        "dropped": {"degenerate_landmarks": 1, "low_detection_score": 1, "no_face": 1},
        "several_faces": 2,
    }
    assert fake.calls == [("cuda", 4, None), 5, 4, 4, 4]  # other turns, but where a score is sure
    file = read(tmp_path)
    assert file["score"].tolist() == pytest.approx([0.91, 0.99])
    for at, (landmarks, image) in enumerate(zip(file["landmarks"], file["images"], strict=True)):
        np.testing.assert_array_equal(landmarks, POINTS + np.float32([10, 5]))
        matrix = align.similarity(landmarks, align.template(32))
        cut = align.crop(smooth(50 - 50 * at), matrix, 32)
        assert abs(cut.astype(int) - image).max() < 10
    assert file["box"].tolist() == [[25, 20, 55, 50]] * 2
    assert file["dropped_reason"].tolist() == [
        b"no_face",
        b"degenerate_landmarks",
        b"low_detection_score",
    ]


def test_nearest_prefers_overlap_then_distance_and_without_a_box_confidence():
    three = faces_at(((0, 0), 0.9), ((8, 0), 0.95), ((100, 100), 0.99))
    assert nearest(three, None) == 2
    assert nearest(three, np.array([15, 15, 45, 45])) == 0
    assert nearest(three, np.array([24, 15, 54, 45])) == 1
    assert nearest(three, np.array([300, 300, 330, 330])) == 2
    assert nearest(three, np.array([-60, 20, -40, 40])) == 0


def test_a_box_that_is_not_four_numbers_is_refused(tmp_path, fake):
    rows, archives = dataset(tmp_path, [encoded(smooth(0))], {0: "1 2 3"})
    with pytest.raises(GraftError, match=r"the box '1 2 3' of photos/0\.jpg"):
        extract(tmp_path, rows, archives, Detector())


def test_the_file_does_not_depend_on_batches_or_windows(tmp_path, drawn, monkeypatch):
    pictures = [encoded(portrait.image) for portrait in drawn]
    rows, archives = dataset(tmp_path, [*pictures[:6], b"", *pictures[6:]])
    digests = []
    for number, (batch_size, window) in enumerate([(1, 2**28), (8, 2**28), (8, 200_000)]):
        monkeypatch.setattr(decode, "WINDOW_BYTES", window)
        folder = tmp_path / str(number)
        counts = extract(folder, rows, archives, Detector(batch_size=batch_size))
        assert counts == {"rows": 13, "kept": 12, "dropped": {"unreadable": 1}}
        digests.append(hashlib.sha256((folder / "train-00.h5").read_bytes()).hexdigest())
    assert len(set(digests)) == 1


def test_crops_of_drawn_portraits_are_upright_and_of_one_size(tmp_path, drawn):
    rows, archives = dataset(tmp_path, [encoded(portrait.image) for portrait in drawn])
    extract(tmp_path, rows, archives, Detector(), size=120)
    target = align.template(120)
    errors = []
    for landmarks, portrait in zip(read(tmp_path)["landmarks"], drawn[::-1], strict=True):
        matrix = align.similarity(landmarks, target)
        truth = align.transform(matrix, portrait.landmarks)
        errors.append((truth[:2] - target[:2]) / 120)
    assert abs(np.array(errors)).max() < 0.1 and abs(np.array(errors)).mean() < 0.025


def test_a_part_records_the_turns_only_if_there_are_any(tmp_path, drawn):
    images = [portrait.image for portrait in drawn[:3]]
    for name, degrees, counted in (("plain", 0, {}), ("turned", 180, {"180 degrees": 1})):
        folder = tmp_path / name
        folder.mkdir()
        files = [encoded(np.rot90(images[0], degrees // 90)), *map(encoded, images[1:])]
        counts = extract(folder, *dataset(folder, files), Detector())
        assert counts["kept"] == 3 and counts.get("turned", {}) == counted
        file = read(folder)
        if counted:
            assert file["turn"].dtype == np.int16 and file["turn"].tolist() == [0, 0, 180]
        else:
            assert "turn" not in file
        assert all(is_upright(landmarks) for landmarks in file["landmarks"])


@pytest.mark.parametrize("endings", [{".heic": 2, ".jxl": 1}, {".hif": 1}])
def test_pictures_of_formats_that_are_not_read_are_counted_by_ending(tmp_path, endings):
    files = [encoded(smooth(50))]
    for ending, number in endings.items():
        files += [HEIC if ending.startswith(".h") else JPEG_XL] * number
    names = [ending.upper() for ending, number in endings.items() for _ in range(number)]
    rows, archives = dataset(tmp_path, files, endings=[".jpg", *names])
    counts = extract(tmp_path, rows, archives)
    assert counts["unsupported_format"] == endings
    assert counts["dropped"] == {"unsupported_format": sum(endings.values())}


def test_what_is_dropped_on_decoding_has_its_reason(tmp_path):
    large = file_of(np.zeros((200, 300), np.uint8), "PNG")
    broken = [damaged_scan(encoded(smooth(90, 200, 200))), large, HEIC, b"", JPEG_XL]
    rows, archives = dataset(tmp_path, [encoded(smooth(50)), *broken])
    cropper, path = Cropper(32), tmp_path / "train-00.h5"
    decoder = Decoder(max_pixels=59_999)
    counts = cropping.extract(rows, archives, path, cropper, recipe={}, decoder=decoder)
    reasons = ["corrupt", "too_large", "unsupported_format", "unreadable", "unsupported_format"]
    listed = [reason.decode() for reason in read(tmp_path)["dropped_reason"]]
    assert listed == reasons[::-1] and counts["kept"] == 1


@pytest.mark.parametrize("kind", ["RGBA", "12 bits", "AVIF"])
def test_patches_are_of_the_pixels_that_were_decoded(tmp_path, kind):
    data = {
        "RGBA": transparent("RGBA", "PNG"),
        "12 bits": deep(of_bits(COLOURS, 12)),
        "AVIF": file_of(COLOURS, "AVIF"),
    }[kind]
    rows, archives = dataset(tmp_path, [data, file_of(COLOURS, "PNG")])
    cropper, path = Cropper(32, kind="patches"), tmp_path / "train-00.h5"
    decoder = Decoder(background=(9, 9, 9))
    cropping.extract(rows, archives, path, cropper, recipe={}, decoder=decoder)
    file = read(tmp_path)
    plain, other = np.split(file["encoded"], file["ends"][:1])
    assert plain.tobytes() == file_of(COLOURS, "PNG")  # as it is
    np.testing.assert_array_equal(jpeg.plain(other.tobytes()), decode.decode(data, decoder))
