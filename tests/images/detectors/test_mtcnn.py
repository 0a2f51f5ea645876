import cv2
import numpy as np
import pytest

from graft.images.detectors.mtcnn import MTCNN
from graft.images.search import nearest


@pytest.fixture(scope="module")
def mtcnn() -> MTCNN:
    return MTCNN("cpu", batch_size=4)


def test_mtcnn_finds_drawn_portraits_where_they_are(drawn, mtcnn):
    errors = []
    detected = mtcnn.detect([portrait.image for portrait in drawn])
    for portrait, faces in zip(drawn, detected, strict=True):
        best = nearest(faces, None)
        eyes = np.linalg.norm(portrait.landmarks[1] - portrait.landmarks[0])
        off = np.linalg.norm(faces.landmarks[best] - portrait.landmarks, axis=1)
        errors.append(off / eyes)
        x1, y1, x2, y2 = faces.boxes[best]
        x, y = portrait.landmarks.T
        assert (x1 < x).all() and (x < x2).all() and (y1 < y).all() and (y < y2).all()
        assert faces.scores[best] > 0.9
        assert faces.landmarks.dtype == faces.boxes.dtype == np.float32
    assert np.median(errors) < 0.07


def test_mtcnn_agrees_with_the_package_whose_weights_it_uses(drawn, mtcnn):
    from facenet_pytorch import MTCNN as Package

    images = [portrait.image for portrait in drawn[:9]]
    _, _, theirs = Package(min_face_size=24, keep_all=True).detect(np.stack(images), landmarks=True)
    offsets = [
        (mine.landmarks[0] - points[0]) / np.linalg.norm(points[0][1] - points[0][0])
        for mine, points in zip(mtcnn.detect(images), theirs, strict=True)
    ]
    # The package counts pixels from 1 and resizes windows in another way.
    assert abs(np.median(offsets, axis=(0, 1))).max() < 0.06
    assert abs(np.array(offsets)).max() < 0.2


def test_the_faces_of_a_picture_do_not_depend_on_the_other_pictures(drawn, mtcnn):
    images = [portrait.image for portrait in drawn]
    together = mtcnn.detect(images)
    for image, faces in zip(images, together, strict=True):
        (alone,) = mtcnn.detect([image])
        np.testing.assert_allclose(alone.landmarks, faces.landmarks, atol=1e-3)
        np.testing.assert_allclose(alone.boxes, faces.boxes, atol=1e-3)


def test_the_landmarks_of_a_mirrored_face_are_mirrored(drawn, mtcnn):
    image = drawn[0].image
    (plain,) = mtcnn.detect([image])
    (mirrored,) = mtcnn.detect([np.ascontiguousarray(image[:, ::-1])])
    back = mirrored.landmarks[0][[1, 0, 2, 4, 3]] * [-1, 1] + [image.shape[1] - 1, 0]
    assert abs((back - plain.landmarks[0]).mean()) < 0.75
    assert abs(back - plain.landmarks[0]).max() < 3


def test_the_landmarks_of_a_large_photograph_are_in_its_pixels(drawn, mtcnn):
    image = drawn[0].image
    large = cv2.resize(image, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    (small_faces,), (large_faces,) = mtcnn.detect([image]), mtcnn.detect([large])
    expected = (small_faces.landmarks[0] + 0.5) * 8 - 0.5
    assert abs(large_faces.landmarks[0] - expected).max() < 8 * 2


@pytest.mark.parametrize("shape", [(1, 1), (12, 300), (19, 19), (20, 20), (33, 400), (240, 31)])
def test_mtcnn_takes_pictures_of_any_shape_without_a_face(shape, mtcnn, drawn):
    rng = np.random.default_rng(shape[0])
    noise = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    nothing, face = mtcnn.detect([noise, drawn[0].image])
    assert nothing.boxes.shape == (len(nothing), 4) and len(face) == 1
    assert len(mtcnn.detect([np.zeros((*shape, 3), np.uint8)])[0]) == 0
    assert mtcnn.detect([]) == []


def test_mtcnn_finds_faces_that_the_edge_cuts(drawn, mtcnn):
    """A few landmarks move because pixels are missing; most do not."""
    moved = []
    for portrait in drawn:
        left = int(portrait.landmarks[:, 0].min()) - 4
        (whole,) = mtcnn.detect([portrait.image])
        (cut,) = mtcnn.detect([np.ascontiguousarray(portrait.image[:, left:])])
        assert len(cut) == 1
        moved += list(abs(cut.landmarks[0] + [left, 0] - whole.landmarks[0]).max(axis=1))
    assert np.median(moved) < 3 and np.quantile(moved, 0.9) < 6
