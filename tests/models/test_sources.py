"""Sources: weights of any origin, with the input they expect; what fits is told, else refused."""

import copy
import json

import h5py
import numpy as np
import pytest
import torch
from conftest import SHIPPED
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from project import Project
from scipy.signal import correlate

from graft.config import models, plan, stages
from graft.config.read import read_config
from graft.core import seals
from graft.core.errors import GraftError
from graft.models import keras_weights, model_file, sources
from graft.models.backbones import Backbone
from graft.reporting import verify

IMAGENET = models.Transform().model_dump(mode="json")
CAFFE = {
    "size": None,
    "scale": 1.0,
    "mean": [103.939, 116.779, 123.68],
    "std": [1.0, 1.0, 1.0],
    "channels": "BGR",
}
FIRES = [
    f"fire{n}/{part}" for n in range(2, 10) for part in ("squeeze1x1", "expand1x1", "expand3x3")
]
VGG = [(block, layer) for block, n in enumerate((2, 2, 3, 3, 3), 1) for layer in range(1, n + 1)]
SPELLINGS = {
    "squeezenet1_1": ["conv1", *FIRES],
    "vgg16": [f"block{block}_conv{layer}" for block, layer in VGG],
    "vgg_face": [f"conv{block}_{layer}" for block, layer in VGG],
}


def published(architecture, seed=0):
    """Random weights under torchvision's names."""
    torch.manual_seed(seed)
    tensors = {name: t.clone() for name, t in Backbone(architecture).tensors().items()}
    for name, tensor in tensors.items():
        if name.endswith("bias"):
            tensor.uniform_(-0.1, 0.1)
    return tensors


def write_keras(path, layers, *, root=None, texts=np.bytes_):
    """A file as Keras 2 lays it out: {layer: {weight name: array}}, in this order."""
    with h5py.File(path, "w") as file:
        group = file.create_group(root) if root else file
        group.attrs["layer_names"] = [texts(name) for name in ("input_1", *layers)]
        group.create_group("input_1").attrs["weight_names"] = np.zeros(0, "S1")
        for name, weights in layers.items():
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [texts(weight) for weight in weights]
            for weight, values in weights.items():
                layer[weight] = values
    return path


def keras_layers(tensors, names):
    """The same weights as Keras has them: kernels (height, width, in, out)."""
    kernels = [name for name in tensors if name.endswith("weight")]
    return {
        layer: {
            f"{layer}_1/kernel:0": tensors[kernel].numpy().transpose(2, 3, 1, 0),
            f"{layer}_1/bias:0": tensors[kernel.replace("weight", "bias")].numpy(),
        }
        for layer, kernel in zip(names, kernels, strict=True)
    }


@pytest.fixture(scope="module")
def squeezenet():
    return published("squeezenet1_1")


@pytest.fixture
def layers(squeezenet):
    return keras_layers(squeezenet, SPELLINGS["squeezenet1_1"])


def read(path, architecture="squeezenet1_1", **options):
    return sources.read(path, architecture=architecture, key="sources.test", **options)


def normalise(tensors, destination, architecture="squeezenet1_1", **options):
    options = {"transform": IMAGENET, "key": "sources.test", "origin": {}, **options}
    return sources.normalise(tensors, destination, architecture=architecture, **options)


# Keras's files


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
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_a_kernel_computes_here_what_it_computes_on_height_width_channel(tmp_path, layers):
    path = write_keras(tmp_path / "weights.h5", layers)
    rng = np.random.default_rng(0)
    picture = rng.normal(size=(9, 8, 3))
    kernel, bias = layers["conv1"].values()
    maps = [correlate(picture, kernel[..., k], "valid")[::2, ::2, 0] + bias[k] for k in range(64)]
    backbone = Backbone("squeezenet1_1")
    backbone.load(read(path))
    first = backbone.stem[0]
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


