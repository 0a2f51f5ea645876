"""Networks: the same function however they are cut, with torchvision's names throughout."""

import copy
import re

import numpy as np
import pytest
import torch
from builders import train_settings
from conftest import ROOT, SHIPPED
from torchvision import models as torchvision_models

from graft.config import architectures
from graft.config.models import Head
from graft.config.read import read_config
from graft.core import hdf5
from graft.core.errors import GraftError
from graft.images import packs
from graft.models import model_file, sources
from graft.models import network as networks
from graft.models.backbones import Backbone, initialise
from graft.models.network import Network
from graft.models.transforms import Transform
from graft.training import features, loop, train

HEAD = Head(hidden=(8,))
TRANSFORM = {
    "size": None,
    "scale": 1 / 255,
    "mean": [0.5] * 3,
    "std": [0.25] * 3,
    "channels": "RGB",
}


PUBLISHED = [
    "vgg16",
    "vgg16_fc7",
    "alexnet",
    "squeezenet1_0",
    "squeezenet1_1",
    "inception_v3",
    "resnet18",
    "resnet50",
    "mobilenet_v3_small",
    "efficientnet_b0",
]
EXPERTS = {
    "small": {"architecture": "vgg_mini", "transform": {**TRANSFORM, "size": 32}},
    "caffes": {
        "architecture": "squeezenet1_1",
        "transform": {**TRANSFORM, "scale": 1, "mean": [104, 117, 124], "channels": "BGR"},
    },
}


def published(name):
    """torchvision's own network, with random weights."""
    torch.manual_seed(0)
    if name == "vgg16":
        # Its classifier alone has 120 million weights, which nothing here looks at.
        network = torchvision_models.VGG(
            torchvision_models.vgg.make_layers(torchvision_models.vgg.cfgs["D"]),
            num_classes=2,
            init_weights=False,
        )
        del network.classifier
        return network.eval()
    options = {"inception_v3": {"init_weights": True}, "vgg16_fc7": {"init_weights": False}}
    build = getattr(torchvision_models, name.removesuffix("_fc7"))
    return build(weights=None, **options.get(name, {})).eval()


def trunk(name, network, images):
    """What torchvision's network computes before its pooling, or before its last layer."""
    if name == "vgg16_fc7":
        return network.classifier[:6](network.avgpool(network.features(images)).flatten(1))
    if hasattr(network, "features"):
        return network.features(images)
    seen = []
    network.avgpool.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(images)
    return seen[0]


def backbone_of(name):
    return Backbone(name, EXPERTS if name == "stack" else None)


def settle(backbone):
    """Random statistics for the batch norms, so that leaving one out would show."""
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return backbone.eval()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_backbone_is_torchvisions_own_network_in_blocks(name):
    theirs = settle(published(name))
    ours = Backbone(name, skip_init=True).eval()
    imported = ours.load(theirs.state_dict())
    top = ("classifier.6",) if name == "vgg16_fc7" else ("classifier", "fc.", "AuxLogits.")
    assert set(imported) == {k for k in theirs.state_dict() if not k.startswith(top)}
    assert [block for block, _ in ours.named_children()] == list(architectures.BLOCKS[name])
    side = 80 if name == "inception_v3" else 64
    images = torch.rand(2, 3, side, side)
    with torch.inference_mode():
        assert torch.equal(ours(images), trunk(name, theirs, images))
    for one, other in ours.names.items():  # momentum, eps, dropout
        if other != "flatten.":  # torch.flatten there
            assert repr(ours.get_submodule(one[:-1])) == repr(theirs.get_submodule(other[:-1]))


