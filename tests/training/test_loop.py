"""Training: what is frozen stays, what is resumed equals what was not, the best is kept."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from builders import hyperparameters, train_settings
from conftest import TRAIN

from graft.config.models import Head
from graft.core import hdf5
from graft.core.errors import GraftError
from graft.evaluation import evaluate, metrics
from graft.evaluation.warnings import collapse_warning
from graft.images import packs
from graft.models import model_file
from graft.models import network as networks
from graft.models.backbones import Backbone
from graft.models.transforms import Transform
from graft.training import loop, schedule, train
from graft.training.batches import Batches
from graft.training.features import extract

SIZE = 32
TRANSFORM = {
    "size": None,
    "scale": 1 / 255,
    "mean": [0.5] * 3,
    "std": [0.25] * 3,
    "channels": "RGB",
}


def write_pack(path, count, seed, classes=("dark", "light"), *, unequal=False):
    """Pictures of noise whose class is their brightness; unequal: three of four are dark."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 4 == 3).astype(int) if unequal else np.arange(count) % 2
    images = rng.integers(0, 120, (count, SIZE, SIZE, 3)) + 100 * labels[:, None, None, None]
    with hdf5.create(path, {}) as file:
        hdf5.write(file, "images", images.astype(np.uint8))
        hdf5.write(file, "labels", labels)
        hdf5.write_strings(file, "sample_id", [f"{seed:04d}{i:012d}" for i in range(count)])
        hdf5.write_strings(file, "group", [f"g{i}" for i in range(count)])
        file.attrs["classes"] = json.dumps(list(classes))
    return path


@pytest.fixture(scope="module")
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
    model_file.save(
        source, backbone.tensors(), {"architecture": "vgg_mini", "transform": TRANSFORM}
    )
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


IMAGENET = {
    "size": None,
    "scale": 1 / 255,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "channels": "RGB",
}


def settings(mode, cut, **changes):
    return train_settings(mode, cut, **{"transform": TRANSFORM, "packed_size": SIZE, **changes})


def run(data, out, mode, cut, *, warm_up=None, on_epoch=None, **options):
    prefix = "" if cut == "image" else f"{cut}-"
    out.mkdir(parents=True, exist_ok=True)
    report = train.train(
        [data / f"{prefix}train.h5"],
        [data / f"{prefix}val.h5"],
        out / "model.safetensors",
        out / "history.csv",
        source=None if mode == "from_scratch" else data / "source.safetensors",
        warm_up=warm_up,
        settings=settings(mode, cut, **options),
        seed=3,
        name="experiments.test",
        identity="x",
        on_epoch=on_epoch or (lambda epoch, row: None),
    )
    return out / "model.safetensors", report


MODES = [
    ("from_scratch", "image"),
    ("feature_extraction", "avgpool"),
    ("freeze_block3", "block3"),
    ("fine_tuning", "image"),
]


@pytest.mark.parametrize(("mode", "cut"), MODES)
def test_every_mode_learns_a_task_that_can_be_learnt(data, tmp_path, mode, cut):
    lr = 0.1 if mode == "feature_extraction" else 0.02
    model, report = run(data, tmp_path, mode, cut, epochs=15, lr=lr)
    frame = evaluate.predict(
        model,
        [data / ("test.h5" if cut == "image" else f"{cut}-test.h5")],
        device="cpu",
        precision="fp32",
        threads=1,
    )
    assert (frame["true"] == frame["predicted"]).mean() >= 0.9
    assert report["transfer"]["imported"] == (
        0 if mode == "from_scratch" else report["transfer"]["of"]
    )


@pytest.mark.parametrize(("mode", "cut"), MODES[1:3])
def test_the_frozen_prefix_equals_the_source_buffers_included(data, tmp_path, mode, cut):
    model, _ = run(data, tmp_path, mode, cut, epochs=2)
    source, _ = model_file.load(data / "source.safetensors")
    trained, _ = model_file.load(model)
    network, _ = model_file.load_network(model)
    frozen = network.backbone.tensors(networks.frozen_blocks(network.backbone, cut))
    assert any(name.endswith("running_var") for name in frozen)
    assert all(trained[name].numpy().tobytes() == source[name].numpy().tobytes() for name in frozen)
    rest = set(network.backbone.tensors()) - set(frozen)
    if rest:
        assert any(not torch.equal(trained[name], source[name]) for name in rest)


