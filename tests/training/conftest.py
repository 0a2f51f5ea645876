"""Packs, a source and features that the tests of training share."""

import pytest
import torch
from networks import SIZE, described, write_pack

from graft.models import model_file
from graft.models.backbones import Backbone
from graft.training.features import extract


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Packs of three splits, a source, and its features at two cuts."""
    folder = tmp_path_factory.mktemp("data")
    split = {
        n: write_pack(folder / f"{n}.h5", c, s)
        for s, (n, c) in enumerate({"train": 64, "val": 12, "test": 12}.items())
    }
    torch.manual_seed(5)
    backbone = Backbone("vgg_mini").train()
    with torch.no_grad():  # so that the batch norms have seen something
        for _ in range(20):
            backbone(torch.randn(16, 3, SIZE, SIZE) + torch.randn(16, 1, 1, 1))
    source = folder / "source.safetensors"
    model_file.save(source, backbone.tensors(), model_file.backbone_to_json(described("vgg_mini")))
    for cut in ("avgpool", "block3"):
        for name, pack in split.items():
            extract(
                pack,
                source,
                folder / f"{cut}-{name}.h5",
                cut=cut,
                flip=name == "train",
                device="cpu",
                precision="fp32",
                batch_size=8,
                recipe={},
            )
    return folder
