"""Predict: every picture of a folder is predicted as the test rows are, or listed with a reason."""

import base64
import os
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
import torch
from builders import CLASSES, draw_photos, picture, read_rows, save_model, save_picture

from graft.core import hdf5
from graft.core.errors import GraftError
from graft.download import folders
from graft.evaluation import evaluate
from graft.images import align, pack, packs
from graft.models import model_file
from graft.reporting import contact_sheet
from graft.reporting import predict as predictions

OPTIONS = {"name": "mine", "device": "cpu", "precision": "fp32", "batch_size": 32}


class Page(HTMLParser):
    """What a reader sees: (heading, title of the figure, JPEG or None) of every figure."""

    def __init__(self, path):
        super().__init__()
        self.figures, self.tags, self._heading, self._within = [], set(), "", None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        values = dict(attributes)
        self._within = tag if tag in ("h2", "small") else None
        if tag == "h2":
            self._heading = ""
        if tag == "figure":
            self.figures.append([self._heading.strip(), values["title"], None])
        if tag == "img":
            kind, data = values["src"].split(",")
            assert kind == "data:image/jpeg;base64"
            self.figures[-1][2] = base64.b64decode(data)

    def handle_data(self, data):
        if self._within == "h2":
            self._heading += data
            self._within = None


@pytest.fixture
def run(tmp_path):
    """Predict a folder by a model; (results, rows of the table, the page)."""

    def predict(folder, model, **options):
        table, page = tmp_path / "out/predictions.csv", tmp_path / "out/contact_sheet.html"
        results = predictions.predict(folder, model, table, page, **{**OPTIONS, **options})
        return results, read_rows(table), Page(page)

    return predict


def test_files_with_odd_endings_are_counted(tmp_path):
    (tmp_path / "notes.TXT").touch()
    (tmp_path / ".hidden").touch()
    with open(os.path.join(os.fsencode(tmp_path), b"x.\xff"), "wb"):
        pass
    assert folders.others(tmp_path) == {".txt": 1, ".\ufffd": 1, "hidden": 1}


def test_a_model_whose_faces_yunet_found_needs_its_file(tmp_path):
    path = tmp_path / "model.safetensors"
    detector = {"name": "yunet", "min_score": 0.5, "margin": 1.0, "batch_size": 4}
    save_model(path, crop="aligned_face", detector=detector)
    options = {"device": "cpu", "precision": "fp32", "batch_size": 1}
    with pytest.raises(GraftError, match=r"needs the file face_.*set predict\.detector to it"):
        predictions.Model(path, **options)
    (tmp_path / "yunet.onnx").write_bytes(b"another file")
    with pytest.raises(GraftError, match=r"yunet\.onnx: the file is not the published"):
        predictions.Model(path, **options, detector=tmp_path / "yunet.onnx")


@pytest.mark.parametrize("description", [[1], {"classes": 5}, {"architecture": "vgg_mini"}])
def test_a_file_with_another_description_is_no_model(tmp_path, description):
    path = tmp_path / "model.safetensors"
    model_file.save(path, {"a": torch.ones(1)}, description)
    with pytest.raises(GraftError, match="no model that the train stage wrote"):
        predictions.Model(path, device="cpu", precision="fp32", batch_size=1)


