"""The layout of LFW."""

import cv2
import numpy as np

from graft.demo.lfw import render_lfw


def test_layout(lfw):
    files = lfw.files
    pictures = [name for name in files if name.endswith(".jpg")]
    assert len(pictures) == 6
    assert list(files)[-1] == "portraits_identity/landmarks.csv"
    for name in pictures:
        root, person, file = name.split("/")
        assert root == "portraits_identity"
        assert file in (f"{person}_0001.jpg", f"{person}_0002.jpg")
        assert name.isascii()
        picture = np.frombuffer(files[name], np.uint8)
        assert cv2.imdecode(picture, cv2.IMREAD_COLOR).shape == (64, 64, 3)
    assert [line["member"] for line in lfw.truth] == pictures
    assert len({(line["member"].split("/")[1], line["sex"]) for line in lfw.truth}) == 3


def test_seeds_give_other_people(lfw, tmp_path, read_archive):
    path = tmp_path / "other.tgz"
    render_lfw(path, people=3, pictures=2, seed=13, size=64)
    assert not set(lfw.files.values()) & set(read_archive(path).files.values())
