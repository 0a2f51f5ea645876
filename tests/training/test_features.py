"""Features: what is stored at the cut is what the network computes there."""

import numpy as np
import pytest
import torch
from networks import CPU, SIZE, TRANSFORM, backbone_of, described, run, settle, write_pack

from graft.core.errors import GraftError
from graft.images import packs
from graft.models import model_file
from graft.models.backbones import Backbone
from graft.models.network import split
from graft.models.transforms import to_input
from graft.training.features import extract

OPTIONS = {**CPU, "flip": False, "batch_size": 8, "recipe": {}}


def compare_with_pictures(model, stored, pack):
    """The logits from stored features are those of the whole network from the pictures."""
    network, description = model_file.load_network(model)
    rows = np.arange(8)
    features = torch.from_numpy(packs.Pack(stored).read(rows)[:, 0]).float()
    pictures = to_input(
        torch.from_numpy(packs.Pack(pack).read(rows)), description.backbone.transform
    )
    with torch.inference_mode():
        cached, whole = network(features), network.whole(pictures)
    torch.testing.assert_close(cached, whole, rtol=5e-3, atol=5e-3)  # float16 has 11 bits
    assert cached.std() > 0.01
    return description


@pytest.mark.parametrize("cut", ["avgpool", "block3"])
def test_logits_from_stored_features_equal_those_of_the_whole_network(data, tmp_path, cut):
    mode = "feature_extraction" if cut == "avgpool" else f"freeze_{cut}"
    model, _ = run(data, tmp_path, mode, cut, epochs=1)
    compare_with_pictures(model, data / f"{cut}-test.h5", data / "test.h5")


def test_a_part_is_read_batch_by_batch(data, tmp_path, monkeypatch):
    """Memory does not grow with the pictures of a part, however many there are."""
    read, asked = packs.Pack.read, []

    def counted(pack, indices):
        asked.append(indices.tolist())
        return read(pack, indices)

    monkeypatch.setattr(packs.Pack, "read", counted)
    stored = tmp_path / "stored.h5"
    extract(data / "train.h5", data / "source.safetensors", stored, cut="avgpool", **OPTIONS)
    assert [row for rows in asked for row in rows] == list(range(64))
    assert max(map(len, asked)) == OPTIONS["batch_size"]
    first = packs.Pack(data / "avgpool-train.h5").array[:, 0]  # the mirrored view is the other
    assert np.array_equal(packs.Pack(stored).array[:, 0], first)


def test_the_second_view_is_the_mirror_image(data):
    stored = packs.Pack(data / "block3-train.h5")
    assert stored.array.shape[1] == 2
    backbone = Backbone("vgg_mini").eval()
    backbone.load(model_file.load(data / "source.safetensors")[0])
    pictures = torch.from_numpy(packs.Pack(data / "train.h5").read(np.arange(4)))
    with torch.inference_mode():
        mirrored = split(backbone, "block3")[0](to_input(pictures.flip(2), TRANSFORM))
    torch.testing.assert_close(
        torch.from_numpy(stored.read(np.arange(4))[:, 1]).float(), mirrored, rtol=2e-3, atol=2e-3
    )


def test_a_stack_is_cached_trained_and_predicts(tmp_path):
    """Features at the cut, a head trained on them, and the model as read again: one function."""
    pack = write_pack(tmp_path / "train.h5", 8, 0)
    torch.manual_seed(0)
    source, stored = tmp_path / "source.safetensors", tmp_path / "avgpool-train.h5"
    header = model_file.backbone_to_json(described("stack"))
    model_file.save(source, settle(backbone_of("stack")).tensors(), header)
    extract(pack, source, stored, cut="avgpool", **OPTIONS)
    (tmp_path / "avgpool-val.h5").symlink_to(stored)
    options = {"epochs": 1, "augment": {"flip": False}, "backbone": "stack"}
    model, _ = run(tmp_path, tmp_path / "out", "feature_extraction", "avgpool", **options)
    assert compare_with_pictures(model, stored, pack).backbone == described("stack")


def test_pictures_too_small_for_the_frozen_part_are_refused(data, tmp_path):
    source = tmp_path / "source.safetensors"
    header = model_file.backbone_to_json(described("alexnet"))
    model_file.save(source, Backbone("alexnet").tensors(), header)
    with pytest.raises(GraftError, match=f"{SIZE} pixels are too small for alexnet"):
        extract(data / "val.h5", source, tmp_path / "f.h5", cut="avgpool", **OPTIONS)
    assert not (tmp_path / "f.h5").exists()


def test_activations_beyond_float16_are_refused(data, tmp_path):
    tensors, settings = model_file.load_source(data / "source.safetensors")
    name = next(name for name in tensors if name.endswith("weight"))
    tensors[name] = tensors[name] * 1e9
    tensors["features.1.running_var"] = torch.ones_like(tensors["features.1.running_var"])
    source = tmp_path / "source.safetensors"
    model_file.save(source, tensors, model_file.backbone_to_json(settings))
    with pytest.raises(GraftError, match=r"val\.h5: activations at the cut block1 exceed"):
        extract(data / "val.h5", source, tmp_path / "f.h5", cut="block1", **OPTIONS)
    assert not (tmp_path / "f.h5").exists()
