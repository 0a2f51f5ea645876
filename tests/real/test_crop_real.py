"""Faces of real photographs; needs the kit (GRAFT_KIT, or ../shared/data)."""

import gzip
import shutil
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from conftest import KIT, needs_kit

from graft.config.datasets import Detector
from graft.config.detectors import YUNET
from graft.core import hdf5
from graft.datasets.table import sample_id
from graft.download.archives import Archive, members
from graft.images import align, crop, packs, search
from graft.images import pack as packing
from graft.images.decode import decode
from graft.images.detectors.mtcnn import MTCNN

EVERY = 15
CENTRE = "68 68 182 182"  # LFW's pictures are 2.2 times the box of the person they are named after

pytestmark = needs_kit


@pytest.fixture(scope="module")
def lfw(tmp_path_factory):
    """Some 200 photographs: rows of data_file.csv and their archive."""
    tar = tmp_path_factory.mktemp("lfw") / "lfw-deepfunneled.tar"
    with gzip.open(KIT / "lfw" / "lfw-deepfunneled.tgz") as packed, open(tar, "wb") as plain:
        shutil.copyfileobj(packed, plain)
    rows = []
    with Archive(tar) as archive:
        for name, offset, size in list(members(tar))[::EVERY]:
            identity = sample_id(name, archive.read(offset, size))
            group = name.split("/")[1]
            rows.append((identity, group[0], group, tar.name, name, offset, size, CENTRE))
    columns = ("sample_id", "label", "group", "archive", "member", "offset", "size", "box")
    return pd.DataFrame(rows, columns=columns), {tar.name: tar}


@pytest.fixture(scope="module", params=["mtcnn", "yunet"])
def extracted(request, lfw, tmp_path_factory):
    path = tmp_path_factory.mktemp("faces") / "test-00.h5"
    cropper = crop.Cropper(160, Detector(name=request.param), file=KIT / "detectors" / YUNET)
    counted = crop.extract(*lfw, path, cropper, recipe={})
    return path, counted


def test_every_photograph_of_lfw_has_a_face(lfw, extracted):
    _, counted = extracted
    found = dict(counted)
    several = found.pop("several_faces")
    assert found == {"rows": len(lfw[0]), "kept": len(lfw[0]), "dropped": {}}
    assert 0 < several < len(lfw[0]) / 5  # people beside, in about one picture of eight


def test_found_again_in_their_crops_the_faces_are_upright_and_of_one_size(extracted, request):
    with hdf5.open(extracted[0], "crop") as file:
        crops = hdf5.memmap(file["images"], "crop")
    found = MTCNN("cpu").detect(list(crops))
    target = align.template(160)
    landmarks = np.stack(
        [some.landmarks[search.nearest(some, np.array([40, 40, 120, 135]))] for some in found]
    )
    eyes = landmarks[:, 1] - landmarks[:, 0]
    tilt = np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0]))
    # YuNet's landmarks are less exact (docs/faces.md).
    most = {"mtcnn": 6, "yunet": 7}[request.node.callspec.params["extracted"]]
    assert np.quantile(abs(tilt), 0.95) < most
    middle = landmarks.mean(axis=1) - target.mean(axis=0)
    assert np.quantile(abs(middle), 0.95) < 0.03 * 160
    spread = np.linalg.norm(landmarks - landmarks.mean(axis=1, keepdims=True), axis=(1, 2))
    wanted = np.linalg.norm(target - target.mean(axis=0))
    assert 0.9 < np.quantile(spread / wanted, 0.05) < np.quantile(spread / wanted, 0.95) < 1.1


def test_the_person_in_the_middle_is_taken_not_a_bystander(lfw, extracted):
    with hdf5.open(extracted[0], "crop") as file:
        noses = file["landmarks"][:, 2]
    assert (abs(noses - 125) < 40).all()


def test_the_crops_become_a_pack(extracted, tmp_path):
    path, counted = extracted
    with hdf5.open(path, "crop") as file:
        classes = sorted(set(hdf5.read_strings(file, "label").tolist()))
    options = {"packed_size": 64, "grayscale": True, "equalize": True, "recipe": {}}
    options["kept"] = counted["kept"]
    packed = packing.write(path, tmp_path / "pack.h5", classes=classes, **options)
    pack = packs.Pack(tmp_path / "pack.h5")
    assert packed["rows"] == len(pack) == counted["kept"]
    assert pack.array.shape[1:] == (64, 64, 1)
    means = pack.array.mean(axis=(1, 2, 3))  # equalised, but for those with much grey border
    assert np.median(abs(means - 127.5)) < 2


def test_faces_in_whole_photographs_are_found():
    """FDDB's photographs, of many sizes and with several faces: recall at IoU 0.5."""
    tar = KIT / "fddb" / "fddb.tar"
    by_name, pictures, truth = {}, [], []
    with Archive(tar) as archive:
        for name, offset, size in members(tar):
            by_name[name.rsplit("/", 1)[-1]] = archive.read(offset, size)
    for name in sorted(name for name in by_name if name.endswith(".xml")):
        pictures.append(decode(by_name[name.replace(".xml", ".jpg")]))
        edges = ("xmin", "ymin", "xmax", "ymax")
        objects = ElementTree.fromstring(by_name[name]).iter("object")
        truth.append([[float(o.find(f"bndbox/{edge}").text) for edge in edges] for o in objects])
    found = MTCNN("cpu", min_face=0.0).detect(pictures)
    pairs = list(zip(found, truth, strict=True))
    hits = sum(_overlap(some.boxes, np.array(box)) > 0.5 for some, true in pairs for box in true)
    total, detections = sum(map(len, truth)), sum(map(len, found))
    assert (len(pictures), total) == (87, 194)
    assert hits / total > 0.83 and hits / detections > 0.8


def _overlap(boxes: np.ndarray, box: np.ndarray) -> float:
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = np.prod(np.clip(sides, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return float(np.max(shared / (areas - shared), initial=0))
