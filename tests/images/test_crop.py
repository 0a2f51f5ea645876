import hashlib
import io
import tarfile
import time

import cv2
import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from graft.core.errors import GraftError
from graft.core.version import VERSION
from graft.datasets.table import sample_id
from graft.demo import portraits
from graft.download.archives import Archive, members
from graft.images import align, decode
from graft.images import crop as faces
from graft.images import detect as detectors
from graft.images.detect import Faces

POINTS = np.array([[20, 20], [40, 20], [30, 30], [22, 40], [38, 40]], np.float32)


def jpeg(image, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def smooth(level, height=60, width=60):
    """A picture that JPEG hardly changes, and that can be told by its level."""
    y, x = np.mgrid[:height, :width]
    return np.stack([np.full_like(x, level), x % 128, y % 128], axis=2).astype(np.uint8)


def dataset(folder, pictures, boxes=None):
    """A tar of pictures (bytes) and its rows of data_file.csv, in reverse archive order."""
    path = folder / "photos.tar"
    with tarfile.open(path, "w") as tar:
        for number, data in enumerate(pictures):
            info = tarfile.TarInfo(f"photos/{number}.jpg")
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


def extract(folder, rows, archives, **options):
    settings = {"crop": "whole", "size": 32, "recipe": {"stage": "crop"}} | options
    return faces.extract(rows, archives, folder / "train-00.h5", **settings)


def read(folder):
    with h5py.File(folder / "train-00.h5") as file:
        return {name: dataset[...] for name, dataset in file.items()}


class Fake:
    """Finds what the test says is in the picture of a level (its red at the corner)."""

    found: dict = {}
    calls: list = []

    def __init__(self, device, *, batch_size):
        self.calls.append((device, batch_size))

    def detect(self, images):
        self.calls.append(len(images))
        return [self.found.get(round(image[0, 0, 0] / 10) * 10, Faces.empty()) for image in images]


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(Fake, "found", {})
    monkeypatch.setattr(Fake, "calls", [])
    detectors.DETECTORS.register("fake")(Fake)
    return Fake


def found(*shifts_and_scores):
    shifts, scores = zip(*shifts_and_scores, strict=True)
    landmarks = np.stack([POINTS + np.float32(shift) for shift in shifts])
    boxes = np.concatenate([landmarks.min(axis=1) - 5, landmarks.max(axis=1) + 5], axis=1)
    return Faces(boxes, np.float32(scores), landmarks)


def test_whole_pictures_are_kept_in_the_rows_order(tmp_path):
    pictures = [smooth(40 * n, 60 + n, 60) for n in range(5)]
    rows, archives = dataset(tmp_path, map(jpeg, pictures))
    counted = extract(tmp_path, rows, archives)
    assert counted == {"rows": 5, "kept": 5, "dropped": {}}
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


def damaged():
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    whole, thumbnail = jpeg(noise), jpeg(noise[:8, :8])
    exif = Image.Exif()
    exif[0x010E] = "contains a thumbnail: " + thumbnail.decode("latin-1")
    return {
        "zero bytes": b"",
        "no picture": b"<html>404 Not Found</html>",
        "header only": whole[:200],
        "half": whole[: len(whole) // 2],
        "all but the end": whole[:-40],
        "all but the end marker": whole[:-2],
        "rest zeroed": whole[: len(whole) // 2] + bytes(len(whole) // 2),
        "half with a thumbnail": jpeg(noise, exif=exif)[:-3000],
        "half a png": png(noise)[:-2000],
        "encapsulated PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n",
    }


@pytest.mark.parametrize("kind", damaged())
def test_a_damaged_picture_is_no_picture(kind):
    assert decode.decode(damaged()[kind]) is None


def test_a_jpeg_cut_anywhere_is_no_picture():
    noise = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    for data in (jpeg(noise), jpeg(noise, progressive=True, restart_marker_blocks=1)):
        assert decode.decode(data) is not None
        assert all(decode.decode(data[:size]) is None for size in range(0, len(data), 7))


@pytest.mark.parametrize("tail", [b"", b"\0" * 300, b"\r\n", b"camera's own data" * 9])
def test_what_follows_a_whole_jpeg_is_no_damage(tail):
    picture = smooth(90)
    assert abs(decode.decode(jpeg(picture) + tail).astype(int) - picture).max() < 10


def test_other_formats_channels_and_orientations_are_decoded():
    picture = smooth(200, 40, 60)
    np.testing.assert_array_equal(decode.decode(png(picture)), picture)
    np.testing.assert_array_equal(decode.decode(png(picture[..., 0])), picture[..., [0, 0, 0]])
    transparent = np.dstack([picture, np.full((40, 60), 7, np.uint8)])
    np.testing.assert_array_equal(decode.decode(png(transparent)), picture)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn it a quarter clockwise to see it upright"
    upright = decode.decode(jpeg(picture, exif=exif))
    assert abs(upright.astype(int) - np.rot90(picture, -1)).max() < 10


def test_unreadable_pictures_are_counted_and_listed(tmp_path):
    broken = damaged()
    rows, archives = dataset(tmp_path, [jpeg(smooth(50)), *broken.values(), jpeg(smooth(150))])
    counted = extract(tmp_path, rows, archives)
    assert counted == {
        "rows": len(broken) + 2,
        "kept": 2,
        "dropped": {"unreadable": len(broken)},
    }
    file = read(tmp_path)
    assert file["images"][:, 0, 0, 0].tolist() == pytest.approx([150, 50], abs=3)
    listed = [s.decode() for s in file["dropped_sample_id"]]
    assert listed == rows["sample_id"].tolist()[1:-1]
    assert set(file["dropped_reason"]) == {b"unreadable"}
    assert faces.counts(tmp_path / "train-00.h5") == counted


@pytest.mark.parametrize("crop", faces.CROPS)
def test_a_part_without_pictures_or_faces_is_empty_and_whole(tmp_path, fake, crop):
    rows, archives = dataset(tmp_path, [jpeg(smooth(10))])
    assert extract(tmp_path, rows[:0], archives, crop=crop, detector="fake")["rows"] == 0
    assert read(tmp_path)["images"].shape == (0, 32, 32, 3)
    if crop == "aligned_face":
        counted = extract(tmp_path, rows, archives, crop=crop, detector="fake")
        assert counted == {"rows": 1, "kept": 0, "dropped": {"no_face": 1}}
        assert read(tmp_path)["landmarks"].shape == (0, 5, 2)
        with pytest.raises(GraftError, match=r"^portraits: no face was detected .*1 no_face"):
            faces.check_any([counted, counted | {"dropped": {}}], "portraits")
        faces.check_any([counted, {"kept": 1, "dropped": {}}], "portraits")


def test_bytes_that_are_not_the_samples_are_refused_and_leave_nothing(tmp_path):
    rows, archives = dataset(tmp_path, [jpeg(smooth(10)), jpeg(smooth(20))])
    data = bytearray(archives["photos.tar"].read_bytes())
    data[rows["offset"][1] + 300] ^= 1
    archives["photos.tar"].write_bytes(data)
    with pytest.raises(GraftError, match=r"photos/0\.jpg: .* not those of sample"):
        extract(tmp_path / "new", rows, archives)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_short_or_missing_archive_is_refused(tmp_path):
    rows, archives = dataset(tmp_path, [jpeg(smooth(10)), jpeg(smooth(20))])
    with pytest.raises(GraftError, match=r"photos\.tar: data_file\.csv names this file"):
        extract(tmp_path, rows, {})
    archives["photos.tar"].write_bytes(archives["photos.tar"].read_bytes()[:1000])
    with pytest.raises(GraftError, match=r"photos\.tar"):
        extract(tmp_path, rows, archives)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": "face"}, "crop is 'face'. Did you mean aligned_face"),
        ({"crop": "aligned_face", "detector": "none"}, r"detector\.name is none"),
        ({"crop": "aligned_face", "margin": 0.0}, r"detector\.margin is 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, options, message):
    rows, archives = dataset(tmp_path, [jpeg(smooth(10))])
    with pytest.raises(GraftError, match=message):
        extract(tmp_path, rows, archives, **options)


def test_a_detector_that_is_not_registered_is_a_key_error(tmp_path):
    rows, archives = dataset(tmp_path, [jpeg(smooth(10))])
    with pytest.raises(KeyError, match="mtcn"):  # the config refuses it before
        extract(tmp_path, rows, archives, crop="aligned_face", detector="mtcn")


def test_faces_are_chosen_judged_and_cut_out(tmp_path, fake):
    fake.found = {
        0: found(((0, 0), 0.95), ((10, 5), 0.99)),  # no box: the more confident
        50: found(((0, 0), 0.99), ((10, 5), 0.91)),  # a box over the second
        100: found(((0, 0), 0.99), ((10, 5), 0.85)),  # the second is too unsure
        150: Faces(np.ones((1, 4), np.float32), np.ones(1, np.float32), np.ones((1, 5, 2)) * 9),
        # 200: nothing is found
    }
    boxes = {1: "25 20 53 50", 2: "25 20 53 50"}
    rows, archives = dataset(tmp_path, [jpeg(smooth(50 * n)) for n in range(5)], boxes)
    options = {"crop": "aligned_face", "detector": "fake", "batch_size": 4, "device": "cuda"}
    counted = extract(tmp_path, rows, archives, **options)
    assert counted == {
        "rows": 5,
        "kept": 2,
        "dropped": {"degenerate_landmarks": 1, "low_detection_score": 1, "no_face": 1},
    }
    assert fake.calls == [("cuda", 4), 5]
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
    three = found(((0, 0), 0.9), ((8, 0), 0.95), ((100, 100), 0.99))
    assert faces.nearest(three, None) == 2
    assert faces.nearest(three, np.array([15, 15, 45, 45])) == 0
    assert faces.nearest(three, np.array([24, 15, 54, 45])) == 1
    assert faces.nearest(three, np.array([300, 300, 330, 330])) == 2
    assert faces.nearest(three, np.array([-60, 20, -40, 40])) == 0


def test_a_box_that_is_not_four_numbers_is_refused(tmp_path, fake):
    rows, archives = dataset(tmp_path, [jpeg(smooth(0))], {0: "1 2 3"})
    with pytest.raises(GraftError, match=r"the box '1 2 3' of photos/0\.jpg"):
        extract(tmp_path, rows, archives, crop="aligned_face", detector="fake")


@pytest.fixture(scope="module")
def drawn():
    """Portraits of several sizes, with the truth about them."""
    return [
        portraits.render(
            portraits.draw_identity(5, number), portraits.draw_shot(5, number, 0), size
        )
        for number, size in enumerate([160] * 9 + [128, 200, 128])
    ]


@pytest.fixture(scope="module")
def mtcnn():
    return detectors.DETECTORS["mtcnn"]("cpu", batch_size=4)


def test_mtcnn_finds_drawn_portraits_where_they_are(drawn, mtcnn):
    errors = []
    for portrait, faces_found in zip(
        drawn, mtcnn.detect([portrait.image for portrait in drawn]), strict=True
    ):
        best = faces.nearest(faces_found, None)
        eyes = np.linalg.norm(portrait.landmarks[1] - portrait.landmarks[0])
        off = np.linalg.norm(faces_found.landmarks[best] - portrait.landmarks, axis=1)
        errors.append(off / eyes)
        x1, y1, x2, y2 = faces_found.boxes[best]
        x, y = portrait.landmarks.T
        assert (x1 < x).all() and (x < x2).all() and (y1 < y).all() and (y < y2).all()
        assert faces_found.scores[best] > 0.9
        assert faces_found.landmarks.dtype == faces_found.boxes.dtype == np.float32
    assert np.median(errors) < 0.07


def test_mtcnn_agrees_with_the_package_whose_weights_it_uses(drawn, mtcnn):
    from facenet_pytorch import MTCNN

    images = [portrait.image for portrait in drawn[:9]]
    _, _, theirs = MTCNN(min_face_size=24, keep_all=True).detect(np.stack(images), landmarks=True)
    offsets = [
        (mine.landmarks[0] - points[0]) / np.linalg.norm(points[0][1] - points[0][0])
        for mine, points in zip(mtcnn.detect(images), theirs, strict=True)
    ]
    # The package counts pixels from 1 and resizes windows in another way.
    assert abs(np.median(offsets, axis=(0, 1))).max() < 0.06
    assert abs(np.array(offsets)).max() < 0.2


def test_mtcnn_gives_a_picture_the_same_faces_in_any_company(drawn, mtcnn):
    images = [portrait.image for portrait in drawn]
    together = mtcnn.detect(images)
    for image, faces_found in zip(images, together, strict=True):
        (alone,) = mtcnn.detect([image])
        np.testing.assert_allclose(alone.landmarks, faces_found.landmarks, atol=1e-3)
        np.testing.assert_allclose(alone.boxes, faces_found.boxes, atol=1e-3)


def test_mtcnn_sees_a_mirrored_face_mirrored(drawn, mtcnn):
    image = drawn[0].image
    (plain,) = mtcnn.detect([image])
    (mirrored,) = mtcnn.detect([np.ascontiguousarray(image[:, ::-1])])
    back = mirrored.landmarks[0][[1, 0, 2, 4, 3]] * [-1, 1] + [image.shape[1] - 1, 0]
    assert abs((back - plain.landmarks[0]).mean()) < 0.75
    assert abs(back - plain.landmarks[0]).max() < 3


def test_mtcnn_on_a_large_photograph_gives_its_pixels(drawn, mtcnn):
    image = drawn[0].image
    large = cv2.resize(image, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    (small_faces,), (large_faces,) = mtcnn.detect([image]), mtcnn.detect([large])
    expected = (small_faces.landmarks[0] + 0.5) * 8 - 0.5
    assert abs(large_faces.landmarks[0] - expected).max() < 8 * 2


@pytest.mark.parametrize("shape", [(1, 1), (12, 300), (19, 19), (20, 20), (33, 400), (240, 31)])
def test_mtcnn_bears_pictures_of_any_shape_without_a_face(shape, mtcnn, drawn):
    rng = np.random.default_rng(shape[0])
    noise = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    nothing, face = mtcnn.detect([noise, drawn[0].image])
    assert nothing.boxes.shape == (len(nothing), 4) and len(face) == 1
    assert len(mtcnn.detect([np.zeros((*shape, 3), np.uint8)])[0]) == 0
    assert mtcnn.detect([]) == []


def test_mtcnn_finds_faces_that_the_edge_cuts(drawn, mtcnn):
    """A landmark here and there is moved by what is missing; most of them must not be."""
    moved = []
    for portrait in drawn:
        left = int(portrait.landmarks[:, 0].min()) - 4
        (whole,) = mtcnn.detect([portrait.image])
        (cut,) = mtcnn.detect([np.ascontiguousarray(portrait.image[:, left:])])
        assert len(cut) == 1
        moved += list(abs(cut.landmarks[0] + [left, 0] - whole.landmarks[0]).max(axis=1))
    assert np.median(moved) < 3 and np.quantile(moved, 0.9) < 6


def test_the_file_does_not_depend_on_batches_windows_or_time(tmp_path, drawn, monkeypatch):
    pictures = [jpeg(portrait.image) for portrait in drawn]
    rows, archives = dataset(tmp_path, [*pictures[:6], b"", *pictures[6:]])
    digests = []
    for number, (batch_size, window) in enumerate([(1, 2**28), (8, 2**28), (8, 200_000)]):
        monkeypatch.setattr(decode, "WINDOW_BYTES", window)
        folder = tmp_path / str(number)
        counted = extract(folder, rows, archives, crop="aligned_face", batch_size=batch_size)
        assert counted == {"rows": 13, "kept": 12, "dropped": {"unreadable": 1}}
        digests.append(hashlib.sha256((folder / "train-00.h5").read_bytes()).hexdigest())
        time.sleep(0.4)  # HDF5 would store times in seconds
    assert len(set(digests)) == 1


def test_crops_of_drawn_portraits_are_upright_and_of_one_size(tmp_path, drawn):
    rows, archives = dataset(tmp_path, [jpeg(portrait.image) for portrait in drawn])
    extract(tmp_path, rows, archives, crop="aligned_face", size=120)
    target = align.template(120)
    errors = []
    for landmarks, portrait in zip(read(tmp_path)["landmarks"], drawn[::-1], strict=True):
        matrix = align.similarity(landmarks, target)
        truth = align.transform(matrix, portrait.landmarks)
        errors.append((truth[:2] - target[:2]) / 120)
    assert abs(np.array(errors)).max() < 0.1 and abs(np.array(errors)).mean() < 0.025
