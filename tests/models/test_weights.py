"""Sources: weights of every kind, normalised; layers that do not fit are refused."""

import hashlib

import numpy as np
import pytest
import torch
from keras_files import SPELLINGS, keras_layers, published, write_keras
from networks import CAFFE, EXPERTS, PIXELS, described
from torchvision import models

from graft.config.sources import Transform, Weights
from graft.config.stages import BackboneSettings, WeightsSettings
from graft.core.errors import GraftError
from graft.models import model_file, weights
from graft.models.backbones import Backbone

SQUEEZENET = described("squeezenet1_1", Transform())


@pytest.fixture(scope="module")
def squeezenet():
    return published("squeezenet1_1")


def normalise(tensors, destination, backbone=SQUEEZENET, allow_new=()):
    return weights.normalise(
        tensors,
        destination,
        backbone,
        key="sources.test",
        origin={"file": "x"},
        allow_new=allow_new,
    )


def test_a_source_is_imported_by_name_and_the_rest_is_listed(tmp_path):
    theirs = models.squeezenet1_1().state_dict()
    report = normalise(theirs, tmp_path / "source.safetensors")
    assert report["skipped"] == ["classifier.1.bias", "classifier.1.weight"]
    tensors, description = model_file.load(tmp_path / "source.safetensors")
    assert sorted(report["imported"]) == sorted(tensors)
    assert all(torch.equal(tensors[name], theirs[name]) for name in tensors)
    assert description == {
        "architecture": "squeezenet1_1",
        "transform": Transform().model_dump(mode="json", exclude={"interpolation", "crop_pct"}),
        "origin": {"file": "x"},
    }
    assert model_file.load_source(tmp_path / "source.safetensors")[1] == SQUEEZENET


def renamed(tensors):
    return {f"trunk.{name}": tensor for name, tensor in tensors.items()}


def without_one(tensors):
    return {k: v for k, v in tensors.items() if k != "features.3.squeeze.weight"}


def reshaped(tensors):
    return {**tensors, "features.0.weight": torch.zeros(64, 3, 5, 5)}


