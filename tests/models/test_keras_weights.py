"""Keras's files: read under torchvision's names where they fit, refused where they do not."""

import zipfile

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from keras_files import (
    SPELLINGS,
    keras_layers,
    published,
    write_keras,
    write_keras_3,
    write_nested_keras,
)
from scipy.signal import correlate

from graft.core.errors import GraftError
from graft.models import keras_files, keras_weights, weights
from graft.models.backbones import Backbone

NAMES = list(Backbone("squeezenet1_1", skip_init=True).tensors())


@pytest.fixture
def layers():
    return keras_layers(published("squeezenet1_1"), SPELLINGS["squeezenet1_1"])


def read(path, architecture="squeezenet1_1", allow_new=()):
    return weights.read(path, architecture, allow_new, key="sources.test")


def assert_equal(found, tensors):
    """These tensors, and nothing else with values."""
    assert {name for name, t in found.tensors.items() if not t.is_meta} == tensors.keys()
    assert all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("architecture", "spelling", "root"),
    [
        ("squeezenet1_1", "squeezenet1_1", None),
        ("vgg16", "vgg16", "model_weights"),
        ("vgg16", "vgg_face", None),
    ],
)
def test_a_keras_file_comes_back_under_torchvisions_names(tmp_path, architecture, spelling, root):
    tensors = published(architecture)
    written = keras_layers(tensors, SPELLINGS[spelling])
    path = write_keras(
        tmp_path / "weights.h5", written, root=root, texts=str if root else np.bytes_
    )
    found = read(path, architecture)
    assert_equal(found, tensors)
    assert found.unwrapped == ((root,) if root else ()) and not found.notes


def test_a_kernel_computes_here_what_it_computes_on_height_width_channel(tmp_path, layers):
    path = write_keras(tmp_path / "weights.h5", layers)
    rng = np.random.default_rng(0)
    picture = rng.normal(size=(9, 8, 3))
    kernel, bias = layers["conv1"].values()
    maps = [correlate(picture, kernel[..., k], "valid")[::2, ::2, 0] + bias[k] for k in range(64)]
    backbone = Backbone("squeezenet1_1", skip_init=True)
    backbone.load(read(path).tensors)
    first = backbone.body.get_submodule("features.0")
    with torch.inference_mode():
        ours = first(torch.from_numpy(picture.transpose(2, 0, 1)[None]).float())[0]
    np.testing.assert_allclose(ours.numpy(), np.stack(maps), atol=1e-5)


def test_a_dense_layer_reads_flattened_maps_in_either_order():
    rng = np.random.default_rng(0)
    maps, kernel = rng.normal(size=(2, 2, 3)), rng.normal(size=(12, 5))  # height width map
    keras = maps.reshape(-1) @ kernel
    ours = keras_weights.dense_kernel(torch.from_numpy(kernel), maps=3)
    np.testing.assert_allclose(ours.numpy() @ maps.transpose(2, 0, 1).reshape(-1), keras)
    assert torch.equal(keras_weights.dense_kernel(torch.eye(3)[:2]), torch.eye(3)[:2].T)


def missing(layers):
    del layers["fire4/expand3x3"]


def misshapen(layers):
    layers["conv1"]["conv1_1/kernel:0"] = np.zeros((7, 7, 3, 96), np.float32)


def without_bias(layers):
    del layers["conv1"]["conv1_1/bias:0"]


def deeper(layers):
    layers["fire10/squeeze1x1"] = {"kernel:0": np.zeros((1, 1, 512, 64), np.float32)}


def of_texts(layers):
    layers["conv1"]["conv1_1/bias:0"] = np.array([b"a"] * 64)


