"""Face detectors in the config: their defaults, and the file that yunet needs."""

import copy

import pytest
from conftest import ROOT, SHIPPED
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from graft.config import decoding, plan, stages
from graft.config.detectors import YUNET, YUNET_FILE
from graft.config.entries import entries
from graft.config.read import read_config
from graft.core.errors import GraftError


@pytest.fixture
def shipped():
    """The shipped config, with yunet for the drawn portraits."""
    config = copy.deepcopy(SHIPPED)
    config["datasets"]["portraits"]["detector"] = {"name": "yunet"}
    return config


def test_each_detector_has_a_min_score_of_its_own(shipped):
    datasets = read_config(shipped).datasets
    assert datasets["portraits"].detector.min_score == 0.75
    assert datasets["portraits_identity"].detector.min_score == 0.9
    shipped["datasets"]["portraits"]["detector"]["min_score"] = 0.4
    assert read_config(shipped).datasets["portraits"].detector.min_score == 0.4


def test_only_a_data_set_whose_faces_yunet_finds_needs_its_file(shipped):
    config = read_config(shipped)
    assert plan.detector_files(config, "portraits") == [("portraits", YUNET)]
    assert plan.detector_files(config, "portraits_identity") == []
    assert YUNET not in [file for _, file in plan.raw_files(config, "portraits")]
    shipped["datasets"]["portraits"]["crop"] = "whole"
    assert plan.detector_files(read_config(shipped), "portraits") == []


def test_the_file_is_downloaded_as_those_of_the_data_set_are(shipped):
    config = read_config(shipped)
    made = stages.download(config, "portraits", YUNET)
    assert (made.name, made.key, made.render) == (YUNET, "datasets.portraits.detector", None)
    assert (made.sha256, made.size) == (YUNET_FILE.sha256, 232589)
    mirrors = stages.mirrors(config, "portraits", YUNET)
    assert mirrors["url"] == list(YUNET_FILE.url) and mirrors["folder"] is None
    assert "mtcnn needs no file" in mirrors["manual"]


def test_a_merged_data_set_has_a_detector_of_its_own(shipped):
    members = {"merge": ["portraits", "portraits_identity"], "packed_size": 48}
    shipped["datasets"]["both"] = {**members, "detector": {"name": "yunet"}}
    config = read_config(shipped)
    assert plan.detector_files(config, "both") == [("both", YUNET)]
    assert stages.download(config, "both", YUNET).key == "datasets.both.detector"


def test_mirrors_of_the_file_are_no_part_of_what_crops_depend_on(shipped):
    plain = read_config(shipped)
    shipped["datasets"]["portraits"]["detector"]["url"] = ["mine.onnx"]
    own = read_config(shipped)
    assert stages.mirrors(own, "portraits", YUNET)["url"] == ["mine.onnx"]
    assert stages.download(own, "portraits", YUNET) == stages.download(plain, "portraits", YUNET)
    assert stages.crop(own, "portraits") == stages.crop(plain, "portraits")
    assert plan.local_only(own) == {"datasets.portraits.detector.url": ["mine.onnx"]}
    shipped["datasets"]["portraits"]["detector"]["url"] = ["https://me:secret@example.org/x"]
    with pytest.raises(GraftError, match=r"datasets\.portraits\.detector\.url has a user name"):
        read_config(shipped)


def test_yunet_computes_on_the_cpu_and_its_code_counts_alone(shipped):
    shipped["compute"]["device"] = "cuda"
    config = read_config(shipped)
    assert stages.crop(config, "portraits").device == "cpu"
    assert stages.crop(config, "portraits_identity").device == "cuda"
    chosen = dict(entries(stages.crop(config, "portraits")))
    assert chosen["graft.images.detect.DETECTORS"] == "yunet"


@pytest.mark.parametrize(
    ("overlay", "dataset"),
    [("imdb_wiki.yaml", "wiki"), ("imdb_wiki.yaml", "imdb"), ("lfw_squeezenet.yaml", "lfw")],
)
def test_the_overlays_of_real_faces_use_yunet_from_its_publisher(overlay, dataset):
    merged = copy.deepcopy(SHIPPED)
    update_config(merged, load_configfile(ROOT / "config" / overlay))
    config = read_config(merged)
    assert config.datasets[dataset].detector.name == "yunet"
    assert stages.mirrors(config, dataset, YUNET)["url"][-1] == YUNET_FILE.url[0]


def test_the_embedded_default_needs_no_file():
    config = read_config(SHIPPED)
    assert all(plan.detector_files(config, name) == [] for name in config.datasets)


def test_each_detector_has_a_min_face_of_its_own_and_it_is_in_the_recipe(shipped):
    config = read_config(shipped)
    assert stages.crop(config, "portraits").detector.min_face == 0.01
    assert stages.crop(config, "portraits_identity").detector.min_face == 0.1
    shipped["datasets"]["portraits"]["detector"]["min_face"] = 0.2
    assert stages.crop(read_config(shipped), "portraits").detector.min_face == 0.2


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"background": [0, 0, 0]}, {"background": (0, 0, 0)}),
        ({"bits": 12, "max_pixels": 10**9}, {"bits": 12, "max_pixels": 10**9}),
    ],
)
def test_decoding_is_in_the_recipe_of_the_crops(shipped, given, wanted):
    shipped["datasets"]["portraits"]["decode"] = given
    decode = stages.crop(read_config(shipped), "portraits").decode
    assert {key: value for key, value in decode if key in wanted} == wanted


@pytest.mark.parametrize(
    "given",
    [
        {"background": [0, 0, 256]},
        {"background": [0]},
        {"bits": 17},
        {"max_pixels": 2**31},
        {"x": 1},
    ],
)
def test_decoding_out_of_range_is_refused(shipped, given):
    shipped["datasets"]["portraits"]["decode"] = given
    with pytest.raises(GraftError, match=r"datasets\.portraits\.decode"):
        read_config(shipped)


@pytest.mark.parametrize("installed", [None, "1.2.3"])
def test_the_version_of_pillow_heif_is_in_the_recipe(shipped, monkeypatch, installed):
    monkeypatch.setattr(decoding, "heif", lambda: installed)
    assert stages.crop(read_config(shipped), "portraits").decode.heif == installed