def test_a_changed_frozen_layer_is_refused(data):
    source, _ = model_file.load(data / "source.safetensors")
    network = networks.Network("vgg_mini", "block3", Head(), 2, SIZE)
    network.backbone.load(source)
    train.check_frozen(network, source)
    network.backbone.tensors()["features.1.running_mean"].add_(1e-6)
    with pytest.raises(GraftError, match=r"features\.1\.running_mean"):
        train.check_frozen(network, source)


@pytest.mark.parametrize("cut", ["avgpool", "block3"])
def test_logits_through_stored_features_equal_those_of_the_whole_network(data, tmp_path, cut):
    mode = "feature_extraction" if cut == "avgpool" else f"freeze_{cut}"
    model, _ = run(data, tmp_path, mode, cut, epochs=1)
    network, description = model_file.load_network(model)
    rows = packs.open_parts([data / f"{cut}-test.h5"])
    batches = Batches(rows, None, flip=False, shift=0, device="cpu")
    stored = loop.logits(network, batches, "fp32")
    pictures = torch.from_numpy(packs.Pack(data / "test.h5").read(np.arange(12)))
    with torch.inference_mode():
        whole = network.whole(Transform.from_dict(description["transform"])(pictures))
    torch.testing.assert_close(stored, whole, rtol=5e-3, atol=5e-3)  # float16 has 11 bits


def test_the_second_view_is_the_mirror_image(data):
    plain = packs.Pack(data / "block3-train.h5")
    assert plain.array.shape[1] == 2
    source, description = model_file.load(data / "source.safetensors")
    backbone = Backbone("vgg_mini").eval()
    backbone.load(source)
    pictures = torch.from_numpy(packs.Pack(data / "train.h5").read(np.arange(4)))
    prefix = networks.prefix(backbone, "block3")
    with torch.inference_mode():
        mirrored = prefix(Transform.from_dict(description["transform"])(pictures.flip(2)))
    torch.testing.assert_close(
        torch.from_numpy(plain.read(np.arange(4))[:, 1]).float(), mirrored, rtol=2e-3, atol=2e-3
    )


def test_the_same_seed_gives_the_same_bytes(data, tmp_path):
    one, _ = run(data, tmp_path / "a", "fine_tuning", "image", epochs=2)
    two, _ = run(data, tmp_path / "b", "fine_tuning", "image", epochs=2)
    assert one.read_bytes() == two.read_bytes()
    history = "history.csv"
    assert (one.parent / history).read_bytes() == (two.parent / history).read_bytes()


class Killed(Exception):
    pass


RESUMABLE = {
    "plain": {},
    "last": {"select": "last"},
    "downsample": {"balance": "downsample"},
    "upsample": {"balance": "upsample", "augment": {"flip": True, "shift": 0.1}},
    "weighted": {"balance": "weighted"},
    "plateau": {"schedule": {**TRAIN["schedule"], "name": "plateau", "patience": 1}},
}


@pytest.mark.parametrize(
    ("what", "after"),
    [*(("plain", after) for after in (1, 3, 4)), *((what, 2) for what in [*RESUMABLE][1:])],
)
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(data, tmp_path, what, after):
    options = {
        "epochs": 3,
        "tune": {"lr": [0.1, 0.01]},
        "head": {**TRAIN["head"], "dropout": 0.3},
        **RESUMABLE[what],
    }
    whole, _ = run(data, tmp_path / "whole", "fine_tuning", "image", **options)
    done = []

    def kill(epoch, row):
        done.append(epoch)
        if len(done) > after:
            raise Killed

    with pytest.raises(Killed):
        run(data, tmp_path / "cut", "fine_tuning", "image", on_epoch=kill, **options)
    resumed_epochs = []
    resumed, _ = run(
        data,
        tmp_path / "cut",
        "fine_tuning",
        "image",
        on_epoch=lambda epoch, row: resumed_epochs.append(epoch),
        **options,
    )
    assert len(resumed_epochs) == 6 - after, "finished epochs must not be trained again"
    assert resumed.read_bytes() == whole.read_bytes()
    histories = [(tmp_path / run / "history.csv").read_bytes() for run in ("cut", "whole")]
    assert histories[0] == histories[1]


