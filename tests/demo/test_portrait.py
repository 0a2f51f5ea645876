"""Drawn portraits: what the pictures show, and where their landmarks are."""

import math
from dataclasses import replace

import numpy as np
import pytest

from graft.demo.identity import draw_identity
from graft.demo.portrait import render
from graft.demo.shot import draw_shot


def test_picture_is_deterministic_and_landmarks_are_inside():
    for person in range(12):
        identity, shot = draw_identity(7, person), draw_shot(7, person, 0)
        portrait = render(identity, shot, 96)
        assert portrait.image.dtype == np.uint8
        assert portrait.image.shape == (96, 96, 3)
        assert portrait.image.std() > 8
        assert (portrait.landmarks > 0).all()
        assert (portrait.landmarks < 95).all()
        left, top, right, bottom = portrait.box
        x, y = portrait.landmarks.T
        assert (x > left).all()
        assert (x < right).all()
        assert (y > top).all()
        assert (y < bottom).all()
        again = render(identity, shot, 96)
        np.testing.assert_array_equal(again.image, portrait.image)


def test_extreme_shots_keep_landmarks_inside():
    shot = draw_shot(1, 0, 0)
    identity = draw_identity(1, 0)
    for sign in (-1, 1):
        for corner in ((0.06, 0.05), (-0.06, 0.05), (0.06, -0.05), (-0.06, -0.05)):
            hard = replace(shot, roll=0.45 * sign, yaw=0.30, pitch=-0.18 * sign, scale=0.26)
            hard = replace(hard, x=corner[0], y=corner[1], mouth_open=1.0)
            landmarks = render(identity, hard, 64).landmarks
            assert (landmarks > 1).all()
            assert (landmarks < 62).all()


def test_pupils_are_at_the_landmarks():
    sharp = {"blur": 0.0, "noise": 0.0, "exposure": 1.0, "glasses": "none"}
    ahead = {"gaze_x": 0.0, "gaze_y": 0.0, "light": (0.0, 0.0, 1.0)}
    for person in range(6):
        identity = replace(draw_identity(5, person), iris=(70.0, 50.0, 30.0))
        shot = replace(draw_shot(5, person, 0), **sharp, **ahead)
        image, landmarks, _ = render(identity, shot, 320)
        eyes = landmarks[:2]
        distance = np.linalg.norm(eyes[1] - eyes[0])
        y, x = np.mgrid[:320, :320]
        for eye in eyes:
            near = np.hypot(x - eye[0], y - eye[1]) < 0.075 * distance
            dark = np.where(near, 255.0 - image.mean(axis=2), 0) ** 4
            centre = np.array([(dark * x).sum(), (dark * y).sum()]) / dark.sum()
            assert np.linalg.norm(centre - eye) < 0.03 * distance


def test_pose_moves_landmarks_as_a_similarity():
    identity, shot = draw_identity(2, 1), draw_shot(2, 1, 0)
    plain = replace(shot, roll=0.0, x=0.0, y=0.0, scale=0.2)
    turned = replace(plain, roll=0.3, x=0.03, y=-0.02, scale=0.24)
    before = render(identity, plain, 100).landmarks
    after = render(identity, turned, 100).landmarks
    grow = 0.24 / 0.2 * np.array([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]])
    expected = (before - 49.5) @ grow.T + 49.5 + (3, -2)
    np.testing.assert_allclose(after, expected, atol=1e-9)


def test_no_person_leaves_the_background():
    shot = draw_shot(1, 0, 0)
    empty = render(None, shot, 64)
    assert np.isnan(empty.landmarks).all()
    assert np.isnan(empty.box).all()
    full = render(draw_identity(1, 0), shot, 64)
    assert (empty.image != full.image).mean() > 0.3


def test_mtcnn_finds_the_faces_and_their_landmarks():
    """An independent detector, trained on photographs."""
    torch = pytest.importorskip("torch")
    mtcnn = pytest.importorskip("facenet_pytorch").MTCNN
    drawn = [render(draw_identity(31, person), draw_shot(31, person, 0)) for person in range(50)]
    with torch.inference_mode():
        detector = mtcnn(keep_all=True, min_face_size=40, device="cpu")
        _, _, detected = detector.detect(np.stack([p.image for p in drawn]), landmarks=True)
    errors = []
    for portrait, faces in zip(drawn, detected, strict=True):
        if faces is None:
            continue
        away = np.linalg.norm(np.stack(faces).astype(float) - portrait.landmarks, axis=2)
        eyes = np.linalg.norm(portrait.landmarks[1] - portrait.landmarks[0])
        errors.append(away[away.mean(axis=1).argmin()] / eyes)
    errors = np.array(errors)
    near = errors.mean(axis=1) < 0.25  # a box elsewhere is not the face
    assert near.sum() >= math.ceil(0.98 * len(drawn))
    assert np.median(errors) < 0.05
    assert np.median(errors, axis=0).max() < 0.08  # and no landmark is systematically off