@pytest.mark.parametrize(
    ("cut", "preparation"),
    [
        ("image", {}),
        ("image", {"grayscale": True}),
        ("image", {"equalize": True}),
        ("block3", {"image_size": 48}),
        ("avgpool", {}),
        ("stages.2", {"architecture": "timm/convnext_atto", "image_size": 48}),
        ("blocks.5", {"architecture": "timm/vit_tiny_patch16_224"}),
    ],
)
def test_a_picture_is_predicted_as_the_same_one_in_a_pack(tmp_path, run, cut, preparation):
    images = [picture(seed) for seed in range(5)]
    for number, image in enumerate(images):
        save_picture(tmp_path / f"photos/{number}.png", image)
    size = {"transform": {"size": 32}} if "image_size" in preparation else {}
    spec = save_model(tmp_path / "frozen.safetensors", cut=cut, **size, **preparation)
    _, rows, _ = run(tmp_path / "photos", tmp_path / "frozen.safetensors")
    # The same weights, cut at the image, so that the pack goes through `evaluate`'s own path.
    save_model(tmp_path / "whole.safetensors", **size, **preparation)
    prepared = spec["preparation"]
    with hdf5.create(tmp_path / "test-00.h5", {}) as file:
        keys = ("grayscale", "equalize")
        packed = [
            pack.prepare(
                align.whole(image, 48),
                prepared["image_size"],
                **{key: prepared[key] for key in keys},
            )
            for image in images
        ]
        hdf5.write(file, "images", np.stack(packed))
        packs.write_labels(file, [0] * 5, list("01234"), list("01234"), CLASSES)
    test = [tmp_path / "test-00.h5"]
    wanted, _, _ = evaluate.predict(
        tmp_path / "whole.safetensors",
        test,
        test,
        device="cpu",
        precision="fp32",
        threads=1,
    )
    assert [row["picture"] for row in rows] == [f"{number}.png" for number in range(5)]
    assert [row["predicted"] for row in rows] == wanted["predicted"].tolist()
    columns = [f"confidence_{name}" for name in CLASSES]
    confidences = np.array([[float(row[column]) for column in columns] for row in rows])
    np.testing.assert_allclose(confidences, wanted[columns].to_numpy(), atol=1e-5)
    assert np.ptp(confidences, axis=0).max() > 0.01  # else any constant would pass
    assert [float(row["confidence"]) for row in rows] == confidences.max(axis=1).tolist()


def test_no_picture_is_lost_of_any_name_or_state(tmp_path, run):
    photos = tmp_path / "photos"
    names = ["b.JPG", "a/c.png", "a/z,\"'.png", "<script>alert(1)<!--.png", "\nü&amp;.png"]
    for seed, name in enumerate(names):
        save_picture(photos / name, picture(seed))
    broken = {
        "cut.jpg": (photos / "b.JPG").read_bytes()[:-20],
        "empty.png": b"",
        "a/text.webp": b"no picture",
    }
    for name, data in broken.items():
        (photos / name).write_bytes(data)
    others = ("notes.txt", ".DS_Store", ".hidden/d.png", "README", "a/film.MOV", "b/film.mov")
    for name in others:
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"x")
    save_model(tmp_path / "m.safetensors")
    results, rows, page = run(photos, tmp_path / "m.safetensors")
    assert sorted(row["picture"] for row in rows) == sorted([*names, *broken])
    reasons = {row["picture"]: row["drop_reason"] for row in rows}
    assert reasons == {**dict.fromkeys(names, ""), **dict.fromkeys(broken, "unreadable")}
    assert {row["predicted"] for row in rows if row["drop_reason"]} == {""}
    assert results["pictures"] == 8 and results["dropped"] == {"unreadable": 3}
    assert sum(results["predicted"].values()) == 5 and list(results["predicted"]) == CLASSES
    assert results["skipped"] == {".mov": 2, ".txt": 1, "hidden": 2, "without an extension": 1}
    shown = {title: (heading, data) for heading, title, data in page.figures}
    assert len(page.figures) == len(shown) == 8
    for row in rows:
        heading, data = shown[row["picture"]]
        assert heading == (row["predicted"] or "No prediction: not a readable picture")
        assert (data is None) == bool(row["drop_reason"])
    assert "script" not in page.tags and "b" in page.tags  # the second: tags are seen at all


def test_the_page_needs_nothing_else_and_shows_the_crops_most_confident_first(tmp_path, run):
    for seed in range(30):
        save_picture(tmp_path / f"photos/{seed:02d}.png", picture(seed))
    save_model(tmp_path / "m.safetensors", size=64)
    results, rows, page = run(tmp_path / "photos", tmp_path / "m.safetensors")
    confidence = {row["picture"]: float(row["confidence"]) for row in rows}
    by_class = {}
    for heading, title, data in page.figures:
        by_class.setdefault(heading, []).append(confidence[title])
        shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        crop = align.whole(picture(int(title[:2])), 48)
        assert shown.shape == (48, 48, 3) and np.abs(shown.astype(int) - crop).mean() < 12
    assert list(by_class) == [name for name in CLASSES if results["predicted"][name]]
    assert len(by_class) > 1
    assert all(shares == sorted(shares, reverse=True) for shares in by_class.values())
    text = (tmp_path / "out/contact_sheet.html").read_text(encoding="utf-8")
    assert not any(word in text for word in ("http", "url(", "@import", "<link"))
    assert results["model"] in text and "mine" in text