def test_a_checkpoint_of_something_else_is_ignored(data, tmp_path):
    whole, _ = run(data, tmp_path / "whole", "fine_tuning", "image", epochs=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".checkpoint.pt").write_bytes(b"not a checkpoint")
    other, _ = run(data, tmp_path / "other", "fine_tuning", "image", epochs=1)
    assert other.read_bytes() == whole.read_bytes()


def test_tuning_starts_from_the_warm_head(data, tmp_path):
    warm, _ = run(data, tmp_path / "warm", "feature_extraction", "avgpool", epochs=6, lr=0.1)
    tuned, report = run(
        data, tmp_path / "tuned", "fine_tuning", "image", epochs=1, lr=1e-12, warm_up=warm
    )
    head = {k: v for k, v in model_file.load(warm)[0].items() if k.startswith("head.")}
    after = model_file.load(tuned)[0]
    assert report["transfer"]["head"] == "warm-up" and report["warm_up"] == "feature_extraction"
    for name, tensor in head.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-6)


def test_without_a_warm_up_the_head_starts_random_though_the_layers_are_transferred(data, tmp_path):
    _, report = run(data, tmp_path, "fine_tuning", "image", epochs=1)
    assert report["transfer"]["head"] == "random" and report["warm_up"] is None
    assert report["transfer"]["imported"] == report["transfer"]["of"]


def test_a_warm_head_of_another_shape_is_refused(data, tmp_path):
    warm, _ = run(data, tmp_path / "warm", "feature_extraction", "avgpool", epochs=1)
    with pytest.raises(GraftError, match=r"train\.head"):
        run(
            data,
            tmp_path / "tuned",
            "fine_tuning",
            "image",
            warm_up=warm,
            head={"hidden": [7]},
        )


def test_a_transferred_rate_of_zero_moves_the_head_alone(data, tmp_path):
    model, _ = run(data, tmp_path, "fine_tuning", "image", epochs=2, transferred_lr_scale=0.0)
    source, _ = model_file.load(data / "source.safetensors")
    trained, _ = model_file.load(model)
    assert all(torch.equal(trained[name], source[name]) for name in source)


def test_transferred_layers_get_their_own_rate():
    network = networks.Network("vgg_mini", "image", Head(), 2, SIZE)
    scaled = hyperparameters(lr=0.2, transferred_lr_scale=0.1)
    optimizer = loop._optimizer(network, scaled, True)
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(0.02), 0.2]
    scratch = loop._optimizer(network, scaled, False)
    assert [group["lr"] for group in scratch.param_groups] == [0.2, 0.2]
    assert optimizer.defaults["momentum"] == 0.9 and optimizer.defaults["weight_decay"] == 5e-4


def test_the_rates_of_rmsprop_follow_alpha():
    network = networks.Network("vgg_mini", "avgpool", Head(), 2, SIZE)
    spec = hyperparameters(optimizer={"name": "rmsprop", "alpha": 0.9})
    assert loop._optimizer(network, spec, False).defaults["alpha"] == 0.9
    assert hyperparameters().optimizer.alpha == 0.99, "torch's own"


def test_the_best_epoch_by_the_declared_metric_is_kept_and_stopping_is_early(data, tmp_path):
    model, report = run(data, tmp_path, "from_scratch", "image", epochs=30, patience=2, lr=0.1)
    history = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)
    assert report["best_value"] == history["val_accuracy"].max()
    assert report["stopped_early"] and len(history) == report["best_epoch"] + 2
    frame = evaluate.predict(model, [data / "val.h5"], device="cpu", precision="fp32", threads=1)
    assert (frame["true"] == frame["predicted"]).mean() == pytest.approx(report["best_value"])