@pytest.mark.parametrize("name", architectures.BLOCKS)
def test_every_cut_gives_the_same_maps_as_the_whole_backbone(name):
    torch.manual_seed(1)
    side = {"inception_v3": 75, "cnn3": 148, "alexnet": 63}.get(name, 32)
    images = torch.rand(2, 3, side, side)
    backbone = settle(backbone_of(name))
    with torch.inference_mode():
        expected = backbone(images)
        blocks, layers = architectures.BLOCKS[name], architectures.LAYERS.get(name, {})
        for cut in (architectures.IMAGE, *blocks, *layers):
            before, after = networks.split(backbone, cut)
            names = backbone.tensors(networks.frozen_blocks(backbone, cut))
            assert len(names) == len(before.state_dict())
            assert len(backbone.tensors()) == len(names) + len(after.state_dict())
            torch.testing.assert_close(after(before(images)), expected, rtol=1e-4, atol=1e-5)
        for pool in architectures.POOLS:
            pooled = networks.prefix(backbone, pool)(images)
            whole = expected.mean((2, 3)) if expected.ndim == 4 else expected
            assert torch.equal(pooled, whole if pool == "avgpool" else expected.flatten(1))


@pytest.mark.parametrize("name", ["vgg_mini", "squeezenet1_0"])
def test_every_cut_gives_the_same_logits_as_the_whole_network(name):
    torch.manual_seed(1)
    images = torch.rand(2, 3, 64, 64)
    tensors, expected = None, None
    for cut in (
        architectures.IMAGE,
        *architectures.BLOCKS[name],
        *architectures.LAYERS.get(name, {}),
        "avgpool",
    ):
        network = Network(name, cut, HEAD, 3, 64).eval()
        if tensors is None:
            tensors = {k: v.clone() for k, v in network.tensors().items()}
        network.backbone.load(tensors)
        network.load_head(tensors, "test")
        with torch.inference_mode():
            found = network.whole(images)
        expected = found if expected is None else expected
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "cut", "frozen"),
    [
        ("freeze_conv1_1", "conv1_1", ["conv1_1"]),
        ("freeze_conv3_1", "conv3_1", ["block1", "block2", "conv3_1"]),
        ("freeze_conv3_2", "conv3_2", ["block1", "block2", "conv3_1", "conv3_2"]),
        ("freeze_conv3_3", "block3", ["block1", "block2", "block3"]),
        ("freeze_conv2_2", "block2", ["block1", "block2"]),
        ("freeze_block3", "block3", ["block1", "block2", "block3"]),
        ("feature_extraction", "avgpool", ["block1", "block2", "block3", "block4", "block5"]),
        ("fine_tuning", "image", []),
    ],
)
def test_a_mode_freezes_up_to_and_with_its_layer(mode, cut, frozen):
    assert architectures.is_mode(mode, "vgg16")
    assert architectures.cut(mode, "vgg16", "avgpool") == cut
    assert architectures.frozen("vgg16", cut) == frozen


@pytest.mark.parametrize(
    ("mode", "architecture"),
    [
        ("freeze_conv3_4", "vgg16"),
        ("freeze_conv3_1", "resnet18"),
        ("freeze_fc6", "vgg16"),
        ("feature_extraction", "mlp"),
        ("freeze_small", "stack"),
        ("freeze_image", "vgg16"),
    ],
)
def test_a_mode_that_names_nothing_to_freeze_is_none(mode, architecture):
    assert not architectures.is_mode(mode, architecture)


def test_what_an_architecture_knows_is_told_with_its_layers():
    assert architectures.modes("mlp") == "from_scratch"
    told = architectures.modes("vgg16")
    assert told.endswith("freeze_block5, and freeze_<layer> for conv1_1 to conv5_3")


@pytest.mark.parametrize(
    ("cut", "layers"), [("conv1_1", 1), ("conv2_1", 3), ("conv3_1", 5), ("conv4_2", 9)]
)
def test_a_cut_within_a_block_takes_the_activation_along(cut, layers):
    """The convolutions of the prefix, counted by hand, and the activation behind the last."""
    before, after = networks.split(Backbone("vgg16", skip_init=True), cut)
    flat = [m for m in before.modules() if not isinstance(m, torch.nn.Sequential)]
    assert sum(isinstance(m, torch.nn.Conv2d) for m in flat) == layers
    assert isinstance(flat[-1], torch.nn.ReLU)
    assert isinstance(next(m for m in after.modules() if not list(m.children())), torch.nn.Conv2d)