def poisoned(tensors):
    return {**tensors, "features.0.bias": torch.full((64,), torch.nan)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (renamed, "none of the .* matches"),
        (without_one, "features.3.squeeze.weight is missing"),
        (reshaped, r"features.0.weight has shape"),
        (poisoned, "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, squeezenet, change, sentence):
    with pytest.raises(GraftError, match=sentence) as caught:
        normalise(change(squeezenet), tmp_path / "source.safetensors")
    assert "sources.test" in str(caught.value)
    assert not list(tmp_path.iterdir()), "nothing half-written may be left"


@pytest.mark.parametrize("wrap", [dict, lambda tensors: {"state_dict": tensors}])
def test_another_architecture_is_named_whatever_the_wrapping(tmp_path, wrap):
    tensors = {f"module.{k}": t for k, t in random_weights("resnet18").items()}
    torch.save(wrap(tensors), tmp_path / "weights.pth")
    sentence = (
        r"^sources\.test: weights\.pth: nothing in it .* They fit resnet18: set sources\.test\."
    )
    with pytest.raises(GraftError, match=sentence):
        weights.read(tmp_path / "weights.pth", "squeezenet1_1", key="sources.test")


def test_torchvisions_own_address_and_digest_are_used():
    url, prefix = weights.torchvision_weights("squeezenet1_1", "IMAGENET1K_V1")
    assert url.startswith("https://") and url.endswith(f"-{prefix}.pth") and len(prefix) == 8
    with pytest.raises(GraftError, match="IMAGENET1K_V1"):
        weights.torchvision_weights("squeezenet1_1", "IMAGENET9K")
    whole, _ = weights.torchvision_weights("vgg16", "IMAGENET1K_V1")
    assert weights.torchvision_weights("vgg16_fc7", "IMAGENET1K_V1")[0] == whole


def test_layers_outside_the_backbone_are_listed_and_not_loaded(tmp_path, squeezenet):
    layers = keras_layers(squeezenet, SPELLINGS["squeezenet1_1"])
    layers["conv10"] = {"conv10/kernel:0": np.zeros((1, 1, 512, 1000), np.float32)}
    layers["top"] = {"top/kernel:0": np.zeros((1000, 2), np.float32), "top/bias:0": np.zeros(2)}
    path = write_keras(tmp_path / "weights.h5", layers)
    tensors = weights.read(path, "squeezenet1_1").tensors
    skipped = ["conv10/conv10/kernel:0", "top/top/bias:0", "top/top/kernel:0"]
    assert all(tensors[name].is_meta for name in skipped)
    report = normalise(tensors, tmp_path / "source.safetensors")
    assert report["skipped"] == skipped and sorted(report["imported"]) == sorted(squeezenet)


def test_layers_that_can_be_new_start_at_random_and_equal_every_time(tmp_path, squeezenet):
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
def test_other_missing_layers_are_refused(tmp_path, squeezenet, lost, allow_new, sentence):
    tensors = {name: t for name, t in squeezenet.items() if not name.startswith(lost)}
    with pytest.raises(GraftError, match=rf"sources\.test: .*{sentence}"):
        normalise(tensors, tmp_path / "source.safetensors", allow_new=allow_new)
    assert not list(tmp_path.iterdir())


def test_nothing_but_new_layers_is_no_source(tmp_path, squeezenet):
    shapes = {name: torch.zeros(1) for name in squeezenet}
    with pytest.raises(GraftError, match="none of the 50 tensors"):
        normalise(shapes, tmp_path / "source.safetensors", allow_new=["features"])


def test_a_keras_file_can_lack_layers_that_can_be_new(tmp_path, squeezenet):
    layers = keras_layers(squeezenet, SPELLINGS["squeezenet1_1"])
    del layers["fire4/expand3x3"]
    layers["conv1"]["conv1_1/kernel:0"] = np.zeros((7, 7, 3, 96), np.float32)
    allowed = {"allow_new": ["stem", "fire4"]}
    path = write_keras(tmp_path / "weights.h5", layers)
    tensors = weights.read(path, "squeezenet1_1", **allowed).tensors
    report = normalise(tensors, tmp_path / "source.safetensors", **allowed)
    assert report["new"] == [
        "features.0.weight",
        "features.6.expand3x3.weight",
        "features.6.expand3x3.bias",
    ]
    assert len(report["imported"]) == 47


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make(destination, *, backbone=SQUEEZENET, urls=(), made=None, **options):
    """What the stage does for the source `sources.test`."""
    given = {"sha256": None, "size": None, "allow_new": ()} | options
    settings = WeightsSettings(key="sources.test", backbone=backbone, **given)
    return weights.make(settings, destination, urls=urls, made=made or {})


def test_every_kind_of_weights_becomes_a_source(tmp_path, squeezenet):
    """A Keras file, a state dict with a layer to start anew, both as a stack, and a model."""
    keras, partial = tmp_path / "keras.h5", tmp_path / "partial.pth"
    write_keras(keras, keras_layers(squeezenet, SPELLINGS["squeezenet1_1"]))
    halves = {f"backbone.{k}": t.half() for k, t in squeezenet.items() if ".12." not in k}
    torch.save({"teacher": {**halves, "projector.weight": torch.ones(2)}}, partial)
    caffe = BackboneSettings(architecture="squeezenet1_1", transform=CAFFE)
    members = {"a": tmp_path / "a.safetensors", "b": tmp_path / "b.safetensors"}
    url = {"weights": Weights(url=("",))}
    report = make(members["a"], backbone=caffe, urls=[str(keras)], sha256=sha256(keras), **url)
    assert report["origin"] == {"file": "keras.h5", "sha256": sha256(keras)}
    assert len(report["imported"]) == 50 and report["new"] == []
    assert (report["unwrapped"], report["stripped"], report["notes"]) == ([], "", [])
    report = make(
        members["b"], urls=[str(partial)], sha256=sha256(partial), allow_new=("fire9",), **url
    )
    assert {name.split(".")[1] for name in report["new"]} == {"12"}
    assert (report["unwrapped"], report["stripped"]) == (["teacher"], "backbone.")
    assert report["notes"] == ["44 tensors are float16 in the file, and were cast to float32"]
    assert report["skipped"] == ["projector.weight"]
    assert set(tmp_path.iterdir()) == {keras, partial, *members.values()}, "fetched files are gone"

    made = {path: sha256(path) for path in members.values()}
    pair = BackboneSettings(
        architecture="stack", transform=PIXELS, experts={"a": caffe, "b": SQUEEZENET}
    )
    destination = tmp_path / "pair.safetensors"
    report = make(destination, backbone=pair, made=made, weights=Weights(stack=("a", "b")))
    assert report["origin"] == {"stack": {"a": made[members["a"]], "b": made[members["b"]]}}
    assert len(report["imported"]) == 100 and report["skipped"] == report["new"] == []
    assert report["parameters"] == 2 * sum(t.numel() for t in squeezenet.values())
    tensors, written = model_file.load_source(destination)
    assert written == pair
    for name, path in members.items():
        own = model_file.load(path)[0]
        assert all(torch.equal(tensors[f"{name}.{key}"], tensor) for key, tensor in own.items())

    chosen = Weights(experiment="earlier", mode="from_scratch", seed=0)
    one = {members["a"]: made[members["a"]]}
    report = make(tmp_path / "taught.safetensors", made=one, weights=chosen)
    assert report["origin"] == {"experiment": "earlier", "sha256": made[members["a"]]}


def test_a_structure_without_weights_is_refused(tmp_path):
    with pytest.raises(GraftError, match=r"sources\.test: .* without weights"):
        make(tmp_path / "a.safetensors", weights=Weights(random=True))


def test_a_stack_has_the_parameters_of_its_members(tmp_path):
    mini, squeeze = published("vgg_mini"), published("squeezenet1_1")
    tensors = {f"small.{k}": t for k, t in mini.items()}
    tensors |= {f"caffes.{k}": t for k, t in squeeze.items()}
    report = normalise(tensors, tmp_path / "stack.safetensors", described("stack"))
    members = [Backbone(expert.architecture, skip_init=True) for expert in EXPERTS.values()]
    assert report["parameters"] == sum(p.numel() for m in members for p in m.parameters())


def random_weights(name, **options):
    """The shapes of a network of torchvision, under its names, with undefined values as zeros."""
    with torch.device("meta"):
        network = models.get_model(name, weights=None, **options)
    return {key: torch.zeros_like(t, device="cpu") for key, t in network.state_dict().items()}


@pytest.mark.parametrize(
    ("given", "architecture", "sentence"),
    [
        (
            "resnet34",
            "resnet18",
            r"96 tensors .* resnet18, such as layer1\.2\.conv1\.weight\. Check",
        ),
        ("resnet101", "resnet50", r"306 tensors .* resnet50, such as layer3\.6\.conv1\.weight"),
        ("efficientnet_b1", "efficientnet_b0", "148 tensors .*, or remove them from the file"),
        ("resnet50", "resnet18", "They fit resnet50: set sources.test.architecture"),
        ("resnet18", "resnet50", "They fit resnet18: set sources.test.architecture"),
        ("squeezenet1_0", "squeezenet1_1", "They fit squeezenet1_0: set"),
        ("squeezenet1_1", "squeezenet1_0", "They fit squeezenet1_1: set"),
        ("mobilenet_v3_large", "mobilenet_v3_small", "Check sources.test.architecture"),
        ("vgg11", "vgg16", "is missing from the weights|has shape"),
        ("alexnet", "vgg16", "They fit alexnet and alexnet_fc7: set sources.test.architecture"),
    ],
)
def test_another_network_of_the_family_is_refused(tmp_path, given, architecture, sentence):
    settings = described(architecture, Transform())
    with pytest.raises(GraftError, match=rf"^sources\.test: .*({sentence})"):
        normalise(random_weights(given), tmp_path / "source.safetensors", settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("auxiliary", [True, False])
def test_inceptions_auxiliary_classifier_is_skipped(tmp_path, auxiliary):
    theirs = random_weights("inception_v3", init_weights=False, aux_logits=auxiliary)
    settings = described("inception_v3", Transform())
    report = normalise(theirs, tmp_path / "source.safetensors", settings)
    assert {name.split(".")[0] for name in report["skipped"]} == (
        {"fc", "AuxLogits"} if auxiliary else {"fc"}
    )


def test_tensors_beside_layers_that_start_anew_are_skipped(tmp_path, squeezenet):
    """Another design of the last Fire module, which is not wanted."""
    other = {"features.12.norm.weight": torch.ones(64)}
    path = tmp_path / "source.safetensors"
    report = normalise({**squeezenet, **other}, path, allow_new=["fire9"])
    assert report["skipped"] == list(other)
    with pytest.raises(GraftError, match=r"1 tensors .* squeezenet1_1, such as features\.12\.norm"):
        normalise({**squeezenet, **other}, path, allow_new=["fire8"])