def test_the_last_epoch_can_be_the_model_whatever_its_value(data, tmp_path):
    options = {"epochs": 30, "patience": 2, "lr": 0.002, "select": "last"}
    model, report = run(data, tmp_path, "from_scratch", "image", **options)
    history = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)
    accuracies = history["val_accuracy"]
    assert report["stopped_early"], "patience counts by accuracy"
    assert len(history) == accuracies.argmax() + 1 + 2
    assert report["best_epoch"] == len(history) and accuracies[-1] < accuracies.max()
    assert report["best_value"] == accuracies[-1]
    frame = evaluate.predict(model, [data / "val.h5"], device="cpu", precision="fp32", threads=1)
    right = np.where(frame["true"] == "dark", frame["confidence_dark"], frame["confidence_light"])
    assert -np.log(right).mean() == pytest.approx(history["val_loss"][-1], rel=1e-4, abs=1e-6)


def test_candidates_that_keep_their_last_epoch_are_ranked_by_its_accuracy(data, tmp_path):
    grid = {"lr": [1e-12, 0.02]}
    _, report = run(data, tmp_path, "from_scratch", "image", epochs=6, select="last", tune=grid)
    assert [c["best_epoch"] for c in report["tuning"]] == [6, 6]
    assert report["chosen"]["lr"] == 0.02 and report["best_value"] == report["tuning"][1]["val"]
    assert report["tuning"][1]["val"] > report["tuning"][0]["val"]


def test_a_candidate_that_diverged_has_no_last_epoch_to_keep(data, tmp_path):
    tune = {"lr": [1e30, 0.01]}
    _, report = run(data, tmp_path, "from_scratch", "image", epochs=2, select="last", tune=tune)
    assert report["chosen"]["lr"] == 0.01 and report["tuning"][0]["best_epoch"] is None


def test_epochs_are_ranked_by_what_is_asked_and_ties_by_the_loss():
    row = {"val_accuracy": 0.75, "val_balanced_accuracy": 0.5, "val_loss": 1.25}
    assert schedule.rank(row, "accuracy") == schedule.rank(row, "last") == (0.75, -1.25)
    assert schedule.rank(row, "balanced_accuracy") == (0.5, -1.25)
    assert schedule.rank(row, "loss") == (-1.25, -1.25)


@pytest.mark.parametrize(
    ("balance", "rows"), [("none", 48), ("downsample", 24), ("upsample", 72), ("weighted", 48)]
)
def test_an_epoch_has_the_rows_of_its_balance(data, tmp_path, monkeypatch, balance, rows):
    write_pack(tmp_path / "train.h5", 48, 9, unequal=True)
    (tmp_path / "val.h5").symlink_to(data / "val.h5")
    seen = []
    read = Batches.read

    def spy(self, indices, rng=None):
        if rng is not None:
            seen.append(self.labels[indices])
        return read(self, indices, rng)

    monkeypatch.setattr(Batches, "read", spy)
    _, report = run(tmp_path, tmp_path, "from_scratch", "image", epochs=1, balance=balance)
    assert report["rows_per_epoch"] == rows == len(np.concatenate(seen))
    assert report["samples"]["train"] == 48
    counts = np.bincount(np.concatenate(seen))
    assert (counts[0] == counts[1]) == (balance in ("downsample", "upsample"))


def test_every_candidate_of_the_grid_is_tried_and_recorded(data, tmp_path):
    grid = {"lr": [1e-12, 0.1], "transferred_lr_scale": [0.1, 1.0]}
    _, report = run(data, tmp_path, "fine_tuning", "image", epochs=4, tune=grid)
    assert [(c["lr"], c["transferred_lr_scale"]) for c in report["tuning"]] == [
        (1e-12, 0.1),
        (1e-12, 1.0),
        (0.1, 0.1),
        (0.1, 1.0),
    ]
    best = max(candidate["val"] for candidate in report["tuning"])
    assert report["best_value"] == best
    assert best in [c["val"] for c in report["tuning"] if report["chosen"].items() <= c.items()]