def test_a_layer_frozen_within_a_block_is_looked_at_and_the_rest_of_it_trains():
    network = Network("vgg_mini", "conv3_2", HEAD, 2, 64)
    source = {k: v.clone() for k, v in network.backbone.tensors().items()}
    network.train()
    network.whole(torch.rand(4, 3, 64, 64)).sum().backward()
    torch.optim.SGD(network.parameters(), lr=1.0).step()
    train.check_frozen(network, source)
    own = network.backbone.tensors()
    # In torchvision's numbering conv3_2 and its batch norm are 17 and 18, conv3_3 is 20.
    assert not torch.equal(own["features.20.weight"], source["features.20.weight"])
    assert set(loop._trainable_state(network)) & {"suffix.block3.features_20.weight"}
    assert not any("features_17" in name for name in loop._trainable_state(network))
    own["features.18.running_var"].add_(1e-6)
    with pytest.raises(GraftError, match=r"features\.18\.running_var"):
        train.check_frozen(network, source)


@pytest.mark.parametrize("name", [name for name in architectures.BLOCKS if name != "vgg16_fc7"])
def test_random_weights_are_all_drawn_and_follow_from_the_seed(name):
    torch.use_deterministic_algorithms(True)  # what is left unset is then not a number
    try:
        torch.manual_seed(3)
        one = backbone_of(name).tensors()
        torch.manual_seed(3)
        two = backbone_of(name).tensors()
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.isfinite(one[key]).all() and torch.equal(one[key], two[key]) for key in two)


def test_random_weights_are_spread_as_said():
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Conv2d(64, 64, 3), torch.nn.Linear(400, 300))
    initialise(layers)
    # He: the square root of 2 / (64 channels out * 3 * 3).
    assert layers[0].weight.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.02)
    assert layers[1].weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not layers[0].bias.any() and not layers[1].bias.any()


def test_a_head_is_drawn_alike_whether_the_backbone_is_drawn_or_loaded():
    heads = []
    for skip_init in (False, True):
        torch.manual_seed(4)
        network = Network("vgg_mini", architectures.IMAGE, HEAD, 2, 64, skip_init=skip_init)
        heads.append(network.head.state_dict())
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_the_baselines_have_the_parameters_counted_by_hand():
    head = Head(pool="flatten", hidden=(500, 500, 500))
    mlp = Network("mlp", architectures.IMAGE, head, 10, 28)
    assert parameters(mlp.backbone) == 0
    assert parameters(mlp) == (3 * 28 * 28 + 1) * 500 + 2 * 501 * 500 + 501 * 10
    network = Network("cnn3", architectures.IMAGE, Head(pool="flatten"), 10, 224)
    assert parameters(network.backbone) == (3 * 25 + 1) * 32 + 2 * (32 * 25 + 1) * 32
    assert parameters(network.head) == (2 * 2 * 32 + 1) * 10


def test_an_mlp_sees_the_pixels():
    head = Head(pool="flatten")
    network = Network("mlp", architectures.IMAGE, head, 2, 4).eval()
    images = torch.rand(3, 3, 4, 4)
    with torch.inference_mode():
        expected = images.flatten(1) @ network.head[0].weight.T + network.head[0].bias
        torch.testing.assert_close(network.whole(images), expected)


