"""YuNet on real photographs; needs the kit (GRAFT_KIT, or ../shared/data)."""

import tarfile

import cv2
import numpy as np
import pytest
from conftest import KIT, needs_kit

from graft.config.detectors import YUNET, YUNET_FILE
from graft.core.files import sha256
from graft.images.decode import decode
from graft.images.detectors.mtcnn import MTCNN
from graft.images.detectors.yunet import YuNet
from graft.images.search import nearest

pytestmark = needs_kit

FILE = KIT / "detectors" / YUNET
MIDDLE = np.array([68, 68, 182, 182])  # of LFW's pictures, where the named person's face is


@pytest.fixture(scope="module")
def yunet() -> YuNet:
    return YuNet(file=FILE)


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    with tarfile.open(KIT / "lfw" / "lfw-deepfunneled.tgz") as tar:
        some = [member for member in tar if member.isfile()][::25]
        return [decode(tar.extractfile(member).read()) for member in some]


def landmarks(faces, prior=None):
    return faces.landmarks[nearest(faces, prior)]


def test_the_kit_s_file_is_the_published_one():
    assert (sha256(FILE), FILE.stat().st_size) == (YUNET_FILE.sha256, YUNET_FILE.size)


def test_landmarks_are_in_the_order_and_place_of_another_detector_s(yunet, photographs):
    """Of MTCNN; swapped eyes or corners of the mouth would be a whole distance off."""
    errors = []
    some = photographs[::3]
    for ours, theirs in zip(yunet.detect(some), MTCNN("cpu").detect(some), strict=True):
        wanted = landmarks(theirs, MIDDLE)
        errors.append((landmarks(ours, MIDDLE) - wanted) / np.linalg.norm(wanted[1] - wanted[0]))
    distances = np.linalg.norm(errors, axis=2)
    assert (np.median(distances, axis=0) < 0.12).all() and np.quantile(distances, 0.95) < 0.3
    assert abs(np.mean(errors, axis=(0, 1))).max() < 0.05


def test_the_landmarks_of_mirrored_faces_are_mirrored(yunet, photographs):
    """On average: coordinate 0 is the centre of the first pixel, and not half a pixel beside it.
    More columns at the left put the network's cells elsewhere on the face."""
    rng, found = np.random.default_rng(0), []
    for image in photographs:
        for picture in (image, np.ascontiguousarray(image[:, ::-1])):
            for left in rng.integers(0, 32, 3):
                wider = np.pad(picture, ((0, 0), (left, 0), (0, 0)), mode="edge")
                (faces,) = yunet.detect([wider])
                found.append(landmarks(faces, MIDDLE + [left, 0, left, 0])[:, 0].mean() - left)
    assert abs(np.mean(found) - (250 - 1) / 2) < 0.25


def test_a_picture_gives_the_same_bytes_alone_and_on_two_threads(yunet, photographs):
    pictures = [*photographs[::3], photographs[0][:199, :151], photographs[1][:31, :400]]
    threads, results = cv2.getNumThreads(), []
    try:
        for number in (1, 2):
            cv2.setNumThreads(number)
            results.append(yunet.detect(pictures))
    finally:
        cv2.setNumThreads(threads)
    results.append([yunet.detect([picture])[0] for picture in pictures[::-1]][::-1])
    digests = [
        [(f.boxes.tobytes(), f.scores.tobytes(), f.landmarks.tobytes()) for f in faces]
        for faces in results
    ]
    assert digests[0] == digests[1] == digests[2]


@pytest.mark.parametrize("factor", [0.125, 0.25, 4, 12])
def test_small_pictures_and_large_photographs_keep_their_landmarks(yunet, photographs, factor):
    errors = []
    for image in photographs[:12]:
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        other = cv2.resize(image, None, fx=factor, fy=factor, interpolation=method)
        plain, scaled = yunet.detect([image, other])
        wanted = (landmarks(plain, MIDDLE) + 0.5) * factor - 0.5
        eyes = np.linalg.norm(wanted[1] - wanted[0])
        errors.append(np.linalg.norm(landmarks(scaled, MIDDLE * factor) - wanted, axis=1) / eyes)
    assert np.median(errors) < 0.12


def test_faces_that_fill_a_large_photograph_are_found(yunet, photographs):
    for image in photographs[:12]:
        large = cv2.resize(image[70:180, 70:180], (2000, 2000), interpolation=cv2.INTER_CUBIC)
        (faces,) = yunet.detect([large])
        assert faces.scores[0] > 0.8


@pytest.mark.parametrize("shape", [(1, 1), (12, 300), (19, 19), (33, 400), (240, 31), (1, 3000)])
def test_pictures_of_any_shape_without_a_face(yunet, shape, photographs):
    rng = np.random.default_rng(shape[0])
    noise = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    nothing, face = yunet.detect([noise, photographs[0]])
    assert len(nothing) == 0 and nothing.landmarks.shape == (0, 5, 2)
    assert face.scores[0] > 0.8 and (np.diff(face.scores) <= 0).all()
    assert face.landmarks.dtype == face.boxes.dtype == face.scores.dtype == np.float32
    assert yunet.detect([]) == []