def test_a_loss_that_is_not_finite_is_told_and_another_candidate_wins(data, tmp_path):
    with pytest.raises(GraftError, match=r"lower train\.lr"):
        run(data, tmp_path / "a", "from_scratch", "image", epochs=2, lr=1e30)
    _, report = run(
        data, tmp_path / "b", "from_scratch", "image", epochs=2, tune={"lr": [1e30, 0.01]}
    )
    assert report["chosen"]["lr"] == 0.01 and report["tuning"][0]["diverged"]


def test_a_class_without_a_training_sample_is_named():
    with pytest.raises(GraftError, match="light"):
        loop.check_classes(np.zeros(4, int), ["dark", "light"], "experiments.x")


@pytest.mark.parametrize(
    ("spec", "factors"),
    [
        ({"name": "plateau", "gamma": 0.5, "min_lr": 0.0}, [1, 0.5, 0.25]),
        ({"name": "plateau", "gamma": 0.5, "min_lr": 0.06}, [1, 0.5, 0.3]),
        ({"name": "plateau", "gamma": 0.5, "min_lr": 0.7}, [1, 1, 1]),
        ({"name": "constant"}, [1, 1, 1]),
        ({"name": "step", "step_size": 2, "gamma": 0.1}, [1, 1, 0.1]),
        ({"name": "cosine"}, [1, 0.75, 0.25]),
        ({"name": "time", "decay": 0.5}, [1, 1 / 1.5, 1 / 2]),
    ],
)
def test_schedules_by_hand(spec, factors):
    given = hyperparameters(schedule=spec, epochs=3, lr=0.2)
    found = [schedule.learning_rate_factor(given, e, e, drops=e) for e in range(3)]
    assert found == pytest.approx(factors)


@pytest.mark.parametrize(
    ("losses", "patience", "drops"),
    [
        ([], 1, 0),
        ([1.0], 1, 0),
        ([1.0, 0.5, 0.4], 1, 0),
        ([1.0, 1.0], 1, 1),
        ([1.0, 0.99995], 1, 1),  # not by more than 1e-4
        ([1.0, 1.1, 0.9, 1.0, 1.0], 2, 1),
        ([1.0, 1.1, 1.1, 1.1], 2, 1),  # after a drop the count starts again
        ([1.0, 1.1, 1.1, 1.05, 1.05], 2, 2),  # the lowest loss stands
    ],
)
def test_a_plateau_by_hand(losses, patience, drops):
    assert schedule.plateau_drops(losses, patience) == drops


def test_plateaus_are_those_of_torch():
    rng = np.random.default_rng(4)
    losses = 1 / np.arange(1, 61) ** 0.3 + 0.05 * rng.standard_normal(60)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # torch waits until the count is above its patience, Keras until it has reached it.
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=3, threshold=1e-4, threshold_mode="abs", eps=0
    )
    drops = []
    for loss in losses:
        theirs.step(loss)
        drops.append(round(-np.log2(optimizer.param_groups[0]["lr"])))
    assert [schedule.plateau_drops(losses[: n + 1], 4) for n in range(60)] == drops
    assert drops[-1] > 3


def test_a_plateau_lowers_the_rates_of_head_and_layers_alike(data, tmp_path):
    plateau = {"name": "plateau", "patience": 1, "gamma": 0.5, "min_lr": 0.15}
    options = {"schedule": plateau, "tune": {"lr": [0.4]}, "patience": None}
    run(data, tmp_path, "fine_tuning", "image", epochs=8, **options)
    history = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)
    drops = [schedule.plateau_drops(history["val_loss"][:e], 1) for e in range(8)]
    assert history["learning_rate"] == pytest.approx(np.maximum(0.4 * 0.5 ** np.array(drops), 0.15))
    assert drops[-1] >= 1, "this test needs a loss that does not fall all the time"


def test_augmentation_mirrors_and_shifts_by_no_more_than_asked():
    picture = np.arange(8 * 8, dtype=np.uint8).reshape(1, 8, 8, 1).repeat(64, 0)

    class Data:
        labels = np.zeros(64, np.int64)

        def read(self, indices):
            return picture[indices]

    plain = Batches(Data(), Transform(**IMAGENET), flip=False, shift=0.0, device="cpu")
    flipped = Batches(Data(), Transform(**IMAGENET), flip=True, shift=0.0, device="cpu")
    shifted = Batches(Data(), Transform(**IMAGENET), flip=False, shift=0.25, device="cpu")
    rng = np.random.default_rng(0)
    assert (plain._augment(picture, rng) == picture).all()
    mirrored = (flipped._augment(picture, rng) == picture[:, :, ::-1]).all((1, 2, 3))
    assert 10 < mirrored.sum() < 54
    centre = set(shifted._augment(picture, rng)[:, 4, 4, 0].tolist())
    assert centre <= {8 * r + c for r in range(2, 7) for c in range(2, 7)} and len(centre) > 10


