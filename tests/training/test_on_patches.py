"""Training on patches: features of each, heads and whole networks, and scores of pictures."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from builders import plant
from networks import described, run, train_settings
from patch_builders import CLASSES, GRID, picture, write_pack
from sklearn.metrics import average_precision_score

from graft.config.patches import OnPatches
from graft.core.errors import GraftError
from graft.datasets import label_sets
from graft.evaluation import evaluate, multilabel
from graft.images.patch_rows import open_patches
from graft.models import model_file
from graft.models.backbones import Backbone
from graft.models.transforms import to_input
from graft.reporting import predict
from graft.training import features

OPTIONS = {"device": "cpu", "precision": "fp32", "batch_size": 16, "recipe": {}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("on_patches")
    for name, seeds in {"train": range(24), "val": range(30, 42), "test": range(50, 65)}.items():
        write_pack(folder, name, seeds)
    torch.manual_seed(0)
    backbone = Backbone("vgg_mini").eval()
    described_as = model_file.backbone_to_json(described("vgg_mini"))
    model_file.save(folder / "source.safetensors", backbone.tensors(), described_as)
    for kind in ("single", "dense"):
        for name in ("train", "val", "test"):
            features.extract_patches(
                folder / f"{name}.h5",
                folder / "source.safetensors",
                folder / f"{kind}-{name}.h5",
                cut="avgpool",
                flip=name == "train",
                is_dense=kind == "dense",
                **OPTIONS,
            )
    return folder


def settings_of(mode, cut, **changes):
    settings = train_settings(mode, cut, **changes)
    drawn = OnPatches(per_picture=24, validation=12)
    return settings.model_copy(update={"patches": drawn})


def trained(data, out, mode, cut, kind, **changes):
    """Train on the patches in a folder; the report."""
    name = cut if cut == "image" else kind
    return run(data, out, mode, name, settings=settings_of(mode, cut, **changes))[1]


def predicted(data, out, kind):
    return evaluate.predict(
        out / "model.safetensors",
        [data / f"{kind}test.h5"],
        [data / f"{kind}val.h5"],
        device="cpu",
        precision="fp32",
        threads=1,
    )


def test_features_are_those_of_each_patch_alone(data):
    rows = open_patches([data / "train.h5"])
    stored = open_patches([data / "single-train.h5"])
    assert stored.labels.tolist() == rows.labels.tolist() and len(stored.starts) == 25
    wanted = np.array([3, 200, 41])
    prefix, _ = features.prefix_of(data / "source.safetensors", "avgpool", "cpu", 32)
    with torch.inference_mode():
        pixels = torch.from_numpy(rows.read(wanted))
        alone = prefix(to_input(pixels, described("vgg_mini").transform)).numpy()
    np.testing.assert_allclose(stored.read(wanted)[:, 0], alone, rtol=2e-3, atol=1e-3)


def test_dense_features_resemble_them_where_little_surrounds_a_patch(data):
    single, dense = (open_patches([data / f"{k}-train.h5"]) for k in ("single", "dense"))
    every = np.arange(len(single))
    a, b = (rows.read(every).astype(np.float64) for rows in (single, dense))
    assert a.shape == b.shape
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    first = single.starts[:-1]  # of the largest scale, whose patches have the least around them
    assert cosine[first].min() > 0.9
    with pytest.raises(GraftError, match="dense averages maps"):
        features.extract_patches(
            data / "val.h5",
            data / "source.safetensors",
            data / "x.h5",
            cut="block3",
            flip=False,
            is_dense=True,
            **OPTIONS,
        )


@pytest.mark.parametrize(
    ("mode", "cut", "kind"),
    [
        ("feature_extraction", "avgpool", "single"),
        ("feature_extraction", "avgpool", "dense"),
        ("from_scratch", "image", "single"),
    ],
)
def test_the_classes_of_pictures_are_learnt_from_patches(data, tmp_path, mode, cut, kind):
    report = trained(data, tmp_path / "run", mode, cut, kind, epochs=8, select="mean_ap", lr=0.01)
    assert report["classes"] == [*CLASSES, "background"]
    assert report["samples"] == {"train": 24, "val": 12} and report["rows_per_epoch"] == 24 * 24
    test, val, chosen = predicted(data, tmp_path / "run", "" if cut == "image" else f"{kind}-")
    assert chosen["exponent"] in evaluate.EXPONENTS
    assert len(val) == 12 and multilabel.is_table(test)
    measured = evaluate.measure(test, val, resamples=100, seed=0, level=0.95)
    assert measured["classes"] == CLASSES and measured["n"] == 15
    assert measured["mean_ap"] > measured["majority_baseline"] + 0.2


def test_a_new_head_can_be_drawn_as_published(data, tmp_path):
    start = {"std": 0.005, "bias": 0.1}
    changes = {"head": {"hidden": [4096]}, "head_start": start, "lr": 1e-30, "epochs": 1}
    trained(data, tmp_path / "run", "feature_extraction", "avgpool", "single", **changes)
    tensors, description = model_file.load(tmp_path / "run/model.safetensors")
    assert description["on_patches"] and "multilabel" not in description
    weight, bias = tensors["head.0.weight"], tensors["head.0.bias"]
    assert weight.std().item() == pytest.approx(0.005, rel=0.02) and (bias == 0.1).all()
    assert tensors["head.2.bias"].abs().max() < 1e-20
    network, loaded = model_file.load_network(tmp_path / "run/model.safetensors")
    assert loaded.on_patches and loaded.classes[-1] == "background"


def test_alexnet_s_fc7_tells_patches_apart(data, tmp_path):
    torch.manual_seed(0)
    backbone = Backbone("alexnet_fc7")
    source = tmp_path / "alexnet.safetensors"
    kind = model_file.backbone_to_json(described("alexnet_fc7"))
    model_file.save(source, backbone.tensors(), kind)
    grid = GRID.model_copy(update={"side": 64, "scales": (1.0, 2.0)})
    pack, _ = write_pack(tmp_path, "few", range(3), grid=grid)
    report = features.extract_patches(
        pack, source, tmp_path / "x.h5", cut="avgpool", flip=False, is_dense=False, **OPTIONS
    )
    assert report["shape"] == [4096] and report["rows"] == 3
    rows = open_patches([tmp_path / "x.h5"])
    with torch.inference_mode():
        patch = torch.from_numpy(open_patches([pack]).read(np.array([5])))
        alone = backbone.eval()(to_input(patch, described("alexnet_fc7").transform))
    np.testing.assert_allclose(rows.read(np.array([5]))[:, 0], alone, rtol=2e-3, atol=1e-3)


def test_a_folder_of_pictures_is_predicted_by_their_patches(data, tmp_path):
    changes = {"epochs": 8, "select": "mean_ap", "lr": 0.01}
    trained(data, tmp_path / "run", "feature_extraction", "avgpool", "single", **changes)
    plant(tmp_path / "photos", {f"{seed}.png": picture(seed)[0] for seed in range(70, 82)})
    found = predict.predict(
        tmp_path / "photos",
        tmp_path / "run/model.safetensors",
        tmp_path / "table.csv",
        tmp_path / "page.html",
        name="x",
        device="cpu",
        precision="fp32",
        batch_size=8,
    )
    table = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    assert list(table.columns[3:5]) == ["confidence_blue", "confidence_red"]
    shown = [{one[0] for one in picture(seed)[1]} for seed in range(70, 82)]
    table = table.set_index("picture").loc[[f"{seed}.png" for seed in range(70, 82)]]
    for name in CLASSES:
        confidences = table[f"confidence_{name}"].astype(float)
        assert confidences.between(0, 1).all()
        held = [name in classes for classes in shown]
        assert average_precision_score(held, confidences) > 0.8
        assert (
            found["predicted"][name]
            == table["predicted"]
            .map(label_sets.names)
            .map(lambda answers, name=name: name in answers)
            .sum()
        )
    assert found["pictures"] == 12


def test_memory_does_not_grow_with_the_pictures(data, tmp_path):
    def peak(count):
        pack, _ = write_pack(tmp_path, f"n{count}", range(count))
        tracemalloc.start()
        features.extract_patches(
            pack,
            data / "source.safetensors",
            tmp_path / f"features-{count}.h5",
            cut="avgpool",
            flip=False,
            is_dense=False,
            **OPTIONS,
        )
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most, len(open_patches([pack]))

    (few, less), (many, more) = peak(8), peak(64)
    # Where a patch is and its class are kept, some 60 bytes, but not its pixels, which are 3072.
    assert (many - few) / (more - less) < 100