def test_windows_change_nothing_and_the_bytes_are_the_same_each_time(tmp_path, run):
    for seed in range(20):
        save_picture(tmp_path / f"photos/{seed:02d}.png", picture(seed))
    (tmp_path / "photos/03.png").write_bytes(b"")
    save_model(tmp_path / "m.safetensors")
    _, rows, page = run(tmp_path / "photos", tmp_path / "m.safetensors")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    run(tmp_path / "photos", tmp_path / "m.safetensors")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    _, narrow, _ = run(tmp_path / "photos", tmp_path / "m.safetensors", batch_size=1)
    assert [row["picture"] for row in narrow] == [row["picture"] for row in rows]
    for one, other in zip(rows, narrow, strict=True):
        assert one["predicted"] == other["predicted"]
        shares = [float(row["confidence"] or 0) for row in (one, other)]
        assert shares[0] == pytest.approx(shares[1], abs=1e-5)


def test_a_page_of_very_many_says_where_the_others_are(tmp_path, run, monkeypatch):
    monkeypatch.setattr(contact_sheet, "MOST", 3)
    for number in range(5):
        save_picture(tmp_path / f"photos/{number}.png", picture(0))
    save_model(tmp_path / "m.safetensors")
    _, rows, page = run(tmp_path / "photos", tmp_path / "m.safetensors")
    assert len(rows) == 5 and [title for _, title, _ in page.figures] == ["0.png", "1.png", "2.png"]
    text = (tmp_path / "out/contact_sheet.html").read_text(encoding="utf-8")
    assert "5 pictures, of which the first 3 are shown; predictions.csv has all" in text


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_photos(tmp_path_factory.mktemp("drawn"))


def test_faces_are_aligned_and_pictures_without_one_are_listed(tmp_path, run, drawn):
    save_model(tmp_path / "m.safetensors", crop="aligned_face")
    results, rows, page = run(drawn, tmp_path / "m.safetensors")
    assert results["dropped"] == {"no_face": 2, "unreadable": 1}
    assert sum(results["predicted"].values()) == 3 and len(rows) == 6
    without = {
        title: data
        for heading, title, data in page.figures
        if heading == "No prediction: no face detected"
    }
    assert set(without) == {"blank.png", "dot.png"}
    shown = cv2.imdecode(np.frombuffer(without["blank.png"], np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (72, 96, 3)  # the whole picture, so that it is recognised


def test_what_cannot_be_predicted_is_refused_in_one_sentence(tmp_path, run):
    save_model(tmp_path / "m.safetensors")
    with pytest.raises(
        GraftError, match=r"predict\.pictures is .*nowhere., where there is no folder"
    ):
        run(tmp_path / "nowhere", tmp_path / "m.safetensors")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/notes.txt").touch()
    with pytest.raises(GraftError, match="a folder without a picture"):
        run(tmp_path / "photos", tmp_path / "m.safetensors")
    save_picture(tmp_path / "photos/a.png", picture(0))
    (tmp_path / "text.safetensors").write_text("no model")
    model_file.save(tmp_path / "source.safetensors", {"a": torch.zeros(1)}, {"transform": {}})
    for name, sentence in (
        ("none", "is not a readable safetensors file"),
        ("text", "is not a readable safetensors file"),
        ("source", "no model that the train stage wrote"),
    ):
        with pytest.raises(GraftError, match=rf"{name}\.safetensors: .*{sentence}"):
            run(tmp_path / "photos", tmp_path / f"{name}.safetensors")
    assert not any((tmp_path / "out").glob("*"))