def of_a_resnet(layers):
    layers.clear()
    layers["conv1/7x7_s2"] = {"kernel:0": np.zeros((7, 7, 3, 64), np.float32)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (missing, "lacks squeezenet1_1's layer fire4/expand3x3"),
        (misshapen, r"conv1 has an array of shape \(7, 7, 3, 96\), expected is \(3, 3, 3, 64\)"),
        (without_bias, "conv1 has 1 arrays"),
        (deeper, "a convolution fire10/squeeze1x1, which squeezenet1_1 does not have"),
        (of_texts, "conv1 is stored as .*, not as floating-point numbers"),
        (of_a_resnet, "none of squeezenet1_1's layers .* conv1/7x7_s2"),
    ],
)
def test_a_keras_file_that_does_not_fit_is_refused(tmp_path, layers, change, sentence):
    change(layers)
    path = write_keras(tmp_path / "weights.h5", layers)
    with pytest.raises(GraftError, match=rf"sources\.test: weights\.h5.*{sentence}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_vgg19_is_not_taken_for_vgg16(tmp_path):
    """It has all of VGG-16's layers, in the same shapes, and three more between them."""
    written = keras_layers(published("vgg16"), SPELLINGS["vgg16"])
    written["block3_conv4"] = written["block3_conv3"]
    with pytest.raises(GraftError, match="block3_conv4, which vgg16 does not have"):
        read(write_keras(tmp_path / "vgg19.h5", written), "vgg16")


def test_the_first_wide_layer_of_vgg16_is_expected_behind_7_by_7_maps(tmp_path):
    written = {"fc6": {"kernel:0": np.zeros((3, 4), np.float32), "bias:0": np.zeros(4)}}
    path = write_keras(tmp_path / "weights.h5", written)
    with pytest.raises(GraftError, match=r"fc6 .*\(3, 4\), expected is \(25088, 4096\)"):
        read(path, "vgg16_fc7", allow_new=[f"block{block}" for block in range(1, 6)])


@pytest.mark.parametrize("architecture", ["resnet50", "inception_v3", "efficientnet_b0", "alexnet"])
def test_an_architecture_that_keras_computes_otherwise_is_refused(tmp_path, layers, architecture):
    path = write_keras(tmp_path / "weights.h5", layers)
    with pytest.raises(GraftError, match=f"For {architecture} use torchvision's weights"):
        read(path, architecture)


def test_no_hdf5_and_no_layers_are_refused(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(GraftError, match=r"weights\.h5: the file is damaged or no HDF5 file"):
        read(path)
    h5py.File(path, "w").close()
    with pytest.raises(GraftError, match=r"lists no layer_names, .* and no names of layers"):
        read(path)


@pytest.mark.parametrize("scope", ["", "sequential/vgg16/"])
def test_a_network_within_a_keras_2_model_is_found(tmp_path, scope):
    tensors = published("vgg16")
    written = keras_layers(tensors, SPELLINGS["vgg16"])
    found = read(write_nested_keras(tmp_path / "model.h5", written, scope=scope), "vgg16")
    assert_equal(found, tensors)
    assert found.unwrapped == ("model_weights", "vgg16") and not found.notes
    out = {"model_weights/out/out/kernel:0", "model_weights/out/out/bias:0"}
    assert {name for name, tensor in found.tensors.items() if tensor.is_meta} == out


def test_of_a_network_with_slashes_in_its_names_too(tmp_path, layers):
    path = write_nested_keras(tmp_path / "model.h5", layers, name="base", scope="model/base/")
    assert_equal(read(path), published("squeezenet1_1"))


SQUEEZENET_3 = [name.replace("/", "_") for name in SPELLINGS["squeezenet1_1"]]


@pytest.mark.parametrize("texts", [str, np.bytes_])
@pytest.mark.parametrize("within", [None, "base"])
@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5", "model", "model.zip"])
def test_keras_3_files_come_back_under_torchvisions_names(tmp_path, name, within, texts):
    tensors = published("squeezenet1_1")
    written = keras_layers(tensors, SQUEEZENET_3)
    path = tmp_path / name.replace(".zip", ".keras")
    write_keras_3(path, written, within=within, texts=texts)
    found = read(path.rename(tmp_path / name))
    assert_equal(found, tensors)
    assert found.unwrapped == (("layers", "functional") if within else ()) and not found.notes
    beside = {name for name, tensor in found.tensors.items() if tensor.is_meta}
    assert beside == ({"layers/dense/vars/0", "layers/dense/vars/1"} if within else set())


@pytest.mark.parametrize("within", [None, "base"])
def test_older_keras_3_archives_are_read_by_the_names_in_their_description(tmp_path, within):
    written = keras_layers(published("squeezenet1_1"), SQUEEZENET_3)
    path = write_keras_3(tmp_path / "model.keras", written, within=within, named=False)
    assert_equal(read(path), published("squeezenet1_1"))
    path = write_keras_3(tmp_path / "model.weights.h5", written, within=within, named=False)
    with pytest.raises(GraftError, match=r"no names of layers, .* as \.keras, or the weights with"):
        read(path)


def test_float16_is_cast_with_a_note(tmp_path, layers):
    halves = {name: {k: v.astype("f2") for k, v in w.items()} for name, w in layers.items()}
    found = read(write_keras(tmp_path / "weights.h5", halves))
    assert_equal(found, {name: t.half().float() for name, t in published("squeezenet1_1").items()})
    assert found.notes == ("50 arrays are float16 in the file, and were cast to float32",)


def test_of_two_equal_networks_the_first_is_read_with_a_note(tmp_path, layers):
    path = write_nested_keras(tmp_path / "model.h5", layers, name="left")
    with h5py.File(path, "a") as file:
        root = file["model_weights"]
        root.copy("left", "right")
        root.attrs["layer_names"] = [b"left", b"right"]
        root["right/conv1/bias:0"][...] = 5
    found = read(path)
    assert_equal(found, published("squeezenet1_1"))
    assert found.notes == (
        "model_weights/left was read, the first of the networks with 25 layers of squeezenet1_1; "
        "the file also holds model_weights/right",
    )


def test_what_a_model_does_before_the_network_may_hold_integers(tmp_path, layers):
    path = write_keras_3(tmp_path / "model.weights.h5", keras_layers_3(layers), within="base")
    with h5py.File(path, "a") as file:
        seeds = file.create_group("layers/random_flip/seed_generator/vars")
        seeds.attrs["name"] = "seed_generator"
        seeds["0"] = np.zeros(2, np.uint32)
    assert_equal(read(path), published("squeezenet1_1"))


def keras_layers_3(layers):
    return {name.replace("/", "_"): weights for name, weights in layers.items()}


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ({"model.weights.h5": None}, "the archive has no model.weights.h5"),
        ({"config.json": None}, "the archive has no config.json"),
        ({"config.json": b"{"}, "is damaged"),
        ({"config.json": b'{"config": {"layers": [1]}}'}, "is damaged"),
        ({"model.weights.h5": b"<html>"}, "is damaged or no HDF5 file"),
    ],
)
def test_other_archives_are_refused(tmp_path, layers, damage, sentence):
    whole = write_keras_3(tmp_path / "whole.keras", keras_layers_3(layers))
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as archive:
        for name in source.namelist():
            if (held := damage.get(name, source.read(name))) is not None:
                archive.writestr(name, held)
    with pytest.raises(GraftError, match=rf"sources\.test: model\.keras: .*{sentence}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_member_that_unpacks_to_more_than_weights_can_be_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setitem(keras_files.LARGEST, "model.weights.h5", 10**6)
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(10**6 + 1))
        archive.writestr("config.json", "{}")
    with pytest.raises(GraftError, match="has 1000001 bytes unpacked, and at most 1000000 are"):
        read(path)


