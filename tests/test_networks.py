"""Networks: the same function however they are cut, with torchvision's names throughout."""

import pytest
import torch
from torchvision import models as torchvision_models

from graft import architectures, networks, sources
from graft.backbones import Backbone
from graft.errors import GraftError
from graft.networks import Network

HEAD = {"pool": "avgpool", "hidden": [8], "activation": "relu", "dropout": 0.0}
TRANSFORM = {
    "size": None,
    "scale": 1 / 255,
    "mean": [0.5] * 3,
    "std": [0.25] * 3,
    "channels": "RGB",
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
    return getattr(torchvision_models, name)(weights=None).eval()


def trunk(network, images):
    """What torchvision's network computes before its pooling and classifier."""
    if hasattr(network, "features"):
        return network.features(images)
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        images = getattr(network, name)(images)
    return images


@pytest.mark.parametrize("name", ["vgg16", "alexnet", "squeezenet1_1", "resnet18", "resnet50"])
def test_a_backbone_is_torchvisions_own_network_in_blocks(name):
    theirs = published(name)
    ours = Backbone(name).eval()
    imported = ours.load(theirs.state_dict())
    assert set(imported) == {
        k for k in theirs.state_dict() if not k.startswith(("classifier", "fc."))
    }
    assert [block for block, _ in ours.named_children()] == list(architectures.BLOCKS[name])
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(ours(images), trunk(theirs, images))


@pytest.mark.parametrize("name", ["vgg_mini", "alexnet", "squeezenet1_1", "resnet18"])
def test_every_cut_gives_the_same_logits_as_the_whole_network(name):
    torch.manual_seed(1)
    images = torch.rand(2, 3, 64, 64)
    tensors, expected = None, None
    for cut in (architectures.IMAGE, *architectures.BLOCKS[name], "avgpool"):
        network = Network(name, cut, HEAD, 3, 64).eval()
        if tensors is None:
            tensors = {k: v.clone() for k, v in network.tensors().items()}
        network.backbone.load(tensors)
        network.load_head(tensors, "test")
        with torch.inference_mode():
            found = network.whole(images)
        expected = found if expected is None else expected
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


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


def test_a_picture_too_small_for_the_architecture_is_told():
    with pytest.raises(GraftError, match="16 pixels are too small for vgg_mini"):
        Network("vgg_mini", architectures.IMAGE, HEAD, 2, 16)


def test_saved_tensors_and_their_description_come_back(tmp_path):
    path = tmp_path / "model.safetensors"
    networks.save(path, {"a": torch.arange(3)}, {"classes": ["ä", "b"]})
    tensors, description = networks.load(path)
    assert torch.equal(tensors["a"], torch.arange(3)) and description == {"classes": ["ä", "b"]}
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(GraftError, match=r"model\.safetensors"):
        networks.load(path)


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
    tensors, description = networks.load(tmp_path / "source.safetensors")
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