def test_a_stack_is_its_members_side_by_side():
    torch.manual_seed(2)
    pictures = torch.randint(0, 256, (3, 48, 48, 3), dtype=torch.uint8)
    pixels = Transform(None, 1, (0, 0, 0), (1, 1, 1), "RGB")(pictures)
    members = {name: settle(Backbone(spec["architecture"])) for name, spec in EXPERTS.items()}
    own = {
        f"{name}.{k}": v for name, member in members.items() for k, v in member.tensors().items()
    }
    for experts in (EXPERTS, dict(reversed(EXPERTS.items()))):
        stack = Backbone("stack", experts, skip_init=True).eval()
        assert set(stack.load(own)) == set(own)
        with torch.inference_mode():
            found = stack(pixels)
            expected = torch.cat(
                [
                    members[name](Transform.from_dict(EXPERTS[name]["transform"])(pictures)).mean(
                        (2, 3)
                    )
                    for name in ("caffes", "small")  # by name, whatever the mapping's order
                ],
                1,
            )
        assert found.shape == (3, 512 + 128, 1, 1)
        torch.testing.assert_close(found[:, :, 0, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("experts", [None, {"head": EXPERTS["small"]}])
def test_a_stack_that_cannot_be_is_refused(experts):
    with pytest.raises(GraftError, match=r"weights\.stack"):
        Backbone("stack", experts)


def test_a_stacks_member_may_not_be_called_as_the_classifier_is():
    config = copy.deepcopy(SHIPPED)
    member = {"architecture": "resnet18", "weights": {"torchvision": "IMAGENET1K_V1"}}
    stack = {"architecture": "stack", "weights": {"stack": ["one", "head"]}}
    config["sources"] |= {"one": member, "head": member, "both": stack}
    with pytest.raises(GraftError, match=r"sources\.both\.weights\.stack .* called head"):
        read_config(config)


def test_a_stack_is_cached_trained_and_predicts(tmp_path):
    """Features at the cut, a head trained on them, and the model as read again: one function."""
    rng = np.random.default_rng(0)
    pack = tmp_path / "pack.h5"
    with hdf5.create(pack, {}) as file:
        hdf5.write(file, "images", rng.integers(0, 256, (8, 40, 40, 3)).astype(np.uint8))
        packs.write_labels(file, [0, 1] * 4, list("abcdefgh"), list("abcdefgh"), ["no", "yes"])
    torch.manual_seed(0)
    pixels = {**TRANSFORM, "scale": 1, "mean": [0] * 3, "std": [1] * 3}
    description = {"architecture": "stack", "transform": pixels, "experts": EXPERTS}
    source, stored = tmp_path / "source.safetensors", tmp_path / "features.h5"
    model_file.save(source, settle(Backbone("stack", EXPERTS)).tensors(), description)
    features.extract(
        pack,
        source,
        stored,
        cut="avgpool",
        flip=False,
        device="cpu",
        precision="fp32",
        batch_size=4,
        recipe={},
    )
    model = tmp_path / "model.safetensors"
    train.train(
        [stored],
        [stored],
        model,
        tmp_path / "history.csv",
        source=source,
        warm_up=None,
        settings=train_settings(
            "feature_extraction",
            "avgpool",
            architecture="stack",
            transform=pixels,
            experts=EXPERTS,
            packed_size=40,
            epochs=1,
            augment={"flip": False},
        ),
        seed=0,
        name="experiments.test",
        identity="x",
    )
    network, described = model_file.load_network(model)
    assert described["experts"] == EXPERTS
    read = packs.Pack(stored).read(np.arange(8))[:, 0]
    pictures = torch.from_numpy(packs.Pack(pack).read(np.arange(8)))
    with torch.inference_mode():
        cached = network(torch.from_numpy(read).float())
        whole = network.whole(Transform.from_dict(described["transform"])(pictures))
    torch.testing.assert_close(cached, whole, rtol=5e-3, atol=5e-3)  # float16 has 11 bits


def test_the_prefix_stays_frozen_while_the_suffix_trains():
    network = Network("vgg_mini", "block2", HEAD, 2, 64)
    before = {k: v.clone() for k, v in network.backbone.tensors(["block1", "block2"]).items()}
    network.train()
    assert not network.prefix.training and network.suffix.training
    assert not any(p.requires_grad for p in network.prefix.parameters())
    network.whole(torch.rand(4, 3, 64, 64)).sum().backward()
    torch.optim.SGD(network.parameters(), lr=1.0).step()
    after = network.backbone.tensors(["block1", "block2"])
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any("running_mean" in name for name in before)


def test_a_head_has_the_layers_asked_for():
    head = networks.Head(5, 2, hidden=[4, 3], activation="tanh", dropout=0.5)
    kinds = [type(layer).__name__ for layer in head]
    assert kinds == ["Linear", "Tanh", "Dropout", "Linear", "Tanh", "Dropout", "Linear"]
    assert [layer.out_features for layer in head if hasattr(layer, "out_features")] == [4, 3, 2]


def test_each_hidden_layer_may_have_its_own_activation_and_dropout():
    head = networks.Head(5, 2, hidden=[4, 3], activation=["relu", "sigmoid"], dropout=[0.0, 0.5])
    kinds = [type(layer).__name__ for layer in head]
    assert kinds == ["Linear", "ReLU", "Linear", "Sigmoid", "Dropout", "Linear"]


def least_pictures():
    """What config/README.md tells of each architecture, in pixels."""
    text = (ROOT / "config/README.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(\w+)` \| [`\w, ]+ \| (\d+) \|$", text, re.MULTILINE)


@pytest.mark.parametrize(("name", "least"), least_pictures())
def test_a_picture_too_small_for_the_architecture_is_told(name, least):
    least = int(least)
    Network(name, architectures.IMAGE, HEAD, 2, least, skip_init=True)
    if least > 8:
        with pytest.raises(GraftError, match=f"{least - 1} pixels are too small for {name}"):
            Network(name, architectures.IMAGE, HEAD, 2, least - 1, skip_init=True)


def test_every_architecture_tells_its_least_picture():
    assert [name for name, _ in least_pictures()] == [
        n for n in architectures.BLOCKS if n != "stack"
    ]


def test_saved_tensors_and_their_description_come_back(tmp_path):
    path = tmp_path / "model.safetensors"
    model_file.save(path, {"a": torch.arange(3)}, {"classes": ["ä", "b"]})
    tensors, description = model_file.load(path)
    assert torch.equal(tensors["a"], torch.arange(3)) and description == {"classes": ["ä", "b"]}
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(GraftError, match=r"model\.safetensors"):
        model_file.load(path)


def normalise(tensors, tmp_path, architecture="squeezenet1_1"):
    return sources.normalise(
        tensors,
        tmp_path / "source.safetensors",
        architecture=architecture,
        transform=TRANSFORM,
        key="sources.test",
        origin={},
    )


def test_a_source_is_imported_by_name_and_what_was_left_is_told(tmp_path):
    theirs = published("squeezenet1_1").state_dict()
    report = normalise(theirs, tmp_path)
    assert report["skipped"] == ["classifier.1.bias", "classifier.1.weight"]
    tensors, description = model_file.load(tmp_path / "source.safetensors")
    assert sorted(report["imported"]) == sorted(tensors)
    assert all(torch.equal(tensors[name], theirs[name]) for name in tensors)
    assert description["architecture"] == "squeezenet1_1"
    assert description["transform"] == TRANSFORM


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
def test_weights_that_do_not_fit_are_refused(tmp_path, change, sentence):
    with pytest.raises(GraftError, match=sentence) as caught:
        normalise(change(published("squeezenet1_1").state_dict()), tmp_path)
    assert "sources.test" in str(caught.value)
    assert not list(tmp_path.iterdir()), "nothing half-written may be left"


class Unsafe:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_a_pickle_that_would_run_code_is_refused(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"a": Unsafe()}, path)
    with pytest.raises(GraftError, match=r"evil\.pth"):
        sources.read(path)
    assert "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s}])
def test_state_dicts_are_found_in_their_usual_wrappings(tmp_path, wrap):
    path = tmp_path / "weights.pth"
    torch.save(wrap({"module.a": torch.ones(1)}), path)
    assert list(sources.read(path)) == ["a"]


def test_torchvisions_own_address_and_digest_are_used():
    url, prefix = sources.torchvision_weights("squeezenet1_1", "IMAGENET1K_V1")
    assert url.startswith("https://") and url.endswith(f"-{prefix}.pth") and len(prefix) == 8
    with pytest.raises(GraftError, match="IMAGENET1K_V1"):
        sources.torchvision_weights("squeezenet1_1", "IMAGENET9K")
    whole, _ = sources.torchvision_weights("vgg16", "IMAGENET1K_V1")
    assert sources.torchvision_weights("vgg16_fc7", "IMAGENET1K_V1")[0] == whole
