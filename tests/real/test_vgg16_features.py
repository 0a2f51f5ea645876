"""VGG-16 at the size it was made for: what is stored at the cut is what the network computes.

The weights are random, so this needs no kit; it stands here because it is heavy.
"""

import time

import numpy as np
import pytest
import torch

from graft.config.sources import Transform
from graft.config.stages import BackboneSettings
from graft.core import hdf5
from graft.core.devices import cpu_has_bf16
from graft.images import packs
from graft.models import model_file
from graft.models.backbones import Backbone
from graft.models.transforms import to_input
from graft.training import features

SIDE, COUNT = 224, 16
CAFFE = Transform(scale=1, mean=(103.939, 116.779, 123.68), std=(1, 1, 1), channels="BGR")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pack of noise with structure in it, and VGG-16 with random weights as a source."""
    folder = tmp_path_factory.mktemp("vgg16")
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (COUNT, SIDE // 16, SIDE // 16, 3)).astype(np.uint8)
    with hdf5.create(folder / "pack.h5", {}) as file:
        hdf5.write(file, "images", coarse.repeat(16, 1).repeat(16, 2))
        names = [f"{i:02d}" for i in range(COUNT)]
        packs.write_labels(file, np.arange(COUNT) % 2, names, names, ["no", "yes"])
    torch.manual_seed(0)
    settings = BackboneSettings(architecture="vgg16", transform=CAFFE)
    header = model_file.backbone_to_json(settings)
    model_file.save(folder / "source.safetensors", Backbone("vgg16").tensors(), header)
    return folder


def stored(folder, precision):
    """(features float32 (n, width), seconds that the pass took)."""
    path, start = folder / f"{precision}.h5", time.perf_counter()
    report = features.extract(
        folder / "pack.h5",
        folder / "source.safetensors",
        path,
        cut="flatten",
        flip=False,
        device="cpu",
        precision=precision,
        batch_size=COUNT,
        recipe={},
    )
    assert report == {"rows": COUNT, "views": 1, "shape": [25088]}
    return packs.Pack(path).read(np.arange(COUNT))[:, 0].astype(np.float32), (
        time.perf_counter() - start
    )


@pytest.fixture(scope="module")
def direct(folder):
    """The same from the network itself, in one piece and without rounding, float32 (n, 25088)."""
    backbone = Backbone("vgg16", skip_init=True).eval()
    backbone.load(model_file.load(folder / "source.safetensors")[0])
    pictures = torch.from_numpy(packs.Pack(folder / "pack.h5").read(np.arange(COUNT)))
    with torch.inference_mode():
        return backbone(to_input(pictures, CAFFE)).flatten(1).numpy()


def test_stored_features_equal_the_network_run_directly(folder, direct):
    found, _ = stored(folder, "fp32")
    assert direct.std() > 1e-3 and (direct > 0).mean() > 0.1  # neither dead nor constant
    np.testing.assert_allclose(found, direct, rtol=1e-3, atol=1e-3 * direct.std())


@pytest.mark.skipif(not cpu_has_bf16(), reason="this CPU would emulate bf16")
def test_bf16_comes_close_and_tells_its_speed(folder, direct):
    found, seconds = stored(folder, "bf16")
    # bf16 has 8 bits, and thirteen layers to lose some of them in.
    assert np.abs(found - direct).mean() < 0.02 * direct.mean()
    print(f"VGG-16, {SIDE} px, bf16, {torch.get_num_threads()} thread: {COUNT / seconds:.1f} img/s")