def test_transforms_by_hand():
    pixel = torch.tensor([[[[255, 0, 51]]]], dtype=torch.uint8)
    plain = Transform(None, 1 / 255, (0.5, 0.5, 0.2), (0.5, 0.25, 0.1), "RGB")(pixel).flatten()
    torch.testing.assert_close(plain, torch.tensor([1.0, -2.0, 0.0]), atol=1e-6, rtol=0)
    caffe = Transform(None, 1, (103.0, 116.0, 123.0), (1, 1, 1), "BGR")
    torch.testing.assert_close(caffe(pixel).flatten(), torch.tensor([-52.0, -116.0, 132.0]))
    grey = Transform(**{**IMAGENET, "size": 16})(torch.zeros(2, 8, 8, 1, dtype=torch.uint8))
    assert grey.shape == (2, 3, 16, 16) and grey.is_contiguous(memory_format=torch.channels_last)


def test_a_perceptron_on_raw_pixels_collapses_and_is_told_and_a_normalised_one_is_not(tmp_path):
    """What had happened to the digits article's baselines, and what they needed."""
    parts = {}
    for number, name in enumerate(("train", "val", "test")):
        parts[name] = write_pack(tmp_path / f"{name}.h5", 48, number)
    raw = {**TRANSFORM, "scale": 1.0, "mean": [0.0] * 3, "std": [1.0] * 3}
    told = {}
    for name, transform in (("raw", raw), ("normalised", TRANSFORM)):
        head = {**TRAIN["head"], "pool": "flatten", "hidden": [20, 20]}
        spec = {"head": head, "epochs": 6, "lr": 0.05, "patience": None}
        out = tmp_path / name
        out.mkdir()
        train.train(
            [parts["train"]],
            [parts["val"]],
            out / "model.safetensors",
            out / "history.csv",
            source=None,
            warm_up=None,
            settings=settings(
                "from_scratch", "image", architecture="mlp", transform=transform, **spec
            ),
            seed=0,
            name="experiments.test",
            identity=name,
        )
        frame = evaluate.predict(
            out / "model.safetensors", [parts["test"]], device="cpu", precision="fp32", threads=1
        )
        measured = metrics.measure(frame, resamples=100, seed=0, level=0.95)
        told[name] = collapse_warning(measured, pd.read_csv(out / "history.csv"))
    assert told["raw"] is not None and "normalise the input" in told["raw"]
    assert told["normalised"] is None


def test_a_batch_too_small_for_a_batch_norm_is_told(data, tmp_path):
    with pytest.raises(GraftError, match=r"a batch of 1 is too small .* Raise train\.batch_size"):
        train.train(
            [data / "train.h5"],
            [data / "val.h5"],
            tmp_path / "model.safetensors",
            tmp_path / "history.csv",
            source=None,
            warm_up=None,
            settings=settings("from_scratch", "image", architecture="resnet18", batch_size=1),
            seed=0,
            name="experiments.test",
            identity="x",
        )


def test_pictures_too_small_for_the_frozen_part_are_told(data, tmp_path):
    source = tmp_path / "source.safetensors"
    description = {"architecture": "alexnet", "transform": TRANSFORM}
    model_file.save(source, Backbone("alexnet").tensors(), description)
    options = {"flip": False, "device": "cpu", "precision": "fp32", "batch_size": 8, "recipe": {}}
    with pytest.raises(GraftError, match=f"{SIZE} pixels are too small for alexnet"):
        extract(data / "val.h5", source, tmp_path / "f.h5", cut="avgpool", **options)
    assert not (tmp_path / "f.h5").exists()