def test_what_is_no_part_of_the_backbone_is_told_and_not_loaded(tmp_path, layers, squeezenet):
    layers["conv10"] = {"conv10/kernel:0": np.zeros((1, 1, 512, 1000), np.float32)}
    layers["top"] = {"top/kernel:0": np.zeros((1000, 2), np.float32), "top/bias:0": np.zeros(2)}
    tensors = read(write_keras(tmp_path / "weights.h5", layers))
    skipped = ["conv10/conv10/kernel:0", "top/top/bias:0", "top/top/kernel:0"]
    assert all(tensors[name].is_meta for name in skipped)
    report = normalise(tensors, tmp_path / "source.safetensors")
    assert report["skipped"] == skipped and sorted(report["imported"]) == sorted(squeezenet)


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
        (misshapen, r"conv1 has an array of shape \(7, 7, 3, 96\) where \(3, 3, 3, 64\)"),
        (without_bias, "conv1 has 1 arrays"),
        (deeper, "a convolution fire10/squeeze1x1, which squeezenet1_1 has not"),
        (of_texts, "conv1 is not stored in the file itself as numbers"),
        (of_a_resnet, "none of squeezenet1_1's layers .* conv1/7x7_s2"),
    ],
)
def test_a_keras_file_that_does_not_fit_is_refused(tmp_path, layers, change, sentence):
    change(layers)
    path = write_keras(tmp_path / "weights.h5", layers)
    with pytest.raises(GraftError, match=rf"sources\.test: weights\.h5.*{sentence}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_vgg19_does_not_pass_for_vgg16(tmp_path):
    """It has all of VGG-16's layers, in the same shapes, and three more between them."""
    written = keras_layers(published("vgg16"), SPELLINGS["vgg16"])
    written["block3_conv4"] = written["block3_conv3"]
    with pytest.raises(GraftError, match="block3_conv4, which vgg16 has not"):
        read(write_keras(tmp_path / "vgg19.h5", written), "vgg16")


def test_the_first_wide_layer_of_vgg16_is_expected_behind_7_by_7_maps(tmp_path):
    written = {"fc6": {"kernel:0": np.zeros((3, 4), np.float32), "bias:0": np.zeros(4)}}
    path = write_keras(tmp_path / "weights.h5", written)
    with pytest.raises(GraftError, match=r"fc6 .*\(3, 4\) where \(25088, 4096\)"):
        read(path, "vgg16_fc7", allow_new=[f"block{block}" for block in range(1, 6)])


@pytest.mark.parametrize("architecture", ["resnet50", "inception_v3", "efficientnet_b0", "alexnet"])
def test_an_architecture_that_keras_computes_otherwise_is_refused(tmp_path, layers, architecture):
    path = write_keras(tmp_path / "weights.h5", layers)
    with pytest.raises(GraftError, match=f"for {architecture} use torchvision's weights"):
        read(path, architecture)


def test_no_hdf5_no_layers_and_keras_3_are_told(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(GraftError, match=r"weights\.h5 is damaged or no HDF5 file"):
        read(path)
    h5py.File(path, "w").close()
    with pytest.raises(GraftError, match=r"lists no layer_names"):
        read(path)
    with pytest.raises(GraftError, match=r"weights\.keras: Keras 3 archives are not read"):
        read(tmp_path / "weights.keras")


@pytest.mark.parametrize("where", ["file", "model_weights"])
def test_kernels_that_theano_turned_round_are_refused(tmp_path, layers, where):
    root = None if where == "file" else where
    path = write_keras(tmp_path / "weights.h5", layers, root=root)
    with h5py.File(path, "a") as file:
        (file if root is None else file[root]).attrs["backend"] = np.bytes_("theano")
    with pytest.raises(GraftError, match="saved by Keras on Theano"):
        read(path)


@pytest.mark.parametrize(
    "state",
    [
        {0: torch.ones(1)},
        {"a": torch.ones(1).to_sparse()},
        {"a": torch.ones(1, dtype=torch.complex64)},
        {"a": torch.empty(1, device="meta")},
    ],
    ids=["number for a name", "sparse", "complex", "without values"],
)
def test_what_is_no_plain_tensor_is_no_state_dict(tmp_path, state):
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(GraftError, match="holds no state dict"):
        read(tmp_path / "weights.pth")


def test_an_empty_pth_is_told(tmp_path):
    (tmp_path / "weights.pth").touch()
    with pytest.raises(GraftError, match=r"weights\.pth: it is no PyTorch state dict"):
        read(tmp_path / "weights.pth")


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
    optional = [name for name in published_names() if not name.startswith("features.0.")]
    path.write_bytes(whole[:cut])
    with pytest.raises(GraftError):
        keras_weights.read(path, "squeezenet1_1", optional)
    path.write_bytes(whole[:at] + noise + whole[at + len(noise) :])
    try:
        found = keras_weights.read(path, "squeezenet1_1", optional)
    except GraftError as error:
        assert "\n" not in str(error)
    else:
        assert set(found) >= {"features.0.weight", "features.0.bias"}


def published_names():
    return list(Backbone("squeezenet1_1", skip_init=True).tensors())


# Folding the input transform into the first convolution


# Layers that may start anew


def test_layers_that_may_be_new_start_at_random_and_equal_every_time(tmp_path, squeezenet):
    tensors = {name: t for name, t in squeezenet.items() if not name.startswith("features.12.")}
    tensors["features.0.weight"] = torch.zeros(64, 1, 3, 3)
    options = {"allow_new": ["fire9", "features.0", "features.3"]}
    reports, written = [], []
    for seed in (1, 2):
        torch.manual_seed(seed)
        reports.append(normalise(tensors, tmp_path / "source.safetensors", **options))
        written.append((tmp_path / "source.safetensors").read_bytes())
    assert written[0] == written[1] and reports[0] == reports[1]
    new = {name for name in squeezenet if name.startswith("features.12.")}
    assert set(reports[0]["new"]) == new | {"features.0.weight"}
    assert set(reports[0]["imported"]) == set(squeezenet) - set(reports[0]["new"])
    found = model_file.load(tmp_path / "source.safetensors")[0]
    assert all(torch.equal(found[name], squeezenet[name]) for name in reports[0]["imported"])
    assert found["features.12.squeeze.weight"].std() > 0


def test_a_prefix_ends_at_a_dot(tmp_path, squeezenet):
    """`features.1` is not the beginning of `features.10.squeeze.weight`."""
    tensors = {name: t for name, t in squeezenet.items() if not name.startswith("features.10.")}
    with pytest.raises(GraftError, match="allow_new names 'features.1'"):
        normalise(tensors, tmp_path / "source.safetensors", allow_new=["features.1"])


@pytest.mark.parametrize(
    ("lost", "allow_new", "sentence"),
    [
        ("features.12.", ["fire8"], "features.12.squeeze.weight is missing"),
        ("features.12.", ["fire10"], "allow_new names 'fire10', which is neither a block"),
        ("features.", ["features"], "none of the 0 tensors"),
    ],
)
def test_what_else_is_missing_is_refused(tmp_path, squeezenet, lost, allow_new, sentence):
    tensors = {name: t for name, t in squeezenet.items() if not name.startswith(lost)}
    with pytest.raises(GraftError, match=rf"sources\.test: .*{sentence}"):
        normalise(tensors, tmp_path / "source.safetensors", allow_new=allow_new)
    assert not list(tmp_path.iterdir())


def test_nothing_but_new_layers_is_no_source(tmp_path, squeezenet):
    shapes = {name: torch.zeros(1) for name in squeezenet}
    with pytest.raises(GraftError, match="none of the 50 tensors"):
        normalise(shapes, tmp_path / "source.safetensors", allow_new=["features"])


def test_a_keras_file_may_lack_what_may_be_new(tmp_path, layers, squeezenet):
    missing(layers)
    misshapen(layers)
    allowed = {"allow_new": ["stem", "fire4"]}
    tensors = read(write_keras(tmp_path / "weights.h5", layers), **allowed)
    report = normalise(tensors, tmp_path / "source.safetensors", **allowed)
    assert report["new"] == [
        "features.0.weight",
        "features.6.expand3x3.weight",
        "features.6.expand3x3.bias",
    ]
    assert len(report["imported"]) == 47


# Stacks


PIXELS = stages.PIXELS.model_dump(mode="json")


def test_a_stack_holds_its_members_tensors_and_transforms(tmp_path, squeezenet):
    torch.manual_seed(0)
    mini = Backbone("vgg_mini").tensors()
    paths = {"b": tmp_path / "b.safetensors", "a": tmp_path / "a.safetensors"}
    normalise(squeezenet, paths["b"])
    normalise(mini, paths["a"], "vgg_mini", transform=CAFFE)
    tensors, experts = sources.stack(paths)
    assert experts == {
        "a": {"architecture": "vgg_mini", "transform": CAFFE},
        "b": {"architecture": "squeezenet1_1", "transform": IMAGENET},
    }
    destination = tmp_path / "stack.safetensors"
    report = normalise(tensors, destination, "stack", experts=experts, transform=PIXELS)
    written, description = model_file.load(destination)
    assert description["experts"] == experts and description["architecture"] == "stack"
    assert description["transform"] == PIXELS
    members = {"b": squeezenet, "a": mini}
    expected = {f"{m}.{name}": t for m, ts in members.items() for name, t in ts.items()}
    assert written.keys() == expected.keys() == set(report["imported"])
    assert all(torch.equal(written[name], tensor) for name, tensor in expected.items())
    count = sum(p.numel() for a in ("squeezenet1_1", "vgg_mini") for p in Backbone(a).parameters())
    assert report["parameters"] == count and report["skipped"] == report["new"] == []


# Config


@pytest.fixture
def shipped():
    return copy.deepcopy(SHIPPED)


def resolve(config):
    return read_config(config)


def chain(config, **more):
    """A source made of what portraits_sex learns, and an experiment that uses it."""
    config["sources"]["taught"] = {
        "architecture": "vgg_mini",
        "weights": {"experiment": "portraits_sex", "mode": "fine_tuning", "seed": 0},
        "transform": SHIPPED["sources"]["vgg_mini"]["transform"],
        **more,
    }


def stacked(config, *members, **more):
    config["sources"]["pair"] = {
        "architecture": "stack",
        "weights": {"stack": list(members)},
        **more,
    }
    config["experiments"]["paired"] = {
        "dataset": "portraits",
        "source": "pair",
        "modes": ["feature_extraction"],
    }
    config["run"] = ["paired"]


def test_a_stacks_members_and_their_teachers_are_made_as_well(shipped):
    chain(shipped)
    stacked(shipped, "taught", "imagenet_squeezenet1_1")
    config = resolve(shipped)
    assert plan.experiments(config) == ["paired", "portraits_sex", "portraits_identity"]
    assert plan.sources(config) == [
        "pair",
        "taught",
        "imagenet_squeezenet1_1",
        "portraits_identity",
    ]
    told = stages.weights(config, "pair")
    assert told.weights.kind == "stack" and told.backbone.transform == stages.PIXELS
    experts = stages.train(config, "paired", "feature_extraction").backbone.experts
    assert experts["taught"].transform.mean == (0.5, 0.5, 0.5)
    assert experts["imagenet_squeezenet1_1"].architecture == "squeezenet1_1"
    assert stages.backbone(config, "taught").experts is None


def test_two_members_may_come_from_one_experiment(shipped):
    chain(shipped)
    stacked(shipped, "taught", "portraits_identity")
    assert plan.source_experiments(resolve(shipped), "pair") == [
        "portraits_sex",
        "portraits_identity",
    ]


def test_a_stack_must_not_be_taught_by_what_it_teaches(shipped):
    chain(shipped)
    stacked(shipped, "taught", "imagenet_squeezenet1_1")
    stem = shipped["experiments"]["portraits_identity"]
    shipped["sources"]["late"] = {
        **shipped["sources"]["taught"],
        "weights": {"experiment": "portraits_identity", "mode": "from_scratch", "seed": 0},
    }
    stem["source"] = "taught"
    with pytest.raises(GraftError, match="circle .*portraits_sex.*portraits_identity"):
        resolve(shipped)


def one_member(config):
    config["sources"]["pair"]["weights"]["stack"] = ["imagenet_vgg16"]


def unknown_member(config):
    config["sources"]["pair"]["weights"]["stack"] = ["imagenet_vgg16", "imagenet_vgg61"]


def random_member(config):
    config["sources"]["pair"]["weights"]["stack"] = ["imagenet_vgg16", "vgg_mini"]


def stack_of_stacks(config):
    config["sources"]["pairs"] = copy.deepcopy(config["sources"]["pair"])
    config["sources"]["pairs"]["weights"]["stack"] = ["pair", "imagenet_vgg16"]


def own_transform(config):
    config["sources"]["pair"]["transform"] = {"size": 64}


def no_stack(config):
    config["sources"]["pair"]["architecture"] = "vgg16"


def stack_without_members(config):
    config["sources"]["pair"]["weights"] = {"random": True}


def random_with_new_layers(config):
    config["sources"]["vgg_mini"]["allow_new"] = ["block1"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (one_member, r"sources\.pair\.weights\.stack is .*Give a list of at least 2"),
        (unknown_member, "Did you mean imagenet_vgg16"),
        (random_member, "names vgg_mini, which has no weights or is a stack"),
        (stack_of_stacks, "names pair, which has no weights or is a stack"),
        (own_transform, r"sources\.pair\.transform is set for a stack"),
        (no_stack, r"sources\.pair\.architecture is vgg16, but weights\.stack"),
        (stack_without_members, r"sources\.pair\.architecture is stack"),
        (random_with_new_layers, r"sources\.vgg_mini\.weights is random"),
    ],
)
def test_each_mistake_in_a_source_gets_one_sentence(shipped, change, sentence):
    stacked(shipped, "imagenet_vgg16", "imagenet_alexnet")
    resolve(shipped)
    change(shipped)
    with pytest.raises(GraftError, match=sentence) as caught:
        resolve(shipped)
    assert "\n" not in str(caught.value)


# The stage


def test_the_stage_makes_sources_and_their_reports(tmp_path, layers, squeezenet):
    """A Keras file, a state dict with a layer to start anew, and both as a stack."""
    files = {"keras.h5": tmp_path / "keras.h5", "partial.pth": tmp_path / "partial.pth"}
    write_keras(files["keras.h5"], layers)
    torch.save(
        {k: t for k, t in squeezenet.items() if not k.startswith("features.12.")},
        files["partial.pth"],
    )
    spec = {
        name: {
            "architecture": "squeezenet1_1",
            "weights": {"url": [str(path)]},
            "sha256": seals.sha256(path),
        }
        for name, path in files.items()
    }
    overlay = {
        "sources": {
            "keras": {**spec["keras.h5"], "transform": CAFFE},
            "partly_new": {**spec["partial.pth"], "allow_new": ["fire9"]},
            "pair": {"architecture": "stack", "weights": {"stack": ["keras", "partly_new"]}},
        }
    }
    path = tmp_path / "overlay.yaml"
    path.write_text(json.dumps(overlay))
    project = Project(tmp_path / "project", overlays=[path])
    project.snakemake("results/sources/pair.import_report.json")
    reports = {
        name: json.loads((project.results / f"sources/{name}.import_report.json").read_text())
        for name in overlay["sources"]
    }
    assert reports["keras"]["source"] == "keras"
    assert reports["keras"]["origin"] == {
        "file": "keras.h5",
        "sha256": seals.sha256(files["keras.h5"]),
    }
    assert len(reports["keras"]["imported"]) == 50 and reports["keras"]["new"] == []
    assert {name.split(".")[1] for name in reports["partly_new"]["new"]} == {"12"}
    assert len(reports["pair"]["imported"]) == 100
    assert reports["pair"]["parameters"] == 2 * reports["keras"]["parameters"]
    assert list(reports["pair"]["origin"]["stack"]) == ["keras", "partly_new"]
    assert list(verify.verify_results(project.results)) == []
    seal = seals.read(project.results / "sources/pair.seal.json")
    assert set(seal["seal"]["outputs"]) == {"weights", "import_report"}
    tensors = model_file.load(project.results / "sources/pair.safetensors")[0]
    keras = model_file.load(project.results / "sources/keras.safetensors")
    assert torch.equal(tensors["keras.features.0.bias"], keras[0]["features.0.bias"])
    assert keras[1]["transform"] == CAFFE
