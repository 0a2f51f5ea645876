"""Raw files: downloaded, drawn or packed, and unpacked."""

import gzip
import hashlib

import pytest
from builders import FOLDER, make_tar, make_zip, overlay, plant, tar_content

from graft.config import plan, stages
from graft.config.detectors import YUNET
from graft.config.read import read_config
from graft.core.errors import GraftError
from graft.download import folders, raw_files

FILES = {"cat/1.png": b"one", "dog/2.png": b"two", "labels.csv": b"path,label\n"}


def obtain(folder, spec, name, *, draw=None, tree=None):
    """Obtain a raw file of the data set `mine`; `draw` writes it where it is a drawn one."""
    config = read_config(overlay(mine=FOLDER | spec))
    assert plan.raw_files(config, "mine") == [("mine", name)]
    results = raw_files.obtain(
        folder / "raw" / name,
        stages.download(config, "mine", name, tree),
        draw=draw,
        **stages.mirrors(config, "mine", name),
    )
    assert [path.name for path in (folder / "raw").iterdir()] == [name]
    return results


@pytest.mark.parametrize("kind", ["sha256", "md5"])
@pytest.mark.parametrize(
    ("name", "raw"), [("x.zip", "x.tar"), ("x.tgz", "x.tar"), ("x.tar.gz", "x.tar"), ("x.tar",) * 2]
)
def test_a_published_file_is_downloaded_and_unpacked(tmp_path, name, raw, kind):
    source = tmp_path / name
    if name.endswith("zip"):
        make_zip(source, FILES)
    else:
        data = make_tar(tmp_path / "whole.tar", FILES).read_bytes()
        source.write_bytes(data if name == "x.tar" else gzip.compress(data))
    digest = hashlib.new(kind, source.read_bytes()).hexdigest()
    files = {name: {"url": [str(source)], kind: digest}}
    results = obtain(tmp_path, {"files": files}, raw)
    assert tar_content(tmp_path / "raw" / raw) == FILES
    assert results["mirror"] == str(source) and results["size"] == source.stat().st_size


def test_a_drawn_file_is_drawn_with_its_parameters_and_unpacked(tmp_path):
    def draw(path, **parameters):
        drawn.append(parameters)
        path.parent.mkdir()
        path.write_bytes(gzip.compress(make_tar(tmp_path / "drawn.tar", FILES).read_bytes()))

    drawn = []
    render = {"kind": "lfw", "people": 3, "pictures": 2, "seed": 1}
    results = obtain(tmp_path, {"files": {"x.tgz": {"render": render}}}, "x.tar", draw=draw)
    assert drawn == [{"people": 3, "pictures": 2, "seed": 1}]
    assert results == {"rendered": render}
    assert tar_content(tmp_path / "raw/x.tar") == FILES


def test_a_folder_is_packed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = folders.digest(plant(tmp_path / "photos", FILES), key="photos")
    assert obtain(tmp_path, {}, "mine.tar", tree=tree) == {"packed": {"pictures": 2, "tables": 1}}
    assert tar_content(tmp_path / "raw/mine.tar") == FILES


def test_another_file_than_the_detector_s_is_refused_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.onnx").write_bytes(bytes(232589))
    detector = {"name": "yunet", "url": ["other.onnx", "missing.onnx"]}
    changes = {"crop": "aligned_face", "detector": detector}
    config = read_config(overlay(mine=FOLDER | changes))
    with pytest.raises(GraftError) as raised:
        raw_files.obtain(
            tmp_path / "raw" / YUNET,
            stages.download(config, "mine", YUNET),
            draw=None,
            **stages.mirrors(config, "mine", YUNET),
        )
    text = str(raised.value)
    assert text.startswith(f"datasets.mine.detector: {YUNET} cannot be downloaded (other.onnx has ")
    assert "expected 8f2383e4" in text and "missing.onnx cannot be read" in text
    assert "mtcnn needs no file" in text and text.endswith(f"downloads/{YUNET}.")
    assert not (tmp_path / "raw" / YUNET).exists()