@pytest.mark.parametrize("where", ["file", "model_weights"])
def test_kernels_that_theano_flipped_are_refused(tmp_path, layers, where):
    root = None if where == "file" else where
    path = write_keras(tmp_path / "weights.h5", layers, root=root)
    with h5py.File(path, "a") as file:
        (file if root is None else file[root]).attrs["backend"] = np.bytes_("theano")
    with pytest.raises(GraftError, match="saved by Keras on Theano"):
        read(path)


def test_a_link_out_of_the_file_is_not_followed(tmp_path, layers):
    write_keras(tmp_path / "other.h5", layers)
    path = write_keras(tmp_path / "weights.h5", layers)
    with h5py.File(path, "r+") as file:
        del file["conv1"]["conv1_1/bias:0"]
        file["conv1"]["conv1_1/bias:0"] = h5py.ExternalLink("other.h5", "conv1/conv1_1/bias:0")
    with pytest.raises(GraftError, match="conv1 is not stored in the file itself"):
        read(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A whole file of few bytes, of which every beginning can be tried."""
    names = SPELLINGS["squeezenet1_1"][:1]
    kernel = {"k": np.ones((3, 3, 3, 64), np.float32), "b": np.ones(64, np.float32)}
    return write_keras(tmp_path_factory.mktemp("keras") / "small.h5", {names[0]: kernel})


@hypothesis_settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_damage_gets_past_as_anything_but_a_sentence(small, tmp_path_factory, data):
    whole = small.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    at = data.draw(st.integers(0, 2000))
    noise = data.draw(st.binary(min_size=1, max_size=8))
    path = tmp_path_factory.mktemp("damaged") / "small.h5"
    optional = [name for name in NAMES if not name.startswith("features.0.")]
    path.write_bytes(whole[:cut])
    with pytest.raises(GraftError):
        keras_weights.read(path, "squeezenet1_1", optional)
    path.write_bytes(whole[:at] + noise + whole[at + len(noise) :])
    try:
        found = keras_weights.read(path, "squeezenet1_1", optional)
    except GraftError as error:
        assert "\n" not in str(error)
    else:
        assert set(found.tensors) >= {"features.0.weight", "features.0.bias"}
